"""When one route's conditions leave nothing for another's: the arithmetic behind "never reached"."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec

from proxy.config.schema import Range, When

Conditions = Mapping[str, object]
"""The conditions that are given, by key, in a form where equal means equal: lists are sets, one is a set of one."""

_Mark = tuple[str, ...]

_COMPARED = 1000
"""Routes of one mark that a later one is compared with; more share one only where nearly all of a file look alike."""

_A_PATTERN = "[*]"  # no plain text has it, for it is a pattern itself


class Bounds(NamedTuple):
    low: float
    high: float


_FROM_ZERO = ("tokens", "turns")  # every request has so many; how complex one reads may not be known
_ANY_NUMBER = Bounds(-math.inf, math.inf)


class Choices(frozenset[str]):
    """Texts of which one must be the request's."""

    @cached_property
    def patterns(self) -> frozenset[str]:
        """Those that stand for more than themselves."""
        return frozenset()

    def covers(self, narrow: Choices) -> bool:
        """Whether every request that has one of `narrow` has one of these."""
        return narrow <= self


class Globs(Choices):
    """Globs of which one must match."""

    @cached_property
    def patterns(self) -> frozenset[str]:
        """Those that stand for more than themselves."""
        return frozenset(glob for glob in self if "*" in glob or "?" in glob or "[" in glob)

    def covers(self, narrow: Choices) -> bool:
        """Whether whatever one of `narrow` matches is matched here too; of two patterns only equality is known."""
        if "*" in self:
            return True
        return all(glob in self or (glob not in narrow.patterns and self._matches(glob)) for glob in narrow)

    def _matches(self, text: str) -> bool:
        return bool(self.patterns) and self._compiled.match(text) is not None

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        # Once for all comparisons: fnmatch remembers a few hundred patterns only.
        return re.compile("|".join(map(fnmatch.translate, self.patterns)))


def canonical(when: When) -> Conditions:
    """What `when` demands, without the ways of writing it: what must hold too stands beside what must hold."""
    found: dict[str, object] = {}
    for part in _parts(when):
        for name, value in part.items():
            found[name] = _both(found[name], value) if name in found else value
    return found


def contradiction(when: When) -> str | None:
    """The key for which two parts that must both hold leave nothing; None where that is not to be seen."""
    parts = list(_parts(when))
    for name, value in canonical(when).items():
        if _is_nothing(value) and not any(_is_nothing(part.get(name)) for part in parts):
            return name
    return None


def _parts(when: When) -> Iterator[Conditions]:
    """What all must hold: its own conditions, those of `all`, and those of an `any` that has one part."""
    given = {name: getattr(when, name) for name in when.__struct_fields__}
    inner = given.pop("all") or ()
    if when.any is not None and len(when.any) == 1:
        inner += given.pop("any")
    own = {name: _canonical(name, value) for name, value in given.items() if value is not None}
    yield {name: value for name, value in own.items() if not (name in _FROM_ZERO and value == _ANY_NUMBER)}
    for part in inner:
        yield from _parts(part)


def _both(one: object, other: object) -> object:
    """The condition that holds where these two of one kind hold; where there is none, both."""
    if one == other:
        return one
    if isinstance(one, Bounds) and isinstance(other, Bounds):
        return Bounds(max(one.low, other.low), min(one.high, other.high))
    if isinstance(one, dict) and isinstance(other, dict) and not one.keys() & other.keys():
        return one | other
    if type(one) is type(other) is Choices:
        return Choices(one & other)
    if type(one) is type(other) is frozenset:
        return one | other
    return one, other


def _is_nothing(value: object) -> bool:
    return (isinstance(value, Bounds) and value.low > value.high) or (type(value) is Choices and not value)


def _canonical(name: str, value: object) -> object:
    if isinstance(value, Range):
        low, high = value.min, value.max
        if low is None or (low <= 0 and name in _FROM_ZERO):
            low = -math.inf
        return Bounds(low, math.inf if high is None else high)
    if name == "has" and isinstance(value, tuple):
        return frozenset(value)
    if name == "topic" and isinstance(value, str | tuple):
        return Choices(_each(value))
    if name in ("model", "user") and isinstance(value, str | tuple):
        return Globs(_each(value))
    if isinstance(value, dict):
        # Letter case means nothing in a header's name, and something in a key.
        fold = str.lower if name == "header" else str
        return {fold(key): Globs(_each(globs)) for key, globs in value.items()}
    return value


