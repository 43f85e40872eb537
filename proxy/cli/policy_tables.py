"""The reports on a policy as tables, and how those on a whole routes.yaml write the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from proxy.cli.showing import named, table
from proxy.learning.offpolicy import FEWEST

KNOWN_BY = (
    f"\nknown by: as many even draws would say as much; fewer than {FEWEST} are not enough, and the turns of a "
    "conversation count as one"
)
_MOST_SHOWN = 20


def show_rated(console: Console, report: dict[str, Any]) -> None:
    """The report of `report`: on rated requests."""
    has_costs = report["single_cost"] is not None
    console.print(f"\n{report['rows']:,} requests, {report['texts']:,} of them different; all figures are held out\n")
    warn_of_few(console, report["texts"])
    models = table("model", "quality", "USD per 1,000", "taken: quality", "taken: balanced", "taken: cheap")
    for each in report["models"]:
        marks = " (best single)" * (each["model"] == report["single"])
        marks += " (cheapest)" * (has_costs and each["model"] == report["cheapest"])
        taken = [_percent(each["taken"][name]) for name in ("quality", "balanced", "cheap")]
        models.add_row(each["model"] + marks, f"{each['quality']:.4f}", dollars(each["cost"]), *taken)
    console.print(models)
    settings = table(
        "prefer", "quality", "over best single", "over random mix", "USD per 1,000", "saved of best single's cost"
    )
    for name, each in report["settings"].items():
        settings.add_row(
            f"{name} ({each['prefer']:g})",
            f"{each['quality']:.4f}",
            points(each["above_single"], each["above_single_interval"]),
            points(each["above_random_mix"]),
            dollars(each["cost"]),
            _saved(each["saved"], each["saved_interval"]),
        )
    settings.add_row("best single", f"{report['single_quality']:.4f}", "", "", dollars(report["single_cost"]), "")
    console.print()
    console.print(settings)
    if report["singles"] != [report["single"]]:
        singles = " or ".join(report["singles"])
        console.print(f"\nbest single: {singles}, as it is chosen without the requests that it is measured on")
    console.print()
    told = table("", "", left=2)
    for each in report["saved"] if has_costs else ():
        told.add_row(f"saved at {each['share']:.0%} of best single", _saved_at(each["saved"], each["interval"]))
    if (knowing := report["true_domain"]) is not None:
        saved = ", ".join(f"{_percent(each['saved'])} at {each['share']:.0%}" for each in knowing["saved"])
        beside = f", saved {saved}" if has_costs else ""
        told.add_row("one who knows the true domain", f"{points(knowing['above_single'])} points{beside}")
    low, high = report["gain_interval"]
    told.add_row(
        "gain over a random mix", f"{100 * (report['gain'] or 0):.2f} points ({100 * low:.2f} to {100 * high:.2f})"
    )
    told.add_row("calibration error", f"{report['calibration_error']:.3f}")
    if report["pair"]["apgr"] is not None:
        two = report["pair"]
        told.add_row(
            f"{two['strong']} or {two['weak']}",
            f"APGR {two['apgr']:.3f}, CPT(50) {two['cpt50']:.1%}, CPT(80) {two['cpt80']:.1%}",
        )
    for what, rate in report.get("flips", {}).items():
        told.add_row(f"other model with {what}", f"{rate:.1%}")
    console.print(told)


def show_stored(console: Console, report: dict[str, Any]) -> None:
    """The report of `judging`: on stored decisions."""
    sample = f" of {report['read']:,}" if report["read"] > report["rows"] else ""
    console.print(
        f"\n{report['rows']:,}{sample} rated decisions that were drawn, {report['texts']:,} different texts, "
        f"{report['conversations']:,} conversations"
    )
    show_left_out(console, report["left_out"])
    if report["uneven"]:
        shares = ", ".join(f"{named(one['model'])} {one['rated'] / one['drawn']:.1%}" for one in report["shares"])
        console.print(
            f"rated are not as many of each model's decisions: {shares}. Where those who are displeased speak up more "
            "often, or less, all below is off by that, and no interval knows it."
        )
    console.print(
        f"\nwhat was decided: {value(report['logged']['quality'])}, USD {dollars(report['logged']['cost'])} per 1,000\n"
    )
    models = table(
        "model", "rated", "mean", "always it", "USD per 1,000", "taken: quality", "taken: balanced", "taken: cheap"
    )
    for each in report["models"]:
        taken = [f"{each['taken'][name]:.1%}" for name in ("quality", "balanced", "cheap")]
        alone = value(each["alone"]) if each["enough"] else "(few)"
        rating = "-" if each["rating"] is None else f"{each['rating']:.4f}"
        models.add_row(named(each["model"]), f"{each['rated']:,}", rating, alone, dollars(each["cost"]), *taken)
    console.print(models)
    settings = table("prefer", "doubly robust", "inverse prop.", "over decided", "USD per 1,000", "known by")
    told = [*report["settings"].items(), ("at the logged cost", report["at_logged_cost"])]
    for name, each in told:
        settings.add_row(f"{name} ({each['prefer']:g})", *setting_cells(each))
    console.print()
    console.print(settings)
    routes = table("route", "decisions", "decided", "doubly robust", "over decided", "USD per 1,000", "known by")
    for each in report["routes"][:_MOST_SHOWN]:
        quality, _, over, cost, enough = setting_cells(each)
        decided = value(each["logged"]["quality"])
        routes.add_row(named(each["route"]), f"{each['rows']:,}", decided, quality, over, cost, enough)
    console.print()
    console.print(routes)
    console.print(KNOWN_BY)


def setting_cells(each: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Both estimates, the lead over what was decided, the cost, and how much there is to go by."""
    over = each["over_logged"]
    lead = "-" if over["low"] is None else f"{100 * over['value']:+.1f} ±{50 * (over['high'] - over['low']):.1f}"
    enough = f"{each['effective'] or 0:,.0f}{'' if each['enough'] else ' (few)'}"
    return value(each["quality"]), value(each["inverse_propensity"]), lead, dollars(each["cost"]), enough


