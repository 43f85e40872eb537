"""Times as a histogram in text: how often each, not only how long in the middle."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from bench.client import percentile

__all__ = ["BOUNDS_S", "as_buckets", "histogram", "summary"]

# Twelve to a factor of ten, so that each is about a fifth longer than the one before; 0.005 ms to 10 ms.
STEPS = (1.0, 1.2, 1.5, 1.8, 2.2, 2.7, 3.3, 3.9, 4.7, 5.6, 6.8, 8.2)
BOUNDS_S = tuple(
    bound
    for decade in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    for step in STEPS
    if 0.0045e-3 < (bound := round(decade * step, 8)) <= 0.01
)
"""Where buckets end, in seconds; what is longer than the last falls into one more."""

WIDTH = 24
PERCENTS = (50, 90, 99)


def as_buckets(times_s: Sequence[float]) -> list[int]:
    """How many times fall into each bucket, the one without an end included."""
    counts = [0] * (len(BOUNDS_S) + 1)
    for taken in times_s:
        counts[bisect_left(BOUNDS_S, taken)] += 1
    return counts


def summary(times_s: Sequence[float]) -> dict[str, object]:
    """For a file: how many, three percentiles, and the buckets that hold anything as [upper end, count]."""
    ends: list[float | None] = [*BOUNDS_S, None]
    filled = [[end, count] for end, count in zip(ends, as_buckets(times_s), strict=True) if count]
    found: dict[str, object] = {"count": len(times_s)}
    return found | {f"p{percent}_s": percentile(times_s, percent) for percent in PERCENTS} | {"buckets": filled}


def histogram(title: str, series: Mapping[str, Sequence[float]], style: box.Box) -> Table:
    """Series side by side over the same buckets, from the first that holds anything to the last."""
    table = Table(box=style, title=title)
    table.add_column("up to ms", justify="right")
    for name in series:
        table.add_column(name, min_width=WIDTH + 5)
    counted = [as_buckets(times_s) for times_s in series.values()]
    filled = [i for counts in counted for i, count in enumerate(counts) if count]
    most = [max(counts) or 1 for counts in counted]
    for i in range(min(filled), max(filled) + 1):
        end = f"{BOUNDS_S[i] * 1000:.4g}" if i < len(BOUNDS_S) else "longer"
        table.add_row(end, *(bar(counts[i], top) for counts, top in zip(counted, most, strict=True)))
    table.add_section()
    for percent in PERCENTS:
        table.add_row(f"p{percent}", *(f"{percentile(times_s, percent) * 1000:.3f} ms" for times_s in series.values()))
    table.add_row("of", *(str(len(times_s)) for times_s in series.values()))
    return table


def bar(count: int, most: int) -> str:
    """The fullest bucket of a series has the longest bar; one that holds a single time still has one."""
    return f"{'█' * max(1, round(WIDTH * count / most))} {count}" if count else ""
