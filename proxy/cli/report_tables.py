"""What `pointsman report` says as tables; the figures are those of `report_figures`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console

from proxy.cli.showing import Sheet, between, count, day, named, seconds, share, short, table, usd
from proxy.learning.offpolicy import FEWEST

_MEASURES = {
    "rating": ("rating", ".3f"),
    "cost_usd": ("USD", ".3g"),
    "seconds": ("seconds", ".3g"),
    "error": ("errors", ".2%"),
}
_PAIRS = 10


def show(console: Console, found: dict[str, Any]) -> None:
    """All of it."""
    total = found["total"]
    if not total["decisions"]:
        console.print("No decisions are stored of this time.")
        return
    console.print(f"{count(total['decisions'])} decisions, {day(found['first'])} to {day(found['last'])} (UTC)\n")
    _show_groups(console, found)
    if found["damaged_ratings"]:
        console.print(f"\nleft out: {count(found['damaged_ratings'])} ratings, damaged")
    for route, arms in found["experiments"].items():
        console.print()
        _show_arms(console, route, arms)
    if found["shadow"] is not None:
        console.print()
        _show_shadow(console, found["shadow"])
    if any(map(_is_few, _means(found))):
        console.print(f"\nfew: of fewer than {FEWEST} conversations, too few for an interval to be believed")


def _means(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those that are shown."""
    for _, group in _named(found):
        yield group["rating"]
    for arms in found["experiments"].values():
        for told in (*arms, *(arm["difference"] for arm in arms[1:])):
            yield from (told[measure] for measure in _MEASURES)


def _named(found: dict[str, Any]) -> list[tuple[list[str], dict[str, Any]]]:
    heads: list[str] = found["by"]
    groups = [([named(group[head]) for head in heads], group) for group in found["groups"]]
    return [*groups, (["all", *[""] * (len(heads) - 1)], found["total"])]


def _show_groups(console: Console, found: dict[str, Any]) -> None:
    shown = Sheet(
        found["by"],
        [
            ("decisions", "errors", "USD", "saved USD"),
            ("rated", "rating", "asked again"),
            ("prompt", "cached", "answer", "cut", "bad calls"),
            ("p50", "p95", "first p50", "first p95"),
        ],
    )
    for names, group in _named(found):
        tokens, rating, decisions = group["tokens"], group["rating"], group["decisions"]
        shown.add_row(
            *names,
            count(decisions),
            share(group["errors"], decisions),
            usd(group["cost_usd"] if group["priced"] else None),
            usd(group["saved_usd"], sign=True),
            count(rating["rated"]),
            _mean(rating, ".2f"),
            share(group["retried"], decisions),
            *(short(tokens[kind]) for kind in ("prompt", "cached", "completion")),
            *(share(group[name], decisions) for name in ("cut", "bad_tool_calls")),
            *(seconds(group[name]) for name in ("p50_s", "p95_s", "first_token_p50_s", "first_token_p95_s")),
        )
    console.print(shown)


def _show_arms(console: Console, route: str, arms: list[dict[str, Any]]) -> None:
    console.print(f"Experiment {route!r}; intervals of 95%, a conversation counting as one:")
    heads = [head for head, _ in _MEASURES.values()]
    shown = table("arm", "decisions", "conversations", *heads)
    for arm in arms:
        cells = [_mean(arm[measure], form) for measure, (_, form) in _MEASURES.items()]
        shown.add_row(named(arm["arm"]), count(arm["decisions"]), count(arm["conversations"]), *cells)
    first = named(arms[0]["arm"])
    for arm in arms[1:]:
        cells = [_mean(arm["difference"][measure], "+" + form) for measure, (_, form) in _MEASURES.items()]
        shown.add_row(f"{named(arm['arm'])} less {first}", "", "", *cells)
    console.print(shown)
    for arm in arms[1:]:
        console.print(f"{named(arm['arm'])} against {first}: {arm['verdict']}")


def _mean(mean: dict[str, Any], form: str) -> str:
    """With its interval, and a mark where that is not to be believed."""
    return between(mean["value"], mean["interval"], form) + " (few)" * _is_few(mean)


def _is_few(mean: dict[str, Any]) -> bool:
    return mean["value"] is not None and not mean["enough"]


def _show_shadow(console: Console, shadow: dict[str, Any]) -> None:
    console.print(
        f"Shadow: the same model in {share(shadow['agreed'], shadow['decisions'])} of {count(shadow['decisions'])} "
        "decisions."
    )
    if shadow["differing"]:
        shown = table("decided", "in the shadow", "decisions", left=2)
        for pair in shadow["differing"][:_PAIRS]:
            decided, other = (named(f"{pair[f'{kind}route']} · {pair[f'{kind}model']}") for kind in ("", "shadow_"))
            shown.add_row(decided, other, count(pair["decisions"]))
        console.print(shown)
    for name, what in (("rating", "rating"), ("cost_usd", "USD")):
        gain = shadow[name]
        if gain["enough"]:
            told = between(gain["value"], (gain["low"], gain["high"]), "+.3f" if name == "rating" else "+.3g")
            told = f"{told} a decision (95%), by {count(gain['decisions'])} whose model was drawn by chance."
        else:
            told = (
                f"not enough to say: of {count(gain['decisions'])} decisions drawn by chance (split, explore) with a "
                f"known {what}, {gain['effective']:.0f} tell of the shadow's choices; it takes {FEWEST}."
            )
        console.print(f"  {what} that it would change: {told}")
