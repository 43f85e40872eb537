"""The scalar types of routes.yaml that YAML itself does not have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import re2


class Duration(float):
    """Seconds; written `250ms`, `3s`, `10m` or `1h` in the file."""


class Url(str):
    """An absolute http or https URL without a trailing slash, query or credentials."""


class Regex(str):
    """A regular expression of RE2, compiled; RE2 has no backtracking, so no text can make it slow."""

    def __new__(cls, pattern: str) -> Self:
        """
        Raises:
            ValueError: it is not one; the message says why.
        """
        regex = super().__new__(cls, pattern)
        options = re2.Options()
        options.log_errors = False
        try:
            regex._found_in = re2.compile(pattern, options).search
        except re2.error as error:
            raise ValueError(error.args[0].decode(errors="replace")) from None
        return regex

    def found_in(self, text: str) -> bool:
        """Whether it matches somewhere in a text."""
        return self._found_in(text) is not None

    _found_in: Callable[[str], object]


class Secret:
    """A value that must never be seen: `repr`, `str`, formatting and errors show stars. Truthy when it is set."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; call it only where it goes on the wire."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return "Secret('***')" if self._value else "Secret('')"

    def __str__(self) -> str:
        return "***" if self._value else ""

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not pickled: read it again from the environment")


class ProxyUrl(Secret):
    """The http URL of a forward proxy; a secret, since it may hold a password. Falsy for none."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class File:
    """A file on this machine. Another of the same name is equal only if it held the same when it was read."""

    path: Path
    """In a config that was loaded from a file, relative ones begin where that file is."""
    sha256: str = ""
    """Of what it held; empty when it was not read."""

    def __str__(self) -> str:
        return str(self.path)
