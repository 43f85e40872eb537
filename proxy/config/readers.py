"""The readers of everything but structs: single values, lists, mappings of names, and unions of those."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import msgspec

from proxy.config.problems import Path, choices, did_you_mean, quote
from proxy.config.scalars import Unfit, bare, looks_like_float, looks_like_int, to_bool, to_float, to_int
from proxy.config.tree import Mapping, Node, Scalar, Sequence, Spoiled
from proxy.config.typed import BROKEN, Reader, Reading, describe

NO_LIMITS = msgspec.Meta()

_NOT_IN_JSON = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# Numbers to YAML 1.2, some of them others to YAML 1.1, and text to many who write them.
_NOT_DECIMAL = re.compile(r"[-+]?0[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")


class ScalarReader(Reader):
    """A single value: text, a number, true or false, or a type of values.py."""

    def __init__(self, expected: str, parse: Callable[[Scalar], Any], limits: msgspec.Meta = NO_LIMITS) -> None:
        self.expected = expected
        self._parse, self._limits = parse, limits
        self._is_limited = limits != NO_LIMITS
        self._pattern = _whole(limits.pattern) if limits.pattern is not None else None

    def grasps(self, node: Node) -> bool:
        return isinstance(node, Scalar)

    def mismatch(self, node: Node) -> str:
        # A text like `Fix this: now` reads as a mapping.
        is_colon = self.expected == "text" and isinstance(node, Mapping) and len(node.entries) == 1
        return super().mismatch(node) + ("; put a text with ': ' in it in quotes" if is_colon else "")

    def read(self, node: Scalar, path: Path, reading: Reading) -> Any:
        try:
            value = self._parse(node)
        except Unfit as error:
            return reading.fail(node.place, path, str(error))
        if self._is_limited:
            complaint = _beyond(self._limits, value, node) or self._misfit(value, node)
            if complaint:
                return reading.fail(node.place, path, complaint)
        return value

    def fits(self, node: Node) -> bool:
        assert isinstance(node, Scalar)
        try:
            self._parse(node)
        except Unfit:
            return False
        return True

    def _misfit(self, value: Any, node: Scalar) -> str | None:
        if self._pattern is None or not isinstance(value, str) or self._pattern.search(value):
            return None
        if self._limits.description:
            return f"{node} is not {self._limits.description}"
        return f"{node} does not match {self._limits.pattern}"


def _whole(pattern: str) -> re.Pattern[str]:
    # Python's $ also matches before a final line break, and a name with one is no name.
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern))


def _beyond(limits: msgspec.Meta, value: Any, node: Scalar | None) -> str | None:
    """What is wrong with a value's size or length, in words."""
    if isinstance(value, (int, float)):
        shown = "" if node is None else bare(node)
        low, high = limits.ge, limits.le
        if (low is not None and value < low) or (high is not None and value > high):
            if low is not None and high is not None:
                return f"{shown} is outside {low} to {high}"
            return f"{shown} is below {low}" if high is None else f"{shown} is above {high}"
        if limits.gt is not None and value <= limits.gt:
            return f"{shown} is not above {limits.gt}"
        if limits.lt is not None and value >= limits.lt:
            return f"{shown} is not below {limits.lt}"
        if limits.multiple_of is not None and value % limits.multiple_of:
            return f"{shown} is not a multiple of {limits.multiple_of}"
    elif isinstance(value, (str, tuple, dict)):
        unit = "characters" if isinstance(value, str) else "entries"
        if limits.min_length is not None and len(value) < limits.min_length:
            if limits.min_length == 1:
                return "must not be empty"
            return f"has fewer than {limits.min_length} {unit}"
        if limits.max_length is not None and len(value) > limits.max_length:
            return f"has more than {limits.max_length} {unit}"
    return None


class NullReader(Reader):
    expected = "null"

    def grasps(self, node: Node) -> bool:
        return isinstance(node, Scalar) and node.is_null

    def read(self, node: Scalar, path: Path, reading: Reading) -> None:
        del node, path, reading


