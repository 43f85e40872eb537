"""What was measured, and the few figures that the report makes of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.load import Cell
from bench.processes import Memory

__all__ = ["Decisions", "Results", "Row", "Stages", "Workload"]


@dataclass(frozen=True)
class Workload:
    """One of the table's sections."""

    stream: bool
    connections: int

    def __str__(self) -> str:
        kind = "streaming" if self.stream else "non-streaming"
        return f"{kind}, {self.connections} connection{'' if self.connections == 1 else 's'}"


@dataclass(frozen=True)
class Stages:
    """One decision on a new text, in seconds."""

    whole_s: float
    embed_s: float
    read_s: float

    @property
    def others_s(self) -> float:
        """Reading and deciding: all but the embedding."""
        return self.whole_s - self.embed_s


@dataclass
class Decisions:
    """What Pointsman says its decisions took, one request at a time; outer lists have one entry a round."""

    rounds_s: list[list[float]] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    bare_s: list[list[float]] = field(default_factory=list)
    """Runs of the model alone, paced like the decisions of their round; empty where nothing is embedded."""
    bare_at_once_s: list[list[float]] = field(default_factory=list)
    """The same without pauses."""
    pauses_s: list[float] = field(default_factory=list)
    stages: list[Stages] = field(default_factory=list)

    @property
    def times_s(self) -> list[float]:
        return [taken for taken_s in self.rounds_s for taken in taken_s]

    @property
    def p50_s(self) -> float:
        return statistics.median(self.times_s)

    def ratio(self, bare_s: list[list[float]]) -> float | None:
        """Decisions to bare runs: the median of the rounds' own ratios, whose blocks are neighbours in time."""
        pairs = zip(self.rounds_s, bare_s, strict=False)
        ratios = [statistics.median(taken) / statistics.median(bare) for taken, bare in pairs]
        return statistics.median(ratios) if ratios else None


@dataclass
class Row:
    """One proxy; lists have one entry a round."""

    key: str
    name: str
    version: str = ""
    ready_s: float = 0.0
    untouched: bool | None = None
    memory: Memory | None = None
    cells: dict[Workload, list[Cell]] = field(default_factory=dict)
    first_bytes: dict[Workload, list[tuple[float, float]]] = field(default_factory=dict)
    decisions: Decisions | None = None
    problem: str | None = None
    """Why the row is empty, or ends early."""

    def median(self, workload: Workload, of: Callable[[Cell], float]) -> float | None:
        cells = self.cells.get(workload)
        return statistics.median(map(of, cells)) if cells else None

    def first_byte(self, workload: Workload, which: int) -> float | None:
        """The median over the rounds of the p50 (0) or the p99 (1)."""
        times = self.first_bytes.get(workload)
        return statistics.median(time[which] for time in times) if times else None


@dataclass
class Results:
    """One run of the bench."""

    rows: list[Row]
    workloads: list[Workload]
    machine: str
    settings: str

    def row(self, key: str) -> Row | None:
        return next((row for row in self.rows if row.key == key), None)

    def ratio(self, above: str, below: str, workload: Workload, of: Callable[[Cell], float]) -> float | None:
        """
        How many times one row's figure is another's.

        The median of the rounds' own ratios, so that a slow minute, which hits neighbours in a round alike,
        cancels out.
        """
        first, second = self.row(above), self.row(below)
        if first is None or second is None:
            return None
        pairs = zip(first.cells.get(workload, ()), second.cells.get(workload, ()), strict=False)
        ratios = [of(a) / of(b) for a, b in pairs if of(b)]
        return statistics.median(ratios) if ratios else None
