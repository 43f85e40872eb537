"""What was measured, and the few figures that the report makes of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.load import Cell
from bench.processes import Memory

__all__ = ["Decisions", "Results", "Row", "Workload"]


@dataclass(frozen=True)
class Workload:
    """One of the table's sections."""

    stream: bool
    connections: int

    def __str__(self) -> str:
        kind = "streaming" if self.stream else "non-streaming"
        return f"{kind}, {self.connections} connection{'' if self.connections == 1 else 's'}"


@dataclass(frozen=True)
class Decisions:
    """What Pointsman says its decisions took, one request at a time."""

    p50_s: float
    reasons: dict[str, int]


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
    onnx_p50_s: float | None = None

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
