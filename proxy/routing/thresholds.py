"""
Thresholds of topics, from labelled texts.

A text's best topic does not depend on thresholds, only whether it passes does. So each topic is looked at by itself,
on the texts whose best topic it is: those of the topic should pass, all others should fall through.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

FOLDS = 5
LEAST_TEXTS = 5
"""So many texts must have a topic as their best, or its threshold stays."""

# A threshold's distance from the present one costs this many texts for each unit of log-odds (0.5 to 0.73 is one).
# Among many texts that is nothing; among few it keeps one odd text from moving the threshold far, and of thresholds
# that are equally good it takes the nearest.
_COST_PER_UNIT = 1.0
_DIGITS = (2, 3, 4)


@dataclass(frozen=True, slots=True)
class Scored:
    """One labelled text as the topics see it."""

    text: str
    topic: str | None
    """What it is about by its label; None: of no topic."""
    best: str
    """What it is about by its score."""
    score: float
    """The best topic's, 0 to 1."""

    @property
    def belongs(self) -> bool:
        """Whether its best topic is its own, so that it should pass."""
        return self.topic == self.best


@dataclass(slots=True)
class Counts:
    """How labelled texts fared."""

    texts: int = 0
    right: int = 0
    """Those that take their own topic, or fall through where that is not their best one."""
    of_topics: int = 0
    taken: int = 0
    """Of a topic, and take it."""
    strayed: int = 0
    """Of a topic, and take another."""
    foreign: int = 0
    """Of no topic."""
    fallen: int = 0
    """Of no topic, and fall through."""

    def add(self, text: Scored, threshold: float) -> None:
        """Count one text in, whose best topic has this threshold."""
        passes = text.score >= threshold
        self.texts += 1
        self.right += passes == text.belongs
        if text.topic is None:
            self.foreign += 1
            self.fallen += not passes
        else:
            self.of_topics += 1
            self.taken += passes and text.belongs
            self.strayed += passes and not text.belongs


@dataclass(slots=True)
class Compared:
    """Present thresholds beside fitted ones, on texts that these were not fitted on."""

    before: Counts = field(default_factory=Counts)
    after: Counts = field(default_factory=Counts)
    won: int = 0
    """Texts whose outcome is right with the fitted ones only."""
    lost: int = 0
    """Texts whose outcome is right with the present ones only."""

    def add(self, text: Scored, before: float, after: float) -> None:
        """Count one text in, whose best topic has these two thresholds."""
        was, is_ = (text.score >= before) == text.belongs, (text.score >= after) == text.belongs
        self.won += is_ and not was
        self.lost += was and not is_
        self.before.add(text, before)
        self.after.add(text, after)

    @property
    def improves(self) -> bool:
        """
        Whether more texts come out right, by more than chance alone would often do.

        If both were equally good, the difference of won and lost would have a spread of the square root of their sum
        (McNemar, Psychometrika 12, 1947).
        """
        return self.won - self.lost > math.sqrt(self.won + self.lost)


@dataclass(frozen=True, slots=True)
class Tuning:
    """What labelled texts say about thresholds."""

    thresholds: Mapping[str, float]
    """By topic, fitted on all texts; where nothing speaks for another one, the present."""
    overall: Compared
    """Each text under thresholds that were fitted without it."""
    by_topic: Mapping[str, Compared]
    """The same, of the texts whose best topic it is."""


def tune(texts: Sequence[Scored], present: Mapping[str, float]) -> Tuning:
    """
    Fit thresholds, and measure what they bring.

    Args:
        texts: labelled and scored.
        present: by topic, the thresholds in use; every topic that a text may have as its best.
    """
    folds = folds_of(texts)
    overall = Compared()
    by_topic = {name: Compared() for name in present}
    for fold in range(FOLDS):
        fitted = _fit((text for text, its in zip(texts, folds, strict=True) if its != fold), present)
        for text, its in zip(texts, folds, strict=True):
            if its == fold:
                for compared in (overall, by_topic[text.best]):
                    compared.add(text, present[text.best], fitted[text.best])
    return Tuning(_fit(texts, present), overall, by_topic)


def folds_of(texts: Sequence[Scored]) -> list[int]:
    """
    Each text's fold, 0 to 4.

    The texts of one best topic are shared out evenly, in an order that depends on their words alone, and a text that
    occurs twice has one fold, so that none is measured by itself.
    """
    groups: dict[str, set[str]] = {}
    for text in texts:
        groups.setdefault(text.best, set()).add(text.text)
    fold = {
        (best, text): place % FOLDS
        for best, group in groups.items()
        for place, text in enumerate(sorted(group, key=_shuffled))
    }
    return [fold[text.best, text.text] for text in texts]


def best_threshold(texts: Sequence[Scored], present: float) -> float:
    """
    The threshold with the most right outcomes among texts of one best topic; the present one when there are few.

    It is the roundest number in the middle of two neighbouring scores, so that it says no more than is known.
    """
    if len(texts) < LEAST_TEXTS:
        return present
    scores = sorted({text.score for text in texts})
    # From "all pass" on, raising the threshold past a score turns its texts away.
    gain = dict.fromkeys(scores, 0)
    for text in texts:
        gain[text.score] += -1 if text.belongs else 1
    right = sum(text.belongs for text in texts)
    gaps = [(0.0, scores[0], right)]
    for low, high in zip(scores, [*scores[1:], 1.0], strict=True):
        right += gain[low]
        gaps.append((low, high, right))
    best, most = present, float(sum((text.score >= present) == text.belongs for text in texts))
    for low, high, count in gaps:
        threshold = _round_between(low, high)
        if threshold is None:
            continue
        value = count - _COST_PER_UNIT * abs(_log_odds(threshold) - _log_odds(present))
        if value > most:
            best, most = threshold, value
    return best


def _fit(texts: Iterable[Scored], present: Mapping[str, float]) -> dict[str, float]:
    groups: dict[str, list[Scored]] = {name: [] for name in present}
    for text in texts:
        groups[text.best].append(text)
    return {name: best_threshold(group, present[name]) for name, group in groups.items()}


def _round_between(low: float, high: float) -> float | None:
    """The middle with as few digits as keep it above `low` and not above `high`; None when four do not."""
    for digits in _DIGITS:
        threshold = round((low + high) / 2, digits)
        if low < threshold <= high:
            return threshold
    return None


def _log_odds(threshold: float) -> float:
    # 0 and 1 are thresholds too, and infinitely far away; these bounds are beyond every score but the surest.
    bounded = min(max(threshold, 1e-4), 1 - 1e-4)
    return math.log(bounded / (1 - bounded))


def _shuffled(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
