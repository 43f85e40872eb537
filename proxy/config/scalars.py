"""
Text to one value: numbers, true and false, and the types of values.py.

Each function returns the value or raises `Unfit`. A message starts with what the file has (`str(scalar)`, which
hides what came from the environment) and ends, where there is one, with the way out.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import idna

from proxy.config.problems import quote
from proxy.config.tree import Scalar
from proxy.config.values import Duration, File, ProxyUrl, Regex, Secret, StoreUrl, Url

# YAML 1.2 without its octal and hexadecimal: in this format nothing is counted in those, so `0o17` and `017` are
# slips. YAML 1.1 would also take 1_000 and 1:30 for numbers.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
# The 1,50 of other languages is not 150.
_GROUPED = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_WITH_UNIT = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?([kmg])(i?)b?", re.IGNORECASE)
_SCALES = {"k": 1, "m": 2, "g": 3}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_DURATION_S = 366 * 24 * 3600.0
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0\\<>\"{}|^`]")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_HOST = 253
_LONGEST_HINT = 40

# By what RE2 complains of.
_REGEX_ADVICE = (
    (re.compile(r"operator: \(\?<?[=!]"), "RE2 has no look-around; use two conditions, under 'all' and 'not'"),
    (re.compile(r"sequence: \\[1-9k]|operator: \(\?P$"), "RE2 has no back-references"),
    (re.compile(r"operator: ([*+?]\+$|\(\?>)"), "RE2 never backtracks, so it has no possessive and atomic groups"),
    (re.compile(r"repetition size"), "RE2 repeats at most 1,000 times, nested repetitions multiplied"),
    (re.compile(r"too large"), "write fewer repetitions or alternatives"),
)

# What YAML makes in double quotes of what means something else in RE2. Each other escape is the same sign in both, or
# none in RE2, but for rare ones: digits behind `\0`, an operator by its number (`\x2e`), and the end of a line.
_ESCAPED = {
    "\b": ("a backspace", r"\b", ""),
    "\xa0": ("a no-break space", r"\_", r"; there the space itself is \x{a0}"),
    "\u2029": ("a paragraph separator", r"\P", ""),
}

_BOOL_WORDS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


class Unfit(Exception):
    """The scalar is no value of the type; the message says why and quotes no secret."""


def to_text(scalar: Scalar) -> str:
    """What is written is the text: `no`, `42` and `1:30` stay as they are."""
    if scalar.is_null:
        raise Unfit(f'expected text, found {scalar.text}; write "{scalar.text}" in quotes for the word')
    return scalar.text


def looks_like_int(scalar: Scalar) -> bool:
    return scalar.plain and _INT.fullmatch(scalar.text) is not None


def looks_like_float(scalar: Scalar) -> bool:
    return scalar.plain and _FLOAT.fullmatch(scalar.text) is not None


def to_int(scalar: Scalar) -> int:
    if not looks_like_int(scalar):
        if looks_like_float(scalar):
            raise Unfit(f"expected a whole number, found {bare(scalar)}")
        raise Unfit(f"expected a whole number, found {scalar}{_number_hint(scalar)}")
    if len(scalar.text) > 20:  # beyond 64 bits; and Python refuses to read more than 4,300 digits
        raise Unfit(f"{bare(scalar)} is too large")
    return int(scalar.text)


def to_float(scalar: Scalar) -> float:
    if not looks_like_float(scalar):
        share = scalar.text.removesuffix("%")
        if scalar.written is None and share != scalar.text and len(share) <= _LONGEST_HINT and _FLOAT.fullmatch(share):
            raise Unfit(f"expected a number, found {scalar}; write {float(share) / 100:g}")
        raise Unfit(f"expected a number, found {scalar}{_number_hint(scalar)}")
    value = float(scalar.text)
    if math.isinf(value):
        raise Unfit(f"{bare(scalar)} is too large")
    return value


def to_bool(scalar: Scalar) -> bool:
    if scalar.plain and scalar.text.lower() in ("true", "false"):
        return scalar.text.lower() == "true"
    hint = ""
    if scalar.written is None:
        word = _BOOL_WORDS.get(scalar.text.lower())
        if scalar.text.lower() in ("true", "false"):
            hint = "; leave the quotes out"
        elif word is not None:
            hint = f"; write {word}"
    raise Unfit(f"expected true or false, found {scalar}{hint}")


def bare(scalar: Scalar) -> str:
    """A number as it is written, without quotes."""
    return str(scalar) if scalar.written is not None else str(scalar)[1:-1]


def _number_hint(scalar: Scalar) -> str:
    text = scalar.text
    if scalar.written is not None or len(text) > _LONGEST_HINT:
        return ""
    if _FLOAT.fullmatch(text):
        return "; leave the quotes out"
    ungrouped = text.replace("_", "")
    if _GROUPED.fullmatch(ungrouped):
        ungrouped = ungrouped.replace(",", "")
    if _FLOAT.fullmatch(ungrouped):
        return f"; write {ungrouped}"
    if (sized := _WITH_UNIT.fullmatch(text)) is not None:
        number, unit, is_binary = sized.groups()
        return f"; write {float(number) * (1024 if is_binary else 1000) ** _SCALES[unit.lower()]:.15g}"
    if re.fullmatch(r"[-+]?0[0-9xob][0-9a-fA-F_]*", text):
        return "; write it as a decimal number without a leading zero"
    return ""


def duration_of(text: str) -> Duration | None:
    """What somebody wrote as a duration outside of a file; None when it is none, or not above zero."""
    match = _DURATION.fullmatch(text.strip())
    return None if match is None or _seconds(match) <= 0 else Duration(_seconds(match))


def _seconds(match: re.Match[str]) -> float:
    return float(match[1]) * _UNITS[match[2]]


def _to_duration(scalar: Scalar) -> Duration:
    match = _DURATION.fullmatch(scalar.text.strip())
    if match is None:
        hint = ""
        if scalar.written is None and _is_nothing_or_less(scalar.text):
            raise Unfit(f"{bare(scalar)} is not above zero")
        is_short = scalar.written is None and len(scalar.text) <= _LONGEST_HINT
        if is_short and _FLOAT.fullmatch(scalar.text) and not scalar.text.startswith("+"):
            hint = f"; write {scalar.text}s for seconds or {scalar.text}ms for milliseconds"
        raise Unfit(f"expected a duration such as 250ms, 3s, 10m or 1h, found {scalar}{hint}")
    seconds = _seconds(match)
    if seconds <= 0:
        raise Unfit(f"{bare(scalar)} is not above zero")
    if seconds > _LONGEST_DURATION_S:
        raise Unfit(f"{bare(scalar)} is more than a year")
    return Duration(seconds)


def _is_nothing_or_less(text: str) -> bool:
    """Of what is no duration: whether that is so with any unit."""
    if text.startswith("-") and _DURATION.fullmatch(text[1:]):
        return True
    return len(text) <= _LONGEST_HINT and _FLOAT.fullmatch(text) is not None and float(text) <= 0


def _to_url(scalar: Scalar) -> Url:
    text = scalar.text.strip()
    # A message quotes the URL only once nothing in it can be a credential.
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Unfit("not a URL; expected one such as https://api.openai.com/v1") from None
    if "@" in text:
        raise Unfit(
            "a URL with credentials; remove them and put the key in `api_key`, or in `headers` what is no bearer token"
        )
    if "?" in text or "#" in text:
        raise Unfit("a base URL ends with its path; remove everything from the '?' or '#' on")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or _NOT_IN_URL.search(text):
        raise Unfit(f"expected an http or https URL such as https://api.openai.com/v1, found {scalar}")
    if not _is_host(parts.hostname):
        raise Unfit(f"expected a URL with the name or the address of a host, found {scalar}")
    return Url(text.rstrip("/"))


def _is_host(host: str) -> bool:
    """Whether it can be looked up at all: with another one every request would fail, or even the start."""
    if ":" in host:
        return _is_address(ipaddress.IPv6Address, host)
    try:
        name = host if host.isascii() else idna.encode(host).decode("ascii")
    except idna.IDNAError:
        return False
    labels = name.removesuffix(".").split(".")
    if labels[-1].isdecimal():
        return _is_address(ipaddress.IPv4Address, host)
    return len(name) <= _LONGEST_HOST and all(map(_LABEL.fullmatch, labels))


def _is_address(kind: Callable[[str], object], host: str) -> bool:
    try:
        kind(host)
    except ValueError:
        return False
    return True


def _to_secret(scalar: Scalar) -> Secret:
    """The one type whose messages may quote nothing."""
    if scalar.is_null:
        raise Unfit('expected text, found null; write "" for none')
    if _CONTROL.search(scalar.text):
        where = " at its end" if not _CONTROL.search(scalar.text.rstrip()) else ""
        raise Unfit(f"has a line break or another control character{where}, which no header can carry")
    return Secret(scalar.text)


def _to_proxy(scalar: Scalar) -> ProxyUrl:
    """Quotes nothing either: what is wrong may be the password."""
    text = _to_secret(scalar).reveal().strip()
    if not text:
        return ProxyUrl("")
    expected = "expected the URL of an http proxy such as http://proxy:3128 or http://name:password@proxy:3128"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Unfit(f"not a URL; {expected}") from None
    is_root = parts.path in ("", "/") and "?" not in text and "#" not in text
    if parts.scheme != "http" or not parts.hostname or port == 0 or not is_root or _NOT_IN_URL.search(text):
        raise Unfit(f"{expected}; in a name or password other signs than letters and digits are percent-encoded")
    if not _is_host(parts.hostname):
        raise Unfit(f"{expected}, with the name or the address of a host")
    name, password = unquote(parts.username or ""), unquote(parts.password or "")
    if ":" in name or not _is_latin(name + password):  # RFC 7617, section 2; aiohttp writes Latin-1
        raise Unfit("a proxy takes no name with a colon, and no name or password with signs beyond Latin-1")
    return ProxyUrl(text)


def _is_latin(text: str) -> bool:
    return all(ord(sign) < 256 for sign in text)


def _to_store(scalar: Scalar) -> StoreUrl:
    """Quotes nothing either."""
    try:
        return StoreUrl(_to_secret(scalar).reveal().strip())
    except ValueError as error:
        raise Unfit(str(error)) from None


def _to_file(scalar: Scalar) -> File:
    if scalar.is_null or not scalar.text.strip():
        raise Unfit("expected a path, found nothing; leave the key out for none")
    if _CONTROL.search(scalar.text):
        raise Unfit("has a line break or another control character, which is in no path")
    return File(Path(scalar.text))


def _to_regex(scalar: Scalar) -> Regex:
    if not scalar.text:
        raise Unfit("an empty regular expression is found in every text; leave it out")
    for sign, (name, escape, itself) in _ESCAPED.items():
        if scalar.has_escapes and sign in (scalar.written or scalar.text):
            way_out = f"write \\{escape}, or put it in single quotes{itself}"
            raise Unfit(f"has {name}, as double quotes read {escape}; {way_out}")
    try:
        return Regex(scalar.text)
    except ValueError as error:
        said = str(error)
    advice = next((f"; {advice}" for pattern, advice in _REGEX_ADVICE if pattern.search(said)), "")
    what, colon, where = said.partition(": ")
    # RE2's words quote the expression, which may come from the environment.
    why = f"{what}{colon}{quote(where) if where else ''}" if scalar.written is None else "its value is not one"
    raise Unfit(f"not a regular expression of RE2: {why}{advice}")


CUSTOM: dict[type, tuple[str, Callable[[Scalar], object]]] = {
    Duration: ("a duration", _to_duration),
    Url: ("a URL", _to_url),
    Secret: ("text", _to_secret),
    ProxyUrl: ("a URL", _to_proxy),
    StoreUrl: ("a URL", _to_store),
    File: ("a path", _to_file),
    Regex: ("a regular expression", _to_regex),
}
"""What the types of values.py are called in messages, and how they are read; a new one joins here."""
