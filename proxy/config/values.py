"""The scalar types of routes.yaml that YAML itself does not have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

import re2

from proxy.config.problems import choices, quote


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


class StoreUrl(Secret):
    """Where decisions are kept: `sqlite:///FILE` or `postgresql+asyncpg://...`. A secret; falsy for none."""

    __slots__ = ()

    def __init__(self, value: str) -> None:
        """
        Raises:
            ValueError: it is none of these; the message says why, and quotes at most the name of an option.
        """
        super().__init__("" if value in ("", "none") else value)
        if value and value != "none":
            self._check()

    @property
    def file(self) -> Path | None:
        """Of SQLite; a relative one begins where the process was started. None for PostgreSQL."""
        scheme, _, path = self.reveal().partition(":///")
        return Path(path) if scheme in _SQLITE else None

    @property
    def shown(self) -> str:
        """What logs call it: without a name, a password or options."""
        if (file := self.file) is not None:
            return f"sqlite:///{file}"
        parts = urlsplit(self.reveal())
        where = parts.netloc.rpartition("@")[2]
        return f"postgresql://{where}{parts.path}"

    def _check(self) -> None:
        scheme, _, rest = self.reveal().partition("://")
        if scheme in _SQLITE:
            self._check_sqlite(rest)
        elif scheme in _POSTGRESQL:
            self._check_postgresql()
        else:
            raise ValueError("expected none, sqlite:///FILE or postgresql+asyncpg://NAME:PASSWORD@HOST/DATABASE")

    def _check_sqlite(self, rest: str) -> None:
        if not rest.startswith("/") or rest in ("/", "/:memory:"):
            raise ValueError("names no file: write sqlite:///FILE, or sqlite:////FOLDER/FILE for one from the root")
        if "?" in rest or "#" in rest:
            raise ValueError("a file of SQLite takes no options; remove everything from the '?' or '#' on")

    def _check_postgresql(self) -> None:
        try:
            parts = urlsplit(self.reveal())
            port = parts.port
            # What follows a '#' or an '@' there may be the rest of a password, of which nothing may be shown.
            is_url = not parts.fragment and "@" not in parts.query and parts.netloc.count("@") < 2
        except ValueError:
            is_url = False
        if not is_url:
            raise ValueError("not a URL; in a password other signs than letters and digits are percent-encoded")
        options = parse_qs(parts.query)  # an empty one is none to SQLAlchemy either
        if port == 0 or not (parts.hostname or "host" in options) or not parts.path.strip("/") or "@" in parts.path:
            raise ValueError("needs a host and a database: postgresql+asyncpg://NAME:PASSWORD@HOST/DATABASE")
        if "sslmode" in options:
            raise ValueError("write 'ssl' in place of 'sslmode': asyncpg calls it so")
        _check_options(options)


def _check_options(options: dict[str, list[str]]) -> None:
    """Those that asyncpg takes from a URL as text. It has others: they are no text, or they are set here."""
    known = (*_OPTION_TEXTS, *_OPTION_NUMBERS, *_OPTION_WORDS)
    if strange := next((name for name in options if name not in known), None):
        # Where a password stands among them, this may be what follows an '&' in it.
        shown = "of that name" if "password" in options else quote(strange)
        taken = choices(known, last="and", limit=len(known))
        raise ValueError(f"asyncpg takes no option {shown} in a URL; those that it takes are {taken}")
    for name, values in options.items():
        if len(values) > 1 and name not in _OPTION_LISTS:
            raise ValueError(f"the option {quote(name)} stands twice; leave one of them out")
        word = values[0].replace("_", "-") if name == "ssl" else values[0]  # either does there
        if name in _OPTION_WORDS and word not in _OPTION_WORDS[name]:
            raise ValueError(f"the option {quote(name)} is {choices(_OPTION_WORDS[name])}")
        if name in _OPTION_NUMBERS and not all(part.isdecimal() for value in values for part in value.split(",")):
            raise ValueError(f"the option {quote(name)} is a number")


_SQLITE = ("sqlite", "sqlite+aiosqlite")
_POSTGRESQL = ("postgresql+asyncpg", "postgresql", "postgres")
# What two of them say does not matter: the store sets its own `timeout` and `command_timeout`.
_OPTION_TEXTS = (
    *("host", "user", "password", "passfile", "database", "krbsrvname", "service", "servicefile", "dsn", "direct_tls"),
    *("timeout", "command_timeout"),
)
_OPTION_NUMBERS = ("port", "prepared_statement_cache_size")
_OPTION_WORDS = {
    "ssl": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "primary", "standby", "prefer-standby", "read-write", "read-only"),
    "gsslib": ("gssapi", "sspi"),
}
_OPTION_LISTS = ("host", "port")
"""Of several servers."""


@dataclass(frozen=True, slots=True)
class File:
    """A file on this machine. Another of the same name is equal only if it held the same when it was read."""

    path: Path
    """In a config that was loaded from a file, relative ones begin where that file is."""
    sha256: str = ""
    """Of what it held; empty when it was not read."""

    def __str__(self) -> str:
        return str(self.path)
