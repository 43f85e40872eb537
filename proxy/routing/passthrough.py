"""Where the requests go that are not routed: to the model they name, else to the default's first target."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from proxy.config import AUTO, Config, WireProtocol
from proxy.errors import UnknownPath
from proxy.routing.apis import APIS, protocol_of
from proxy.routing.decoding import UNREADABLE, reading_halves
from proxy.routing.globs import Globs
from proxy.routing.pin import pinned_model
from proxy.routing.possible import defaults_of

_OURS = frozenset(("route", "targets", "models", "feedback", "policy", "map", "live"))
_ROUTED = tuple(api.path for api in APIS)
# They end as what is routed does, and are APIs of their own: OpenAI's Assistants, and Mistral's.
_END_ALIKE = re.compile(r"threads/[^/]+/messages|(?:fim|agents)/completions")
_KEPT_ANSWER = re.compile(r"(?:responses|conversations)/([^/]+)")
_BREAKS = re.compile(r"[/\\]")
_STEPS_OUT = frozenset(("", ".", ".."))


def kept_answer(path: str) -> str | None:
    """The id of the response, or of the stored conversation, that a path is of; None for any other path."""
    found = _KEPT_ANSWER.match(path)
    return None if found is None else found[1]


def is_ours(method: str, path: str) -> bool:
    """
    Whether what follows `/v1/` is answered here, whatever stands below it.

    A model is not deleted here, but where it was made.
    """
    first, _, below = path.partition("/")
    return first in _OURS and not (method == "DELETE" and first == "models" and below)


class _Asked(msgspec.Struct):
    model: str | None = None


_decode = reading_halves(msgspec.json.Decoder(_Asked).decode)


class Passthrough:
    """What one routes.yaml passes on."""

    def __init__(self, config: Config) -> None:
        self._models = config.models
        self._defaults = defaults_of(config)
        self._is_passed = Globs(config.passthrough).match

    def check(self, method: str, path: str) -> None:
        """
        See that a request may be passed on.

        Args:
            method: the request's.
            path: what follows `/v1/`, percent-encoded.

        Raises:
            UnknownPath: routes.yaml does not pass it on, it would lead out of an upstream's API, or it says in another
                way what is routed.
        """
        decoded = unquote(path)
        leads_out = not _STEPS_OUT.isdisjoint(_BREAKS.split(decoded)) or not decoded.isprintable()
        is_disguised = method == "POST" and _is_routed(decoded)
        if leads_out or is_disguised or not path.isascii() or not self._is_passed(decoded):
            raise UnknownPath(f"There is nothing at {method} /v1/{path[:200]}.")

    def protocol(self, path: str, headers: Mapping[str, str]) -> WireProtocol:
        """What the client speaks: Anthropic's count below `/messages`."""
        return "anthropic" if path.startswith("messages/") else protocol_of(headers)

    def model(self, asked: str | None, headers: Mapping[str, str], protocol: WireProtocol) -> str | None:
        """
        The model that a request names, by header or in its body; None when it names none that is known here.

        Raises:
            UnknownModel: the header names none that is.
            UnknownPath: it leaves the choice, and no model speaks its protocol.
        """
        if (pinned := pinned_model(headers, self._models)) is not None:
            return pinned
        if asked == AUTO:
            return self.default(protocol)
        return asked if asked in self._models else None

    def default(self, protocol: WireProtocol) -> str:
        """
        The model whose upstream gets what names no model.

        Raises:
            UnknownPath: no model speaks this protocol.
        """
        if (name := self._defaults.get(protocol)) is None:
            raise UnknownPath(f"No upstream here speaks {protocol}'s protocol.")
        return name


def _is_routed(path: str) -> bool:
    """
    Whether an upstream may answer this path as one of those that are routed.

    By its end alone: where `base_url` has no `/v1`, a client can add that, or whatever else a server takes before it.
    """
    plain = "/".join(step.partition(";")[0] for step in _BREAKS.split(path)).casefold()
    return f"/{plain}".endswith(_ROUTED) and _END_ALIKE.fullmatch(plain) is None


def asked_model(body: bytes) -> str | None:
    """The model that a JSON body names; None where it names none or is no such JSON, for then the upstream judges."""
    try:
        return _decode(body).model
    except UNREADABLE:
        return None
