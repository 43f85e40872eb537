"""The quality-cost plot of a report, as an SVG written by hand: light or dark as its reader's screen is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT = 720, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 48, 56

_STYLE = """\
svg { font: 13px system-ui, sans-serif; background: #fff; --ink: #1f2328; --faint: #d8dee4; --dim: #656d76; }
svg { --curve: #0969da; --single: #bf3989; }
@media (prefers-color-scheme: dark) {
  svg { background: #0d1117; --ink: #e6edf3; --faint: #30363d; --dim: #8d96a0; --curve: #58a6ff; --single: #f778ba; }
}
text { fill: var(--ink); } .dim { fill: var(--dim); } .title { font-size: 16px; font-weight: 600; }
.grid { stroke: var(--faint); } .mix { stroke: var(--dim); stroke-dasharray: 4 4; }
.curve { fill: none; stroke: var(--curve); stroke-width: 2.5; stroke-linejoin: round; }
.setting { fill: var(--curve); } .model { fill: var(--dim); } .single { fill: var(--single); }
.setting, .model, .single { stroke: none; }
"""


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
    low, high = math.log10(min(costs)) - 0.05, math.log10(max(costs)) + 0.05
    floor = max(0.0, min(qualities) - 0.02)
    ceiling = min(1.0, max(qualities) + 0.02)

    def x(cost: float) -> float:
        share = (math.log10(cost) - low) / max(high - low, 1e-9)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(quality: float) -> float:
        share = (quality - floor) / max(ceiling - floor, 1e-9)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    for quality in _ticks(floor, ceiling):
        parts.append(f'<path class="grid" d="M{_LEFT} {y(quality)}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="dim" x="{_LEFT - 8}" y="{y(quality) + 4}" text-anchor="end">{quality:.2f}</text>')
    for cost in _decades(low, high):
        parts.append(f'<path class="grid" d="M{x(cost)} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
        parts.append(
            f'<text class="dim" x="{x(cost)}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">${cost:g}</text>'
        )
    parts.append(
        f'<text class="dim" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 14}" text-anchor="end">USD a thousand requests</text>'
    )
    by_name = {name: (cost, quality) for cost, quality, name in models}
    if report["cheapest"] in by_name and report["single"] in by_name:
        parts.append(
            f'<path class="mix" fill="none" d="{_mix(by_name[report["cheapest"]], by_name[report["single"]], x, y)}"/>'
        )
    for cost, quality, name in models:
        kind = "single" if name == report["single"] else "model"
        parts.append(f'<circle class="{kind}" cx="{x(cost)}" cy="{y(quality)}" r="4"/>')
        at_end = x(cost) > _WIDTH * 0.7
        place = (
            f'x="{x(cost) + (-8 if at_end else 8)}" y="{y(quality) + 15}" text-anchor="{"end" if at_end else "start"}"'
        )
        parts.append(f'<text class="dim" {place}>{escape(name)}</text>')
    line = " ".join(f"{x(cost)},{y(quality)}" for cost, quality in points)
    parts.append(f'<polyline class="curve" points="{line}"/>')
    for name, setting in report["settings"].items():
        if setting["cost"]:
            parts.append(f'<circle class="setting" cx="{x(setting["cost"])}" cy="{y(setting["quality"])}" r="5"/>')
            parts.append(
                f'<text x="{x(setting["cost"])}" y="{y(setting["quality"]) - 10}" text-anchor="middle">{name}</text>'
            )
    return _document(parts)


def _mix(one: tuple[float, float], other: tuple[float, float], x: Any, y: Any) -> str:
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