def _each(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def is_everything(conditions: Conditions) -> bool:
    """Whether every request meets them."""
    return not conditions


def covers(wide: Conditions, narrow: Conditions) -> bool:
    """
    Whether every request that meets `narrow` surely meets `wide`.

    False where that cannot be told: of two globs only the plain cases are compared, and of a kind of condition
    that is not known here only equality.
    """
    for name, value in wide.items():  # a loop, not all(...): every pair of like routes comes here
        if name not in narrow:
            return False
        other = narrow[name]
        if value != other and not _covers_one(value, other):
            return False
    return True


def _covers_one(wide: object, narrow: object) -> bool:
    if isinstance(wide, Bounds) and isinstance(narrow, Bounds):
        return wide.low <= narrow.low and narrow.high <= wide.high
    if isinstance(wide, Choices) and isinstance(narrow, Choices):
        return wide.covers(narrow)
    if isinstance(wide, frozenset) and isinstance(narrow, frozenset):
        return wide <= narrow  # what a request must have, all of it
    if isinstance(wide, dict) and isinstance(narrow, dict):
        return all(each in narrow and globs.covers(narrow[each]) for each, globs in wide.items())
    return False


def first_covers(routes: Sequence[Conditions]) -> dict[int, int]:
    """
    For each route that an earlier one leaves nothing for, the first of those; both by position.

    To compare every pair would take minutes with some thousand routes. So a route is known by a mark that whatever
    it covers must have as well, and compared only with the routes whose mark that is.
    """
    found: dict[int, int] = {}
    by_mark: dict[_Mark, list[int]] = {}
    for position, route in enumerate(routes):
        candidates = sorted({earlier for mark in _all_marks(route) for earlier in by_mark.get(mark, ())})
        first = next((earlier for earlier in candidates if covers(routes[earlier], route)), None)
        if first is not None:
            found[position] = first  # and whatever this one would cover, that one covers too
            continue
        for mark in _own_marks(route):
            known = by_mark.setdefault(mark, [])
            if len(known) < _COMPARED:
                known.append(position)
    return found


def _own_marks(conditions: Conditions) -> list[_Mark]:
    """Every route that these conditions cover has one of these among all its marks."""
    rarest, marks = 9, [()]  # type: tuple[int, list[_Mark]]
    for name, value in _flat(conditions):
        if not isinstance(value, frozenset | Bounds):
            rank, own = 0, [(*name, _exact(value))]
        elif isinstance(value, Choices) and "*" not in value.patterns:
            # What is covered is known by one of its own globs: by a pattern, which then must stand here as well,
            # or by a plain text, which may also be matched by a pattern here.
            rank, own = (1, [(*name, _A_PATTERN)]) if value.patterns else (0, [])
            own += [(*name, glob) for glob in value]
        elif isinstance(value, frozenset) and not isinstance(value, Choices):
            rank, own = 2, [(*name, min(value, default=""))]
        else:
            rank, own = 3, [name]
        if rank < rarest:
            rarest, marks = rank, own
    return marks


def _all_marks(conditions: Conditions) -> Iterator[_Mark]:
    yield ()
    for name, value in _flat(conditions):
        yield name
        if not isinstance(value, frozenset | Bounds):
            yield (*name, _exact(value))
        elif isinstance(value, Choices):
            yield (*name, min(value.patterns or value, default=""))
            if not value.patterns:
                yield (*name, _A_PATTERN)
        elif isinstance(value, frozenset):
            yield from ((*name, each) for each in value)


def _flat(conditions: Conditions) -> Iterable[tuple[_Mark, object]]:
    """Each condition with its name, headers and metadata one by one."""
    for name, value in conditions.items():
        if isinstance(value, dict):
            yield from (((name, key), globs) for key, globs in value.items())
        else:
            yield (name,), value


def _exact(value: object) -> str:
    """The same for equal values."""
    return msgspec.json.encode(value, enc_hook=str, order="sorted").decode()
