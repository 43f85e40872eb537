"""What is wrong with a config file, and where: one `Problem` a mistake, all of them in one `ConfigError`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from pathlib import Path as FilePath
from typing import NamedTuple

import msgspec

MAX_PROBLEMS = 1000
"""Nobody reads more of them; a file of 8 MB, such as a log under a wrong name, can have millions."""

Path = tuple[str | int, ...]
"""The way from the top of the file to a value: keys, and positions in lists counted from 0."""

_PLAIN_STEP = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Place(NamedTuple):
    """Where something is written; both count from 1, columns in characters."""

    line: int
    column: int


class Problem(msgspec.Struct, frozen=True):
    """One mistake: the place, what is wrong there, and the way out."""

    source: str
    """The file, as the caller named it."""
    line: int
    """Counted from 1; 0 when the file could not be read at all and so has no lines."""
    column: int
    """Counted from 1, in characters; 0 with line 0."""
    path: str
    """Like `routes[2].when`; empty for the file as a whole."""
    message: str

    @classmethod
    def of(cls, source: FilePath | str, message: str) -> Problem:
        """Of a file as a whole."""
        return cls(str(source), 0, 0, "", message)

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        if self.path:
            return f"{place} {self.path}: {self.message}"
        return f"{place} {self.message}" if self.line else f"{place}: {self.message}"


class ConfigError(Exception):
    """
    The file cannot be used.

    `problems` has every mistake once, ordered by place, or the first thousand that were found; `str()` gives them
    one a line. No value that came from the environment, and no secret written in the file, is in any of them.

    `files` are those that it names beside itself, as far as that is known: a change of one may mend it.
    """

    def __init__(self, problems: Iterable[Problem], files: tuple[FilePath, ...] = ()) -> None:
        self.files = files
        self.problems: tuple[Problem, ...] = tuple(
            sorted(problems, key=lambda p: (p.source, p.line, p.column, p.path, p.message))
        )
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class TooMany(Exception):
    """The report is full: to look for more mistakes would only take time."""


class Report:
    """Collects the problems of one file, and remembers which values have one in them."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._unsound: set[Path] = set()
        self._said: set[tuple[Place, str]] = set()
        self.problems: list[Problem] = []
        self.files: tuple[FilePath, ...] = ()
        """Those that it names beside itself."""

    def add(self, place: Place, path: Path, message: str) -> None:
        """
        Take up a mistake.

        Raises:
            TooMany: there are `MAX_PROBLEMS` already; `problems` then says so itself.
        """
        self._unsound.update(path[:length] for length in range(len(path) + 1))
        # A mistake behind an anchor is met once for each alias; it is mended once, so it is said once.
        if (place, message) in self._said:
            return
        if len(self._said) == MAX_PROBLEMS:
            told = f"more than {MAX_PROBLEMS:,} problems; the {MAX_PROBLEMS:,} found first follow"
            self.problems.append(Problem(self._source, 1, 1, "", told))
            raise TooMany
        self._said.add((place, message))
        self.problems.append(Problem(self._source, place.line, place.column, show_path(path), message))

    def unsound(self) -> frozenset[Path]:
        """The paths that have a problem, or something inside that has one, as of now."""
        return frozenset(self._unsound)

    def unless_empty(self) -> None:
        """Raise everything collected; return when there is nothing."""
        if self.problems:
            raise ConfigError(self.problems, self.files)


def show_path(path: Path) -> str:
    """`("routes", 2, "when")` as `routes[2].when`; a key with other characters as `models['gpt-4.1']`."""
    shown = ""
    for step in path:
        if isinstance(step, int):
            shown += f"[{step}]"
        elif _PLAIN_STEP.fullmatch(step):
            shown += f".{step}" if shown else step
        else:
            shown += f"[{quote(step)}]"
    return shown


def quote(text: str, limit: int = 60) -> str:
    """`text` in quotes on one line, shortened; nothing in it can reach a terminal as a control sequence."""
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")


def choices(names: Iterable[str], *, last: str = "or", limit: int = 12) -> str:
    """`a, b or c`; of very many only the first."""
    listed = list(names)
    if len(listed) > limit:
        return ", ".join(listed[:limit]) + f" and {len(listed) - limit} more"
    return f" {last} ".join(filter(None, [", ".join(listed[:-1]), *listed[-1:]]))


def did_you_mean(word: str, names: Collection[str]) -> str | None:
    """The name that `word` was probably meant to be, if one is near."""
    # difflib compares every pair in full; nobody mistypes a name of a thousand letters.
    if len(word) > 128 or len(names) > 500:
        return None
    lowered = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[near[0]] if near else None
