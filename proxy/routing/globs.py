"""Patterns with `*`, `?` and `[...]` over short texts; upper and lower case differ."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable


class Globs:
    """Several, of which one must fit; where there are none, nothing does."""

    __slots__ = ("match", "patterns")

    match: Callable[[str], object]
    """Something true if one of them fits."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        if any(sign in pattern for pattern in self.patterns for sign in "*?["):
            self.match = re.compile("|".join(map(fnmatch.translate, self.patterns))).match
        else:
            self.match = frozenset(self.patterns).__contains__

    def __str__(self) -> str:
        return " or ".join(self.patterns)
