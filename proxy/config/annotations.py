"""From a type in schema.py to the reader of it."""

from __future__ import annotations

import types
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from proxy.config.readers import (
    NO_LIMITS,
    AnyReader,
    ListReader,
    LiteralReader,
    MapReader,
    NullReader,
    ScalarReader,
    UnionReader,
)
from proxy.config.scalars import CUSTOM, to_bool, to_float, to_int, to_text
from proxy.config.structs import StructReader, StructsReader
from proxy.config.typed import Reader


def limits_of(annotation: Any) -> tuple[Any, msgspec.Meta]:
    """A type without its `Annotated`, and the limits that this sets."""
    if get_origin(annotation) is not Annotated:
        return annotation, NO_LIMITS
    plain, *notes = get_args(annotation)
    return plain, next((note for note in notes if isinstance(note, msgspec.Meta)), NO_LIMITS)


@cache
def reader_for(annotation: Any) -> Reader:
    """
    Choose the reader of a type, built once per type.

    Raises:
        TypeError: no reader reads this kind of annotation; it is a mistake in schema.py, not in a file.
    """
    annotation, limits = limits_of(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return AnyReader()
    if annotation is None or annotation is types.NoneType:
        return NullReader()
    if annotation is str:
        return ScalarReader("text", to_text, limits)
    if annotation is bool:
        return ScalarReader("true or false", to_bool, limits)
    if annotation is int:
        return ScalarReader("a whole number", to_int, limits)
    if annotation is float:
        return ScalarReader("a number", to_float, limits)
    if annotation in CUSTOM:
        return ScalarReader(*CUSTOM[annotation], limits)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return StructReader(annotation, reader_for)
    if origin is Literal:
        return LiteralReader(arguments)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin is dict:
        return MapReader(reader_for(arguments[0]), reader_for(arguments[1]), limits)
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:
        return ListReader(reader_for(arguments[0]), limits)
    raise TypeError(f"no reader for {annotation!r}")


def _union(members: tuple[Any, ...]) -> UnionReader:
    readers = [reader_for(member) for member in members]
    structs = [reader for reader in readers if isinstance(reader, StructReader)]
    if len(structs) > 1:
        readers = [reader for reader in readers if not isinstance(reader, StructReader)]
        readers.append(StructsReader(structs))
    return UnionReader(readers)
