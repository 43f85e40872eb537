"""What `train` and `evaluate` share where they look at the store: its decisions as arrays, and the report as tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console

from proxy.cli.learning_data import dollars
from proxy.cli.options import EXIT_BAD_CONFIG
from proxy.cli.progress import reading_count
from proxy.cli.showing import day, named, table
from proxy.config import Config, Store, Text, did_you_mean, learned_of, named_by, quote
from proxy.embedding.shipped_model import minilm_name
from proxy.learning.archive import Archive, StoreUnreadable
from proxy.learning.logged import UNDRAWN, Logged, read_logged
from proxy.learning.offpolicy import FEWEST
from proxy.learning.preparing import why_not

KNOWN_BY = (
    f"\nknown by: as many even draws would say as much; fewer than {FEWEST} are not enough, and the turns of a "
    "conversation count as one"
)
_MOST_SHOWN = 20


def read_or_exit(
    store: Store,
    *,
    models: Sequence[str],
    since: float | None,
    route: str | None,
    implicit: bool,
    limit: int,
    seed: int,
    requests: bool = False,
) -> Logged:
    """
    The stored decisions to learn from; a store that cannot be read ends the program with exit code 2.

    Args:
        store: to read.
        models: the only ones to look at; all that have some ratings when empty.
        since: the length of time until now that is looked at, in seconds; all when None.
        route: the only one to look at.
        implicit: whether outcomes stand in for feedback.
        limit: decisions to keep.
        seed: of that choice.
        requests: whether to keep what another routes.yaml could ask about each.
    """
    begins = None if since is None else time.time() - since
    try:
        with Archive(store) as archive, reading_count("reading decisions") as tell:
            return read_logged(
                archive,
                models=models,
                since=begins,
                route=route,
                implicit=implicit,
                limit=limit,
                seed=seed,
                requests=requests,
                tell=tell,
            )
    except StoreUnreadable as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_BAD_CONFIG)


def looked_at(store: Store, since: float | None, route: str | None) -> str:
    """In words: which of a store's decisions were asked for."""
    only = [] if since is None else [f"since {day(time.time() - since)} (UTC)"]
    only += [] if route is None else [f"of route {quote(route)}"]
    return ", ".join((f"store: {store.url.shown}", *only))


def drawn_models(config: Config | None) -> tuple[str, ...]:
    """The models among which a routes.yaml has chance or a policy choose; none without one, or without such routes."""
    uses = [route.use for route in config.routes if not isinstance(route.use, str)] if config is not None else []
    chosen = [use for use in uses if learned_of(use) is not None] or uses
    return tuple(dict.fromkeys(name for use in chosen for name in named_by(use)))


def embedder_of(config: Config | None) -> str:
    """What the vectors in a store are called, which does not say so itself: those that a server makes here."""
    return minilm_name((config.text if config is not None else Text()).max_tokens)


def refuse_unheard(shown: str, logged: Logged, *, are_named: bool) -> None:
    """
    Say which of the models asked for no decision drew, and exit with code 2; nothing if all were drawn.

    Args:
        shown: what was looked at, in words.
        logged: what was found there.
        are_named: whether `--models` asked for them; else it was a routes.yaml, which has no slip in a name.
    """
    unheard = [name for name in logged.rows.models if name not in logged.drawn]
    if not logged.drawn or not unheard:
        return
    heard = [name for name in logged.rows.models if name in logged.drawn]
    if not are_named:
        hint = "`explore` in its route, or a split that has it, is the way out"
        if len(heard) > 1:
            hint += f"; --models {','.join(heard)} trains for routes of these alone"
    elif near := did_you_mean(unheard[0], logged.drawn):
        hint = f"did you mean {quote(near)}?"
    else:
        hint = f"drawn were {', '.join(map(quote, logged.drawn))}"
    click.echo(f"{shown}: no rated decision drew {quote(unheard[0])}; {hint}", err=True)
    sys.exit(EXIT_BAD_CONFIG)


def refuse_too_little(shown: str, logged: Logged, least_rows: int) -> None:
    """Say why nothing can be learned of these decisions, in numbers, and exit with code 2; nothing if it can."""
    if not len(logged):
        click.echo(f"{shown}: {_why_none(logged)}", err=True)
    elif (problem := why_not(logged.rows, least_rows)) is not None:
        click.echo(f"{shown}: {problem}{_beside(logged)}", err=True)
    else:
        return
    sys.exit(EXIT_BAD_CONFIG)


def _why_none(logged: Logged) -> str:
    undrawn, rated = logged.left_out.get(UNDRAWN, 0), sum(logged.left_out.values())
    if not rated:
        return "it has no rated decisions to look at; POST /v1/feedback rates them, --implicit takes outcomes instead"
    if undrawn == rated:
        return (
            f"of {rated:,} rated decisions none was drawn (each had propensity 1), so they tell nothing of any other "
            "choice; `explore: 0.02` in a learned route, or a split, is the way out"
        )
    return f"none of {rated:,} rated decisions can be learned from{_beside(logged)}"


def _beside(logged: Logged) -> str:
    told = ", ".join(f"{why} ({count:,})" for why, count in sorted(logged.left_out.items()))
    return f"; left out: {told}" if told else ""


def show(console: Console, report: dict[str, Any]) -> None:
    """The report of `judging` as tables."""
    sample = f" of {report['read']:,}" if report["read"] > report["rows"] else ""
    console.print(
        f"\n{report['rows']:,}{sample} rated decisions that were drawn, {report['texts']:,} different texts, "
        f"{report['conversations']:,} conversations"
    )
    for why, count in sorted(report["left_out"].items()):
        console.print(f"left out: {count:,}, {why}")
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
