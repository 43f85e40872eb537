"""What `pointsman check` says about examples: topics that overlap, and examples that look like another topic's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from proxy.config import Config, Topic, quote, show_path
from proxy.reload.prepare import Prepared, topic_vectors
from proxy.routing.topic_findings import Findings, Misplaced, Overlap, find

# Fitting takes time in proportion to examples times topics. So many, such as 100 topics of 30 examples, are about
# ten seconds on two cores; a check is to be run often.
_MOST_WORK = 300_000
_MOST_LINES = 10
_MOST_QUOTED = 3

_Found = TypeVar("_Found", Overlap, Misplaced)


def is_long(config: Config) -> bool:
    """Whether a look at this file's examples takes longer than somebody who did not ask for it waits."""
    return len(config.topics) > 1 and _examples(config) * len(config.topics) > _MOST_WORK


def too_long(config: Config) -> str:
    """The line that says so."""
    return (
        f"topics: whether they overlap was not looked at: {_examples(config):,} examples in {len(config.topics):,} "
        "topics take long; --thorough looks all the same"
    )


def look(prepared: Prepared | None) -> Findings:
    """What the examples of a file say, with the vectors it has; None is a file that there was no need to prepare."""
    if prepared is None or len(prepared.config.topics) < 2:
        return Findings((), ())
    return find(*topic_vectors(prepared.config, prepared.texts))


def lines(findings: Findings, topics: Mapping[str, Topic]) -> list[str]:
    """One line for each overlap, then for each misplaced example that no overlap names; the worst of each."""
    told = {(one.topic, one.other) for one in findings.overlaps}
    alone = [one for one in findings.misplaced if (one.topic, one.best) not in told]
    return [
        *_worst(findings.overlaps, lambda one: _overlap(one, topics[one.topic].examples), "overlaps"),
        *_worst(alone, lambda one: _misplaced(one, topics[one.topic].examples), "examples"),
    ]


def as_json(findings: Findings | None, topics: Mapping[str, Topic]) -> dict[str, list[dict[str, Any]] | None]:
    """All of it, for scripts; null where it was not looked at."""
    if findings is None:
        return {"overlaps": None, "misplaced": None}
    return {
        "overlaps": [
            {
                "topic": one.topic,
                "other": one.other,
                "share": round(one.share, 3),
                "examples": [topics[one.topic].examples[index] for index in one.examples],
            }
            for one in findings.overlaps
        ],
        "misplaced": [
            {
                "topic": one.topic,
                "other": one.best,
                "margin": round(one.margin, 3),
                "index": one.index,
                "example": topics[one.topic].examples[one.index],
            }
            for one in findings.misplaced
        ],
    }


def _examples(config: Config) -> int:
    return sum(len(topic.examples) for topic in config.topics.values())


def _worst(found: Sequence[_Found], line: Callable[[_Found], str], what: str) -> Iterator[str]:
    yield from map(line, found[:_MOST_LINES])
    if len(found) > _MOST_LINES:
        yield f"topics: and {len(found) - _MOST_LINES} more {what} like these; --json has all of them"


def _overlap(one: Overlap, examples: Sequence[str]) -> str:
    places = f"{show_path(('topics', one.topic))} overlaps {show_path(('topics', one.other))}"
    quoted = ", ".join(quote(examples[index]) for index in one.examples[:_MOST_QUOTED])
    more = len(one.examples) - _MOST_QUOTED
    return (
        f"{places}: {len(one.examples)} of {len(examples)} examples of {one.topic} look like {one.other}: "
        f"{quoted}{f' and {more} more' if more > 0 else ''}"
    )


def _misplaced(one: Misplaced, examples: Sequence[str]) -> str:
    place = show_path(("topics", one.topic, "examples", one.index))
    return f"{place}: {quote(examples[one.index])} looks like {one.best}"
