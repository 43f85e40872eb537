"""What the types cannot know of an upstream: which of its keys contradict each other, or would break a request."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from proxy.config.judging import Judge
from proxy.config.problems import Path, quote
from proxy.config.schema import Config
from proxy.config.schema_upstreams import Tls, Upstream
from proxy.config.typed import BROKEN
from proxy.config.values import Secret

_OTHERS_VARIABLE = re.compile(r"(?:\$|os\.environ/)([A-Za-z_][A-Za-z0-9_]*)")
_BEARER = re.compile(r"bearer(?:\s+|$)", re.IGNORECASE)
_ENDPOINTS = ("/chat/completions", "/completions", "/responses", "/messages")
_ONE_CONNECTION = "it speaks of one connection, not of the message"
_EACH_BODY = "it is said anew for each body"
_NOT_SET = {
    "connection": _ONE_CONNECTION,
    "keep-alive": _ONE_CONNECTION,
    "proxy-authenticate": _ONE_CONNECTION,
    "proxy-authorization": "the name and password of a proxy belong in 'proxy'",
    "proxy-connection": _ONE_CONNECTION,
    "te": _ONE_CONNECTION,
    "trailer": _ONE_CONNECTION,
    "transfer-encoding": _ONE_CONNECTION,
    "upgrade": _ONE_CONNECTION,
    "content-encoding": _EACH_BODY,
    "content-length": _EACH_BODY,
    "expect": _EACH_BODY,
}


def judge_upstreams(config: Config, file: Judge) -> None:
    """Report what in the upstreams contradicts itself."""
    for name, upstream in config.upstreams.items():
        path: Path = ("upstreams", name)
        url = upstream.base_url
        for endpoint in _ENDPOINTS:
            if url.endswith(endpoint):
                message = f"ends with {endpoint}, which is added to each request; leave it off"
                file.say((*path, "base_url"), message)
                break
        if upstream.usage == "inject" and upstream.protocol == "anthropic":
            file.say((*path, "usage"), "Anthropic's streams always tell their usage; leave it out")
        _keys(path, upstream, file)
        _headers((*path, "headers"), upstream, file)
        for part, values in (("headers", upstream.headers), ("query", upstream.query)):
            for key, value in values.items():
                if value is not BROKEN:
                    _value((*path, part, key), value, file)
        _way(path, upstream, file)


def _keys(path: Path, upstream: Upstream, file: Judge) -> None:
    if upstream.api_key is not BROKEN:
        _key((*path, "api_key"), upstream.api_key, file)
    keys = upstream.api_keys
    if keys is None:
        return
    if file.is_written((*path, "api_key")):
        file.say_of_key((*path, "api_keys"), "cannot stand beside 'api_key'; put all of them under 'api_keys'")
    seen: dict[str, int] = {}
    for index, key in enumerate(keys):
        where: Path = (*path, "api_keys", index)
        if key is BROKEN:
            continue
        if not key:
            # One from a variable is left out: the same file may run where there are fewer keys.
            if file.variable(where) is None:
                file.say(where, "is empty; leave it out")
            continue
        _key(where, key, file)
        first = seen.setdefault(key.reveal(), index)
        if first != index:
            file.say(where, f"the same key as api_keys[{first}]; leave it out")


def _key(path: Path, key: Secret, file: Judge) -> None:
    """What every upstream would refuse: another program's way to name a variable, and what is around the key."""
    text = key.reveal()
    bare = text.strip()
    if (named := _OTHERS_VARIABLE.fullmatch(bare)) is not None:
        _would_be_sent(path, named[1], file)
    elif _BEARER.match(bare):
        file.say(path, "is the key alone; leave out 'Bearer', which is put before it where it belongs")
    elif bare != text:
        file.say(path, "begins or ends with white space, which would be sent with the key; leave it out")


def _value(path: Path, value: Secret, file: Judge) -> None:
    """A header or a part of the query may carry a key, too."""
    text = value.reveal().strip()
    if (named := _OTHERS_VARIABLE.fullmatch(_BEARER.sub("", text, count=1))) is not None:
        _would_be_sent(path, named[1], file)


def _would_be_sent(path: Path, variable: str, file: Judge) -> None:
    name = variable if variable.isupper() and file.variable(path) is None else "NAME"
    file.say(path, f"would be sent as it is written; ${{{name}}} stands for the value of a variable")


def _headers(path: Path, upstream: Upstream, file: Judge) -> None:
    seen: dict[str, str] = {}
    for name in upstream.headers:
        lower, where = name.lower(), (*path, name)
        if lower in _NOT_SET:
            file.say_of_key(where, f"{quote(name)} cannot be set: {_NOT_SET[lower]}")
        elif lower.startswith("x-pointsman-"):
            file.say_of_key(where, f"{quote(name)} cannot be set: names like it are between a client and this proxy")
        first = seen.setdefault(lower, name)
        if first != name:
            file.say_of_key(where, f"the same header as {quote(first)}: letter case does not matter")
    keys = (upstream.api_key,) if upstream.api_keys is None else upstream.api_keys
    if "authorization" in seen and any(key is BROKEN or key for key in keys):
        name = "api_key" if upstream.api_keys is None else "api_keys"
        message = f"cannot stand beside {name!r}, which is sent as this header; leave one of them out"
        file.say_of_key((*path, seen["authorization"]), message)


def _way(path: Path, upstream: Upstream, file: Judge) -> None:
    url, tls, socket = upstream.base_url, upstream.tls, upstream.socket
    scheme = None if url is BROKEN else urlsplit(url).scheme
    if tls is not None and tls is not BROKEN:
        if tls == Tls():
            file.say((*path, "tls"), "needs 'ca', 'certificate' or both")
        elif tls.key is not None and tls.certificate is None:
            file.say_of_key((*path, "tls", "key"), "needs 'certificate' beside it")
        if scheme == "http":
            file.say_of_key((*path, "tls"), "has no effect on an http URL; write https in 'base_url', or leave it out")
    if socket is not None and socket is not BROKEN:
        if scheme == "https":
            file.say_of_key((*path, "socket"), "a socket is spoken to in plain HTTP; write http in 'base_url'")
        if upstream.proxy is BROKEN or upstream.proxy:
            file.say_of_key((*path, "proxy"), "cannot stand beside 'socket'; leave one of them out")
