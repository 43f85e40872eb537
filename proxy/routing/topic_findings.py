"""
What the examples say about the topics: pairs that overlap, and single examples that sit in the wrong one.

Every example is looked at by a probe that was fitted without it. One that then goes to another topic is either a
slip of the pen or lies between two topics that are hard to tell apart. (Northcutt, Jiang and Chuang, Confident
learning, JAIR 2021, find label errors by the same out-of-sample probabilities.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from proxy.embedding import Vectors
from proxy.routing.topic_calibration import held_out
from proxy.routing.topic_fit import with_names

# A single stray example says nothing of its topic; two, and a fifth of all, do.
_LEAST_STRAYS = 2
_OVERLAPPING_SHARE = 0.2
# Log-odds by which another topic must be ahead: 2.2 is nine to one. Less is a text between two topics.
_LEAST_MARGIN = 2.2


@dataclass(frozen=True, slots=True)
class Overlap:
    """Examples of one topic that another would take."""

    topic: str
    other: str
    share: float
    """Of the examples of `topic`, 0 to 1."""
    examples: tuple[int, ...]
    """Which, as positions in the topic's list."""


@dataclass(frozen=True, slots=True)
class Misplaced:
    """An example that looks like another topic's."""

    topic: str
    index: int
    """Its position in the topic's list."""
    best: str
    """The topic it looks like."""
    margin: float
    """Log-odds of `best` over `topic`; above 0."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look at the examples found; both lists are empty when all is well."""

    overlaps: tuple[Overlap, ...]
    """The largest share first."""
    misplaced: tuple[Misplaced, ...]
    """The largest margin first."""


def find(examples: Mapping[str, Vectors], names: Vectors) -> Findings:
    """
    Look at every example with a probe fitted without it.

    Args:
        examples: by topic, (examples, 768); at least one each. A topic's only example is looked at as well: its
            name then stands alone for the topic.
        names: (topics, 768), the vectors of `spoken(name)` in the same order.
    """
    topics = tuple(examples)
    vectors, labels = with_names(examples, names)
    shown = len(vectors) - len(names)
    seen = held_out(vectors, labels, shown, len(names), enough=shown)
    firsts = np.searchsorted(labels[:shown], np.arange(len(topics)))
    strays: dict[tuple[int, int], list[int]] = {}
    misplaced: list[Misplaced] = []
    for row, log_odds in zip(seen.rows.tolist(), seen.log_odds, strict=True):
        topic, best = int(labels[row]), int(log_odds.argmax())
        if best == topic:
            continue
        index = row - int(firsts[topic])
        strays.setdefault((topic, best), []).append(index)
        margin = float(log_odds[best] - log_odds[topic])
        if margin >= _LEAST_MARGIN:
            misplaced.append(Misplaced(topics[topic], index, topics[best], margin))
    overlaps = [
        Overlap(topics[topic], topics[other], len(found) / len(examples[topics[topic]]), tuple(sorted(found)))
        for (topic, other), found in strays.items()
        if len(found) >= max(_LEAST_STRAYS, _OVERLAPPING_SHARE * len(examples[topics[topic]]))
    ]
    return Findings(
        tuple(sorted(overlaps, key=lambda one: (-one.share, one.topic, one.other))),
        tuple(sorted(misplaced, key=lambda one: (-one.margin, one.topic, one.index))),
    )
