"""The quality-cost plot of a report, as an SVG written by hand: light or dark as its reader's screen is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

_WIDTH, _HEIGHT = 760, 500
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 72, 56
_LETTER = 7.3
"""Pixels that a letter takes, about."""

_STYLE = """\
svg { font: 12.5px system-ui, sans-serif; background: #fff; --paper: #fff; --ink: #1f2328; --faint: #e4e8ec; }
svg { --dim: #59636e; --curve: #0969da; --single: #bf3989; }
@media (prefers-color-scheme: dark) {
  svg { background: #0d1117; --paper: #0d1117; --ink: #e6edf3; --faint: #262c34; --dim: #9aa4ae; }
  svg { --curve: #58a6ff; --single: #f778ba; }
}
text { fill: var(--ink); } .dim { fill: var(--dim); } .title { font-size: 16px; font-weight: 600; }
.label { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round; }
.bold { fill: var(--curve); font-weight: 600; } .best { fill: var(--single); }
.grid { stroke: var(--faint); } .mix { fill: none; stroke: var(--dim); stroke-dasharray: 4 4; }
.curve { fill: none; stroke: var(--curve); stroke-width: 2.5; stroke-linejoin: round; }
.setting { fill: var(--curve); } .model { fill: var(--dim); } .single { fill: var(--single); }
circle { stroke: var(--paper); stroke-width: 1.5; }
"""


class _Box(NamedTuple):
    """Where something is drawn, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: _Box) -> float:
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(wide, 0.0) * max(high, 0.0)


class _Labels:
    """Names beside their points, each where it hides least of what is drawn already."""

    def __init__(self, drawn: Sequence[tuple[float, float]]) -> None:
        self._taken = [_around(*point, 5) for point in drawn]

    def place(self, x: float, y: float, name: str, kind: str) -> str:
        wide = _LETTER * len(name)
        left, top = min(self._places(x, y, wide), key=lambda at: self._cost(at, wide))
        self._taken.append(_Box(left, top, left + wide, top + 14))
        return f'<text class="label {kind}" x="{left:.1f}" y="{top + 11:.1f}">{escape(name)}</text>'

    def _cost(self, at: tuple[float, float], wide: float) -> float:
        left, top = at
        box = _Box(left, top, left + wide, top + 14)
        inside = _Box(_LEFT, _TOP, _WIDTH - 6, _HEIGHT - _BOTTOM)
        hidden = sum(box.overlap(other) for other in self._taken)
        return hidden + 5 * (wide * 14 - box.overlap(inside))

    @staticmethod
    def _places(x: float, y: float, wide: float) -> Iterator[tuple[float, float]]:
        """The nearest first, which is taken of equals."""
        for away in (8, 20, 34, 48):
            yield from ((x + 8, y - 7), (x - 8 - wide, y - 7)) if away == 8 else ()
            for top in (y + away - 6, y - away - 8):
                yield from ((x + 4, top), (x - wide / 2, top), (x - 4 - wide, top))


def plot(report: dict[str, Any]) -> str:
    """
    The plot of what `report` tells.

    Cost runs to the right on a logarithmic scale, quality upwards. Without costs there is nothing to plot against, and
    the picture says so.
    """
    points = [(each["cost"], each["quality"]) for each in report["curve"] if each["cost"]]
    models = [(each["cost"], each["quality"], each["model"]) for each in report["models"] if each["cost"]]
    parts = [f'<text class="title" x="{_LEFT}" y="26">Quality and cost, held out: {report["rows"]:,} requests</text>']
    if not points or not models:
        parts.append(f'<text class="dim" x="{_LEFT}" y="60">No costs are known, so there is no curve.</text>')
        return _document(parts)
    costs: list[float] = [each[0] for each in (*points, *models)]
    qualities: list[float] = [each[1] for each in (*points, *models)]
    low, high = math.log10(min(costs)) - 0.05, math.log10(max(costs)) + 0.12
    floor, ceiling = max(0.0, min(qualities) - 0.02), min(1.0, max(qualities) + 0.03)

    def x(cost: float) -> float:
        share = (math.log10(cost) - low) / max(high - low, 1e-9)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(quality: float) -> float:
        share = (quality - floor) / max(ceiling - floor, 1e-9)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    parts += [*_legend(), *_axes(x, y, (low, high), (floor, ceiling))]
    by_name = {name: (cost, quality) for cost, quality, name in models}
    if report["cheapest"] in by_name and report["single"] in by_name:
        parts.append(f'<path class="mix" d="{_mix(by_name[report["cheapest"]], by_name[report["single"]], x, y)}"/>')
    line = [(x(cost), y(quality)) for cost, quality in points]
    parts.append(f'<polyline class="curve" points="{" ".join(f"{across},{up}" for across, up in line)}"/>')
    settings = [
        (x(each["cost"]), y(each["quality"]), name) for name, each in report["settings"].items() if each["cost"]
    ]
    dots = [(x(cost), y(quality), name) for cost, quality, name in models]
    for across, up, name in dots:
        kind = "single" if name == report["single"] else "model"
        parts.append(f'<circle class="{kind}" cx="{across}" cy="{up}" r="4.5"/>')
    parts += [f'<circle class="setting" cx="{across}" cy="{up}" r="5.5"/>' for across, up, _ in settings]
    labels = _Labels([*_filled(line), *((across, up) for across, up, _ in (*dots, *settings))])
    parts += [labels.place(across, up, name, "bold") for across, up, name in settings]
    for across, up, name in dots:
        parts.append(labels.place(across, up, name, "best" if name == report["single"] else "dim"))
    return _document(parts)


def _legend() -> Iterator[str]:
    y, x = 50, _LEFT
    for shape, words in (
        (f'<path class="curve" d="M{{x}} {y}h22"/>', "policy, cheap to quality"),
        (f'<path class="mix" d="M{{x}} {y}h22"/>', "random mix of cheapest and best single"),
        (f'<circle class="single" cx="{{middle}}" cy="{y}" r="4.5"/>', "best single"),
    ):
        yield shape.format(x=x, middle=x + 11)
        yield f'<text class="dim" x="{x + 28}" y="{y + 4}">{words}</text>'
        x += 44 + round(7 * len(words))


def _axes(
    x: Callable[[float], float], y: Callable[[float], float], across: tuple[float, float], up: tuple[float, float]
) -> Iterator[str]:
    for quality in _ticks(*up):
        yield f'<path class="grid" d="M{_LEFT} {y(quality)}H{_WIDTH - _RIGHT}"/>'
        yield f'<text class="dim" x="{_LEFT - 8}" y="{y(quality) + 4}" text-anchor="end">{quality:.2f}</text>'
    for cost in _decades(*across):
        yield f'<path class="grid" d="M{x(cost)} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
        yield f'<text class="dim" x="{x(cost)}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">${cost:g}</text>'
    yield f'<text class="dim" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 14}" text-anchor="end">USD a thousand requests</text>'
    yield f'<text class="dim" transform="translate(16 {_TOP}) rotate(-90)" text-anchor="end">mean quality</text>'


def _around(x: float, y: float, size: float) -> _Box:
    return _Box(x - size, y - size, x + size, y + size)


def _filled(line: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Points along a line, near enough to each other that no label fits between."""
    yield from line[:1]
    for (x, y), (later_x, later_y) in pairwise(line):
        steps = max(1, round(math.hypot(later_x - x, later_y - y) / 8))
        for step in range(1, steps + 1):
            yield x + (later_x - x) * step / steps, y + (later_y - y) * step / steps


def _mix(
    one: tuple[float, float], other: tuple[float, float], x: Callable[[float], float], y: Callable[[float], float]
) -> str:
    """A random mix of two models: a straight line, bent by the logarithm."""
    steps = [step / 24 for step in range(25)]
    return "M" + "L".join(
        f"{x(one[0] + share * (other[0] - one[0]))} {y(one[1] + share * (other[1] - one[1]))}" for share in steps
    )


def _ticks(low: float, high: float) -> list[float]:
    step = next(size for size in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / size <= 8)
    first = math.ceil(low / step)
    return [round(number * step, 4) for number in range(first, math.floor(high / step) + 1)]


def _decades(low: float, high: float) -> list[float]:
    found = []
    for power in range(math.floor(low), math.ceil(high) + 1):
        for digit in (1, 2, 5):
            number = digit * 10.0**power
            if low <= math.log10(number) <= high:
                found.append(number)
    return found


def _document(parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}">'
    )
    return "\n".join([head, f"<style>\n{_STYLE}</style>", *parts, "</svg>", ""])