class LiteralReader(Reader):
    """One of a few fixed words or numbers."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self._values = values
        self.shown = [quote(v) if isinstance(v, str) else str(v).lower() for v in values]
        self.expected = choices(self.shown)

    def grasps(self, node: Node) -> bool:
        return isinstance(node, Scalar)

    def read(self, node: Scalar, path: Path, reading: Reading) -> Any:
        value = self._match(node)
        if value is not BROKEN:
            return value
        near = None
        if node.written is None:
            near = did_you_mean(node.text, [v for v in self._values if isinstance(v, str)])
            if not node.plain and node.text in self.shown:
                return reading.fail(node.place, path, f"expected {self.expected}, found {node}; leave the quotes out")
        hint = f"; did you mean {quote(near)}?" if near else ""
        return reading.fail(node.place, path, f"expected {self.expected}, found {node}{hint}")

    def fits(self, node: Node) -> bool:
        return isinstance(node, Scalar) and self._match(node) is not BROKEN

    def _match(self, node: Scalar) -> Any:
        for value, shown in zip(self._values, self.shown, strict=True):
            if node.text == value or (not isinstance(value, str) and node.plain and node.text == shown):
                return value
        return BROKEN


class ListReader(Reader):
    """`tuple[T, ...]`."""

    expected = "a list"

    def __init__(self, item: Reader, limits: msgspec.Meta) -> None:
        self._item, self._limits = item, limits

    def grasps(self, node: Node) -> bool:
        return isinstance(node, Sequence)

    def mismatch(self, node: Node) -> str:
        hint = "; write it as [...] or as lines that begin with '- '" if isinstance(node, Scalar) else ""
        return f"expected a list, found {describe(node)}{hint}"

    def read(self, node: Sequence, path: Path, reading: Reading) -> Any:
        items = tuple(reading.read(self._item, item, (*path, index)) for index, item in enumerate(node.items))
        complaint = _beyond(self._limits, items, None)
        return reading.fail(node.place, path, complaint) if complaint else items


class MapReader(Reader):
    """`dict[str, T]`."""

    expected = "a mapping"

    def __init__(self, key: Reader, value: Reader, limits: msgspec.Meta) -> None:
        self._key, self._value, self._limits = key, value, limits

    def grasps(self, node: Node) -> bool:
        return isinstance(node, Mapping)

    def mismatch(self, node: Node) -> str:
        return f"expected a mapping of names to values, found {describe(node)}"

    def read(self, node: Mapping, path: Path, reading: Reading) -> Any:
        values: dict[Any, Any] = {}
        for name, entry in node.entries.items():
            # Straight to the reader: variables are filled into values only.
            key = self._key.read(entry.key, (*path, name), reading)
            # A name that is not allowed is still known to those who refer to it: one mistake, one message.
            values[name if key is BROKEN else key] = reading.read(self._value, entry.value, (*path, name))
        if not node.is_whole:
            return BROKEN  # or what refers to a name that was to be merged in would seem to be wrong too
        complaint = _beyond(self._limits, values, None)
        return reading.fail(node.place, path, complaint) if complaint else values


class AnyReader(Reader):
    """Whatever JSON could hold, as YAML 1.2 reads it: what a request body is edited with."""

    expected = "a value"

    def grasps(self, node: Node) -> bool:
        return not isinstance(node, Spoiled)

    def read(self, node: Node, path: Path, reading: Reading) -> Any:
        if isinstance(node, Mapping):
            return {k: reading.read(self, e.value, (*path, k)) for k, e in node.entries.items()}
        if isinstance(node, Sequence):
            return [reading.read(self, item, (*path, index)) for index, item in enumerate(node.items)]
        assert isinstance(node, Scalar)
        if node.is_null:
            return None
        if node.is_text:
            return node.text
        quoted = "in quotes" if node.written is None else "behind !!str"  # which a variable may need anyway
        if node.plain and _NOT_IN_JSON.fullmatch(node.text):
            return reading.fail(node.place, path, f"JSON has no {bare(node)}; put it {quoted} for the text")
        if node.plain and _NOT_DECIMAL.fullmatch(node.text):
            way_out = f"write it as a decimal number without a leading zero, or {quoted} for the text"
            return reading.fail(node.place, path, f"{bare(node)} is no number here; {way_out}")
        parse = to_int if looks_like_int(node) else to_float if looks_like_float(node) else _to_bool_or_text
        try:
            return parse(node)
        except Unfit as error:
            return reading.fail(node.place, path, str(error))


def _to_bool_or_text(node: Scalar) -> bool | str:
    try:
        return to_bool(node)
    except Unfit:
        return node.text


class UnionReader(Reader):
    """`str | tuple[str, ...]`, `X | None`, a word or a number or a struct."""

    def __init__(self, members: list[Reader]) -> None:
        self._null = next((member for member in members if isinstance(member, NullReader)), None)
        # Text takes any scalar, so the others are asked first.
        self.members = sorted((m for m in members if m is not self._null), key=lambda m: m.expected == "text")
        self.expected = _expected(member for member in members if member is not self._null)

    def grasps(self, node: Node) -> bool:
        return any(member.grasps(node) for member in self._all())

    def fits(self, node: Node) -> bool:
        return any(member.grasps(node) and member.fits(node) for member in self._all())

    def mismatch(self, node: Node) -> str:
        if len(self.members) == 1:
            return self.members[0].mismatch(node)
        return f"expected {self.expected}, found {describe(node)}"

    def read(self, node: Node, path: Path, reading: Reading) -> Any:
        if self._null is not None and self._null.grasps(node):
            return None
        able = [member for member in self.members if member.grasps(node)]
        fitting = able if len(able) == 1 else [member for member in able if member.fits(node)]
        if not fitting:
            return reading.fail(node.place, path, f"expected {_expected(able)}, found {node}")
        return fitting[0].read(node, path, reading)

    def _all(self) -> list[Reader]:
        return self.members if self._null is None else [self._null, *self.members]


def _expected(members: Iterable[Reader]) -> str:
    """`'never', 'upgrade' or a number`."""
    names = (member.shown if isinstance(member, LiteralReader) else [member.expected] for member in members)
    return choices(dict.fromkeys(chain.from_iterable(names)))