def value(found: dict[str, Any]) -> str:
    """With half of its 95% interval, which is as wide on either side; without, where one conversation has none."""
    if found["value"] is None:
        return "-"
    if found["low"] is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} ±{(found['high'] - found['low']) / 2:.3f}"


def show_left_out(console: Console, counts: Mapping[str, int]) -> None:
    """How many could not be used, by why not."""
    for why, count in sorted(counts.items()):
        console.print(f"left out: {count:,}, {why}")


def warn_of_few(console: Console, requests: int) -> None:
    """Say so, where intervals cannot be believed."""
    if requests < FEWEST:
        console.print(f"few: the intervals of fewer than {FEWEST} requests say little\n")


def _percent(share: float | None, digits: int = 1) -> str:
    return "-" if share is None else f"{round(share, digits + 2) + 0.0:.{digits}%}"  # -0.0 is shown as 0.0


def dollars(usd: float | None) -> str:
    """An amount of USD; a dash for one that is not known."""
    return "-" if usd is None else f"{usd:.4g}"


def points(value: float, interval: Sequence[float] | None = None) -> str:
    """A difference of two qualities in hundredths, with its interval."""
    between = "" if interval is None else f" ({100 * interval[0]:+.1f} to {100 * interval[1]:+.1f})"
    return f"{round(100 * value, 2) + 0.0:+.2f}{between}"  # -0.0 is shown as +0.00


def _saved(share: float | None, interval: Sequence[float | None] | None) -> str:
    """What is saved; some draws may never reach the quality at which that is asked."""
    if interval is None:
        return "-"
    low, high = ("never" if end is None else _percent(end, 0) for end in interval)
    return f"{_percent(share)} ({low} to {high})"


def _saved_at(share: float | None, interval: Sequence[float | None] | None) -> str:
    return "never" if share is None else _saved(share, interval)
