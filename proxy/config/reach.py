"""When one route's conditions leave nothing for another's: the arithmetic behind "never reached"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase

from proxy.config.schema import Range, When

__all__ = ["Conditions", "canonical", "covers", "is_everything"]

Conditions = Mapping[str, object]
"""The conditions that are given, by key, in a form where equal means equal: lists are sets, one is a set of one."""


def canonical(when: When) -> Conditions:
    """What `when` demands, without the ways of writing it."""
    given = {name: getattr(when, name) for name in when.__struct_fields__}
    given = {name: value for name, value in given.items() if value is not None}
    for name in ("topic", "model", "user", "has"):
        if name in given:
            given[name] = _set(given[name])
    for name in ("header", "metadata"):
        if name in given:
            # Letter case means nothing in a header's name, and something in a key.
            fold = str.lower if name == "header" else str
            given[name] = {fold(key): _set(globs) for key, globs in given[name].items()}
    return given


def is_everything(conditions: Conditions) -> bool:
    """Whether every request meets them."""
    return not conditions


def covers(wide: Conditions, narrow: Conditions) -> bool:
    """
    Whether every request that meets `narrow` surely meets `wide`.

    False where that cannot be told: of two globs only the plain cases are compared, and of a kind of condition
    that is not known here only equality.
    """
    for name, value in wide.items():  # a loop, not all(...): every pair of routes comes here
        if name not in narrow:
            return False
        other = narrow[name]
        if value != other and not _covers_one(name, value, other):
            return False
    return True


def _covers_one(name: str, wide: object, narrow: object) -> bool:
    if isinstance(wide, Range) and isinstance(narrow, Range):
        return _low(wide) <= _low(narrow) and _high(narrow) <= _high(wide)
    if name == "topic" and isinstance(wide, frozenset) and isinstance(narrow, frozenset):
        return narrow <= wide
    if name == "has" and isinstance(wide, frozenset) and isinstance(narrow, frozenset):
        return wide <= narrow
    if name in ("model", "user") and isinstance(wide, frozenset) and isinstance(narrow, frozenset):
        return _globs_cover(wide, narrow)
    if name in ("header", "metadata") and isinstance(wide, dict) and isinstance(narrow, dict):
        return all(each in narrow and _globs_cover(globs, narrow[each]) for each, globs in wide.items())
    return False


def _globs_cover(wide: frozenset[str], narrow: frozenset[str]) -> bool:
    return all(any(_glob_covers(each, glob) for each in wide) for glob in narrow - wide)


def _glob_covers(wide: str, narrow: str) -> bool:
    return wide == "*" or (_is_pattern(wide) and not _is_pattern(narrow) and fnmatchcase(narrow, wide))


def _is_pattern(glob: str) -> bool:
    return "*" in glob or "?" in glob or "[" in glob


def _set(value: str | tuple[str, ...]) -> frozenset[str]:
    return frozenset([value] if isinstance(value, str) else value)


def _low(limits: Range) -> float:
    return -math.inf if limits.min is None else limits.min


def _high(limits: Range) -> float:
    return math.inf if limits.max is None else limits.max
