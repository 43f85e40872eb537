"""How a report has its figures: as many digits as say something, and None for what is not known."""

from __future__ import annotations

import math
from typing import Any

from proxy.learning.measures import interval
from proxy.routing.arrays import Floats


def rounded(value: Any, digits: int = 4) -> float | None:
    """None for what is no number."""
    number = float(value)
    return round(number, digits) if math.isfinite(number) else None


def usd(value: Any) -> float | None:
    """Of a thousand requests, where one costs so much."""
    return rounded(float(value) * 1000, 6)


def middle(values: Floats, digits: int = 4) -> list[float | None]:
    """The interval of draws; None for an end among those that have no figure."""
    return [rounded(one, digits) for one in interval(values)]


def known_middle(value: Any, values: Floats) -> list[float | None] | None:
    """The interval around a value; None where that is not known itself."""
    return middle(values) if math.isfinite(value) else None
