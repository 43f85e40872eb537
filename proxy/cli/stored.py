"""What `train` and `evaluate` share where they look at the store: its decisions as arrays, or why there are too few."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.cli.options import refuse
from proxy.cli.progress import reading_count
from proxy.cli.showing import day
from proxy.config import Config, Store, Text, did_you_mean, learned_of, named_by, quote
from proxy.embedding.shipped_model import minilm_name
from proxy.learning.archive import Archive, StoreUnreadable
from proxy.learning.logged import UNDRAWN, Logged, read_logged
from proxy.learning.preparing import why_not


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
        since: seconds since 1970; all when None.
        route: the only one to look at.
        implicit: whether outcomes stand in for feedback.
        limit: decisions to keep.
        seed: of that choice.
        requests: whether to keep what another routes.yaml could ask about each.
    """
    try:
        with Archive(store) as archive, reading_count("reading decisions") as tell:
            return read_logged(
                archive,
                models=models,
                since=since,
                route=route,
                implicit=implicit,
                limit=limit,
                seed=seed,
                requests=requests,
                tell=tell,
            )
    except StoreUnreadable as error:
        refuse(str(error))


def looked_at(store: Store, since: float | None, route: str | None) -> str:
    """In words: which of a store's decisions were asked for."""
    only = [] if since is None else [f"since {day(since)} (UTC)"]
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
    refuse(f"{shown}: no rated decision drew {quote(unheard[0])}; {hint}")


def refuse_too_little(shown: str, logged: Logged, least_rows: int) -> None:
    """Say why nothing can be learned of these decisions, in numbers, and exit with code 2; nothing if it can."""
    if not len(logged):
        refuse(f"{shown}: {_why_none(logged)}")
    if (problem := why_not(logged.rows, least_rows)) is not None:
        refuse(f"{shown}: {problem}{_beside(logged)}")


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
