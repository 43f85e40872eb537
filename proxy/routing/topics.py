"""
What a text is about: the best topic, how well it fits, and whether it fits at all.

Two things are looked at. A linear probe, fitted on the examples and the topics' names, says which topic is the
likeliest; it must share out all probability among the topics, so it cannot say "none of them". The mean similarity
to the three nearest examples can. `topic_calibration` makes one score of the two, by how examples look that the
probe has not seen. So a text that fits no topic falls through, without any example of such a text.

The best topic is measured by the nearest examples of the few likeliest: a text between two topics is about something
the file knows (measured on CLINC150: more of what is out of scope is found than with the best topic's own, and no less
than with the examples of all). Every other topic is measured by its own, or a text near to any one example would make
all of them look likely.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from proxy.embedding import Vector, Vectors
from proxy.routing.arrays import Floats
from proxy.routing.topic_calibration import LIKELIEST, MOST_LOG_ODDS, log_odds_of, nearest_mean_of
from proxy.routing.topic_fit import TopicFit, fit_topics
from proxy.routing.topic_map import TopicMap, draw_map

FITTED_THRESHOLD = 0.5


@dataclass(frozen=True)
class TopicScores:
    """One text against all topics."""

    names: Sequence[str]
    best_index: int
    score: float
    """The best topic's, 0 to 1."""
    threshold: float
    """The best topic's."""
    compute: Callable[[], Floats]
    """Every topic's score, (topics,): only an explanation asks, so a decision does not pay for it."""
    thresholds: Sequence[float] = ()
    """Every topic's, in the order of `names`."""

    @property
    def best(self) -> str:
        """The likeliest topic, whether it fits or not."""
        return self.names[self.best_index]

    @property
    def passes(self) -> bool:
        """Whether the best topic reaches its threshold."""
        return self.score >= self.threshold

    @cached_property
    def values(self) -> Floats:
        """(topics,), 0 to 1, in the order of `names`."""
        return self.compute()

    @cached_property
    def ranked(self) -> list[tuple[str, float]]:
        """Every topic with its score, best first; of equals the one listed first in routes.yaml."""
        order = np.argsort(-self.values, kind="stable")
        return [(self.names[index], float(self.values[index])) for index in order]


class Topics:
    """The topics of one routes.yaml, fitted. Immutable; the same vector always gets the same scores."""

    def __init__(
        self,
        examples: Mapping[str, Vectors],
        names: Vectors,
        fit: TopicFit,
        thresholds: Mapping[str, float | None] | None = None,
    ) -> None:
        """
        Args:
            examples: by topic, (examples, 768); at least one topic, and at least one example each.
            names: (topics, 768), the vectors of `spoken(name)` in the same order.
            fit: what `fit_topics` makes of these.
            thresholds: by topic, where the file gives one.
        """
        self.names = tuple(examples)
        self._weights, self._bias, self._calibration = fit.weights, fit.bias, fit.calibration
        # A decision comes right after a run of the embedding model, when nothing is in the processor's caches, and
        # then each number read counts. So a topic's examples stand together, and only a few topics' are read.
        self._examples = [np.vstack([rows, name]) for rows, name in zip(examples.values(), names, strict=True)]
        given = thresholds or {}
        self._thresholds = [FITTED_THRESHOLD if (own := given.get(name)) is None else own for name in examples]

    @classmethod
    def fit(
        cls, examples: Mapping[str, Vectors], names: Vectors, thresholds: Mapping[str, float | None] | None = None
    ) -> Topics:
        """Fit the topics; the arguments are those of the class."""
        return cls(examples, names, fit_topics(examples, names), thresholds)

    @cached_property
    def map(self) -> TopicMap:
        """Takes a moment with thousands of examples; only who looks at it pays for it."""
        return draw_map(self.examples)

    @property
    def examples(self) -> list[Vectors]:
        """For each topic the vectors of its examples, in their order."""
        return [rows[:-1] for rows in self._examples]

    def nearest(self, vector: Vector, count: int) -> list[tuple[int, int, float]]:
        """The examples most like a text: topic, place in it and cosine, the nearest first."""
        found: list[tuple[int, int, float]] = []
        for topic, rows in enumerate(self.examples):
            similarities = rows @ vector
            places = np.argsort(-similarities, kind="stable")[:count].tolist()
            found += [(topic, place, float(similarities[place])) for place in places]
        return sorted(found, key=lambda one: -one[2])[:count]

    def scores(self, vector: Vector) -> TopicScores:
        """Every topic's score for one text."""
        logits = self._weights @ vector
        logits += self._bias
        best = int(logits.argmax())
        count = min(LIKELIEST, len(self.names))
        likeliest = logits.argpartition(-count)[-count:].tolist()
        similarity = nearest_mean_of([self._examples[index] @ vector for index in likeliest])
        others = np.exp(logits - logits[best])
        others[best] = 0.0
        log_odds = min(max(-math.log(max(float(others.sum()), 1e-12)), -MOST_LOG_ODDS), MOST_LOG_ODDS)
        score = self._calibration.score(log_odds, similarity)
        return TopicScores(
            self.names,
            best,
            score,
            self._thresholds[best],
            lambda: self._values(vector, logits, best, score),
            self._thresholds,
        )

    def _values(self, vector: Vector, logits: Vector, best: int, score: float) -> Floats:
        """Every topic's score by its own nearest examples; never above the best one's, which the probe chose."""
        own = [nearest_mean_of([rows @ vector]) for rows in self._examples]
        pairs = zip(log_odds_of(logits.astype(np.float64)).tolist(), own, strict=True)
        values = np.minimum([self._calibration.score(*pair) for pair in pairs], score)
        values[best] = score
        return values


def spoken(name: str) -> str:
    """A topic's name as words: `card_arrival` is `card arrival`."""
    return re.sub(r"[._:/-]+", " ", name).strip()
