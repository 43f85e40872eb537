"""What `bench.chaos` has seen: its figures, whether they are as demanded, and how they are shown."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table

from bench.client import percentile

__all__ = ["Held", "Round", "complaints", "show"]

DEMANDED = 0.999
"""Of the requests that could succeed, so many do."""
NEVER = ("wrong bytes", "short", "lost")
"""Bytes that are not the answer's; an answer without its end that looks like a whole; a connection that broke."""
FLAT_MB = 10.0
"""Growth of a second round, which is the first one over again, that still counts as flat."""


@dataclass(frozen=True)
class Held:
    """What the proxy's process holds when nothing is under way."""

    files: int
    tasks: int
    in_flight: int
    rss_mb: float

    def is_no_more_than(self, before: Held) -> bool:
        return self.files <= before.files and self.tasks <= before.tasks and self.in_flight <= before.in_flight


@dataclass
class Round:
    """What became of the streams of one round."""

    killed: str
    """The upstream that was killed."""
    kills: list[float]
    """When."""
    noticed_s: float
    """How long after a kill the end of a stream may still be its doing."""
    counts: Counter[str] = field(default_factory=Counter)
    told: list[tuple[str, float]] = field(default_factory=list)
    """Streams that ended with an error event: from which upstream, and when."""
    first_byte_s: list[float] = field(default_factory=list)
    """Of those that were right."""
    attempts: Counter[int] = field(default_factory=Counter)
    """Answers by how many attempts they took."""
    by_target: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Attempts by target and outcome, as the proxy counted them."""
    after: Held | None = None

    @property
    def requests(self) -> int:
        return sum(self.counts.values())

    @property
    def cut(self) -> int:
        """Streams that had begun on the upstream when it was killed, and whose clients were told."""
        return sum(
            upstream == self.killed and any(0 <= at - kill <= self.noticed_s for kill in self.kills)
            for upstream, at in self.told
        )

    @property
    def could_succeed(self) -> int:
        return self.requests - self.cut

    @property
    def success(self) -> float:
        """Of the requests that could succeed."""
        return self.counts["right"] / self.could_succeed if self.could_succeed else 0.0

    @property
    def per_request(self) -> float:
        """Attempts."""
        asked = sum(self.attempts.values())
        return sum(count * many for count, many in self.attempts.items()) / asked if asked else 0.0

    def figures(self) -> dict[str, object]:
        """As `--json` gives them."""
        times = [percentile(self.first_byte_s, percent) * 1000 if self.first_byte_s else None for percent in (50, 99)]
        return {
            "requests": self.requests,
            "right": self.counts["right"],
            "cut_by_a_kill_and_told": self.cut,
            "otherwise": {word: count for word, count in self.otherwise().items() if count},
            "success": self.success,
            "success_of_all": self.counts["right"] / self.requests if self.requests else 0.0,
            "kills": len(self.kills),
            "first_byte_ms": {"p50": times[0], "p99": times[1]},
            "attempts": {str(many): count for many, count in sorted(self.attempts.items())},
            "attempts_per_request": self.per_request,
            "after": dataclasses.asdict(self.after) if self.after else None,
        }

    def otherwise(self) -> Counter[str]:
        """Answers that were neither right nor cut by a kill, by what was wrong."""
        others = Counter({word: count for word, count in self.counts.items() if word not in ("right", "told")})
        others["told, without a kill"] = len(self.told) - self.cut
        return others


def complaints(rounds: Sequence[Round], before: Held) -> list[str]:
    """What is not as demanded; nothing when all is."""
    found = []
    for number, each in enumerate(rounds, 1):
        if each.success < DEMANDED:
            found.append(f"round {number}: {each.success:.3%} of the requests that could succeed did")
        found += [f"round {number}: {each.counts[word]} x {word}" for word in NEVER if each.counts[word]]
        if each.after is None or not each.after.is_no_more_than(before):
            found.append(f"round {number} left something behind: {each.after}; before it was {before}")
    # The first round fills what is meant to be filled; only what later ones add can be a leak.
    if len(rounds) > 1 and (growth := _growth_mb(rounds)) > FLAT_MB:
        found.append(f"memory grew by {growth:.1f} MB after the first round")
    return found


def _growth_mb(rounds: Sequence[Round]) -> float:
    first, last = rounds[0].after, rounds[-1].after
    return last.rss_mb - first.rss_mb if first and last else 0.0


def show(rounds: Sequence[Round], before: Held, *, as_json: bool) -> None:
    """Print all of it."""
    if as_json:
        attempts = [
            {"target": target, "outcome": outcome, "count": count}
            for (target, outcome), count in sorted(_by_target(rounds).items())
        ]
        told = {
            "rounds": [each.figures() for each in rounds],
            "before": dataclasses.asdict(before),
            "attempts": attempts,
            "complaints": complaints(rounds, before),
        }
        print(json.dumps(told, indent=1))
        return
    Console(width=None if sys.stdout.isatty() else 110).print(_outcomes(rounds, before), _attempts(rounds), sep="\n")


def _outcomes(rounds: Sequence[Round], before: Held) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="streams; times in ms")
    for heading in ("", "before", *(f"round {number}" for number in range(1, len(rounds) + 1))):
        table.add_column(heading, justify="right" if heading else "left")

    def row(name: str, values: Sequence[str], at_first: str = "") -> None:
        table.add_row(name, at_first, *values)

    row("requests", [f"{each.requests:,}" for each in rounds])
    row("right, byte for byte", [f"{each.counts['right']:,}" for each in rounds])
    row("begun when its upstream was killed, and told", [f"{each.cut:,}" for each in rounds])
    for word in dict.fromkeys([*NEVER, *(word for each in rounds for word in each.otherwise())]):
        row(word, [f"{each.otherwise()[word]:,}" for each in rounds])
    row("succeeded, of those that could", [f"{each.success:.3%}" for each in rounds])
    row("succeeded, of all", [f"{each.counts['right'] / max(1, each.requests):.3%}" for each in rounds])
    row("kills", [f"{len(each.kills)}" for each in rounds])
    for percent in (50, 99):
        times = [percentile(each.first_byte_s, percent) * 1000 if each.first_byte_s else 0.0 for each in rounds]
        row(f"first byte p{percent}", [f"{time:,.1f}" for time in times])
    row("attempts per request", [f"{each.per_request:.3f}" for each in rounds])
    for many in sorted({many for each in rounds for many in each.attempts}):
        row(f"  of {many}", [f"{each.attempts[many]:,}" for each in rounds])
    after = [each.after or before for each in rounds]
    row("open files afterwards", [str(each.files) for each in after], str(before.files))
    row("tasks afterwards", [str(each.tasks) for each in after], str(before.tasks))
    row("in flight afterwards", [str(each.in_flight) for each in after], str(before.in_flight))
    row("RSS afterwards, MB", [f"{each.rss_mb:.1f}" for each in after], f"{before.rss_mb:.1f}")
    return table


def _attempts(rounds: Sequence[Round]) -> Table:
    counts = _by_target(rounds)
    outcomes = sorted({outcome for _, outcome in counts})
    table = Table(box=box.SIMPLE_HEAD, title="attempts by how they ended, all rounds")
    for heading in ("target", *outcomes):
        table.add_column(heading, justify="left" if heading == "target" else "right")
    for target in sorted({target for target, _ in counts}):
        table.add_row(target, *(f"{counts[target, outcome]:,}" for outcome in outcomes))
    return table


def _by_target(rounds: Sequence[Round]) -> Counter[tuple[str, str]]:
    return sum((each.by_target for each in rounds), Counter())
