"""The readers of structs: known keys, unknown keys, missing keys, and which of several structs is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from proxy.config.problems import Path, choices, did_you_mean, quote
from proxy.config.readers import UnionReader
from proxy.config.tree import Entry, Mapping, Node, Scalar
from proxy.config.typed import BROKEN, Reader, Reading, describe


class _Field(NamedTuple):
    name: str
    """Of the attribute; the key in the file may differ, as for `not`."""
    reader: Reader
    is_required: bool


class StructReader(Reader):
    """One struct."""

    expected = "a mapping"

    def __init__(self, struct: type[msgspec.Struct], reader_for: Callable[[Any], Reader]) -> None:
        self._struct, self._reader_for = struct, reader_for

    @cached_property
    def fields(self) -> dict[str, _Field]:
        """By key. Found when first needed, since a struct may hold itself."""
        return {
            field.encode_name: _Field(field.name, self._reader_for(field.type), field.required)
            for field in msgspec.structs.fields(self._struct)
        }

    @property
    def first_key(self) -> str:
        """What it is told from others by."""
        return msgspec.structs.fields(self._struct)[0].encode_name

    def grasps(self, node: Node) -> bool:
        return isinstance(node, Mapping)

    def mismatch(self, node: Node) -> str:
        return f"expected a mapping with {choices(map(quote, self.fields))}, found {describe(node)}"

    def read(self, node: Mapping, path: Path, reading: Reading) -> Any:
        values: dict[str, Any] = {}
        meant: set[str] = set()
        for key, entry in node.entries.items():
            field = self.fields.get(key)
            if field is None:
                message, near = self._unknown(key, node)
                reading.fail(entry.key.place, (*path, key), message)
                meant.add(near)
            else:
                values[field.name] = reading.read(field.reader, entry.value, (*path, key))
        for key, field in self.fields.items():
            if field.name in values:
                continue
            if key in meant or not node.is_whole:
                # Written, but misspelt or where it cannot be found: neither missing nor the default.
                values[field.name] = BROKEN
            elif field.is_required:
                values[field.name] = reading.fail(node.place, path, f"the key {quote(key)} is missing")
        return self._struct(**values)

    def _unknown(self, key: str, node: Mapping) -> tuple[str, str]:
        """What to say of a key that is not a field's, and the field that was probably meant, or an empty string."""
        # Below a key without a value, and written on the same level as it.
        around = self._around(key, [name for name in self.fields if _is_empty(node.entries.get(name))])
        absent = [name for name in self.fields if name not in node.entries]
        near = None if around else did_you_mean(key, absent) or did_you_mean(key, self.fields)
        if near:
            return f"unknown key; did you mean {quote(near)}?", near
        if around := around or self._around(key, self.fields):
            return f"unknown key; did you mean {quote(f'{around}.{key}')}?", around
        return f"unknown key; expected {choices(map(quote, self.fields))}", ""

    def _around(self, key: str, names: Iterable[str]) -> str:
        """The first of these whose struct has the key; an empty string when none has."""
        return next((name for name in names if key in _keys_within(self.fields[name].reader)), "")


class StructsReader(Reader):
    """Several structs in one union: the one with the most of the written keys is meant, of equals the first."""

    def __init__(self, structs: list[StructReader]) -> None:
        self.structs = structs
        self.expected = f"a mapping with {choices(quote(struct.first_key) for struct in structs)}"

    def grasps(self, node: Node) -> bool:
        return isinstance(node, Mapping)

    def read(self, node: Mapping, path: Path, reading: Reading) -> Any:
        known = {key for struct in self.structs for key in struct.fields}
        meant = [key if key in known else did_you_mean(key, known) for key in node.entries]
        if not any(meant):
            return reading.fail(node.place, path, f"expected {self.expected}")
        best = max(self.structs, key=lambda struct: sum(key in struct.fields for key in meant))
        beside = next((key for key in node.entries if key in best.fields), None)
        mine = {}
        for key, entry in node.entries.items():
            if key in best.fields or key not in known:
                mine[key] = entry
            else:
                reading.fail(entry.key.place, (*path, key), f"cannot stand beside {quote(str(beside))}")
        return best.read(replace(node, entries=mine), path, reading)


def _is_empty(entry: Entry | None) -> bool:
    return entry is not None and isinstance(entry.value, Scalar) and entry.value.is_absent


def _keys_within(reader: Reader) -> frozenset[str]:
    """The keys of the struct that a field holds, to tell that a key is only one level too high."""
    members = reader.members if isinstance(reader, UnionReader) else [reader]
    return frozenset(key for member in members if isinstance(member, StructReader) for key in member.fields)
