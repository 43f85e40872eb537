"""`pointsman evaluate`: what a policy, or a whole routes.yaml, does on rated requests or on stored decisions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from click.core import ParameterSource
from rich.console import Console

from proxy.cli.deciding import Deciding
from proxy.cli.learning_data import RatedFile
from proxy.cli.options import cache_dir_option, exit_with, load_or_exit, named_config_option, or_here, refuse
from proxy.cli.policy_tables import show_rated, show_stored
from proxy.cli.progress import working_bar
from proxy.cli.routed import show_rated_routes, show_stored_routes
from proxy.cli.showing import console
from proxy.cli.store_options import FROM_CONFIG, check_source, since_option, store_of, store_option
from proxy.cli.stored import embedder_of, looked_at, read_or_exit, refuse_too_little
from proxy.cli.streams import echo_json
from proxy.cli.writing import plot_option, write_whole
from proxy.config import Config, ConfigError
from proxy.learning import judging, routed
from proxy.learning.domains import by_domain
from proxy.learning.held_out import decide_all
from proxy.learning.logged import Logged
from proxy.learning.plot import plot
from proxy.learning.preparing import LEAST_ROWS, OUTPUT_TOKENS
from proxy.learning.report import report
from proxy.learning.rewording import flip_rates
from proxy.reload.policies import read_policy, unusable
from proxy.routing.policy import Policy
from proxy.routing.policy_file import PolicyUnusable, check_fits

FOLDS = 3
"""Of the predictions that estimates lean on where there is no policy; these need not be the best there are."""


class _Told(NamedTuple):
    found: dict[str, Any]
    show: Callable[[Console, dict[str, Any]], None]
    seen: int = 0
    """Requests that are left out, since the policy was trained on them."""


@click.command(short_help="Measure a policy or a routes.yaml on rated requests.")
@click.argument("what", metavar="POLICY|ROUTES.YAML", type=click.Path(path_type=Path))
@click.argument("labelled", type=click.Path(path_type=Path), required=False)
@store_option
@since_option
@click.option("--route", metavar="NAME", help="Only stored decisions of this route.")
@click.option("--implicit", is_flag=True, help="Stored outcomes stand in where there is no feedback.")
@named_config_option(
    "For a POLICY: routes.yaml with `store`, prices, and `text`; for --store without a URL also the one here. "
    "For another ROUTES.YAML: that with `store`."
)
@click.option("--limit", type=click.IntRange(min=1), default=50_000, show_default=True, help="Rows to look at.")
@click.option("--output-tokens", type=click.IntRange(min=1), default=OUTPUT_TOKENS, show_default=True,
              help="Expected of an answer, where its cost is made of prices.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@plot_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
@cache_dir_option
def evaluate(
    what: Path,
    labelled: Path | None,
    store: str | None,
    since: float | None,
    route: str | None,
    implicit: bool,
    config_path: Path | None,
    limit: int,
    output_tokens: int,
    seed: int,
    plot_path: Path | None,
    as_json: bool,
    cache_dir: Path | None,
) -> None:
    """
    Measure a POLICY, a file of `train`, or a whole ROUTES.YAML: its rules, topics, splits and learned routes.

    On LABELLED each decision is worth its model's score. On the store (--store) only the model that was chosen then has
    a rating: what other choices would have earned is estimated, by inverse propensity and doubly robust, from the
    decisions whose model was drawn. Requests that a policy was trained on are left out: they would flatter it.

    Exit code 2: a file or the store has errors, or there is not enough to tell.
    """
    check_source(labelled, store, since=since, route=route, implicit=implicit)
    is_whole = what.suffix in (".yaml", ".yml")
    if is_whole and store != FROM_CONFIG:
        if click.get_current_context().get_parameter_source("config_path") is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                "-c goes with a POLICY, or with --store without a URL; of ROUTES.YAML all else is known."
            )
        config_path = None
    elif not is_whole and store == FROM_CONFIG:
        config_path = or_here(config_path)
    if plot_path is not None and (is_whole or store is not None):
        raise click.UsageError("--plot draws a POLICY on LABELLED only.")
    in_use = None if config_path is None else load_or_exit(config_path)
    config = load_or_exit(what) if is_whole else in_use
    if is_whole and in_use is not None and config is not None and in_use.text != config.text:
        # The store has texts and vectors as the file in use looks at a request: to another they tell nothing.
        refuse(f"{what}: its `text` is not that of {config_path}, by which the stored requests were looked at")
    policy = None if is_whole else _policy(what, embedder_of(config))
    models = () if policy is None else policy.models
    if store is None:
        assert labelled is not None
        data = RatedFile(
            labelled, config, models=models, limit=limit, seed=seed, cache_dir=cache_dir, output_tokens=output_tokens,
            expects_costs=policy is not None and bool(np.isfinite(policy.mean_costs).all()),
        )  # fmt: skip
        if policy is not None:
            told = _policy_on_rated(policy, what, data, labelled, seed)
        else:
            assert config is not None
            told = _routes_on_rated(config, data, labelled, cache_dir, seed)
    else:
        source = store_of(store, in_use or config, config_path or what)
        logged = read_or_exit(
            source, models=models, since=since, route=route, implicit=implicit, limit=limit, seed=seed,
            requests=is_whole,
        )  # fmt: skip
        shown = looked_at(source, since, route)
        if policy is not None:
            told = _policy_on_stored(policy, what, logged, shown)
        else:
            assert config is not None
            told = _routes_on_stored(config, logged, shown, cache_dir, seed)
    if plot_path is not None:
        write_whole(plot_path, plot(told.found).encode())
    if as_json:
        echo_json(told.found)
        return
    if told.seen:
        click.echo(f"{told.seen:,} requests are left out, on which the policy was trained")
    told.show(console(), told.found)


def _policy(path: Path, embedder: str) -> Policy:
    try:
        policy = read_policy(path)
        if policy is None:
            raise unusable(path, "no such file")
        check_fits(policy, embedder=embedder)
    except ConfigError as error:
        exit_with(error)
    except PolicyUnusable as error:
        exit_with(unusable(path, str(error)))
    return policy


def _policy_on_rated(policy: Policy, path: Path, data: RatedFile, labelled: Path, seed: int) -> _Told:
    unseen = data.rows.unseen(policy.seen)
    if not len(unseen):
        refuse(f"{labelled}: {path} was trained on each of these requests; bring others")
    rows = data.rows.take(unseen)
    knowing = by_domain(rows, [data.domains[at] for at in unseen.tolist()], seed=seed)
    found = report(decide_all(policy, rows), seed=seed, knowing=knowing)
    seen = len(data.rows) - len(unseen)
    found = {"policy": str(path), "version": policy.version, "left_out": seen, **found}
    if texts := data.texts(unseen):
        found["flips"] = flip_rates(policy, texts, data.embed)
    return _Told(found, show_rated, seen)


def _policy_on_stored(policy: Policy, path: Path, logged: Logged, shown: str) -> _Told:
    refuse_too_little(shown, logged, 1)
    unseen = logged.rows.unseen(policy.seen)
    if not len(unseen):
        refuse(f"{shown}: {path} was trained on each of these decisions; --since looks at later ones only")
    found, seen = judging.report(judging.judge(policy, logged.take(unseen))), len(logged) - len(unseen)
    return _Told({"policy": str(path), "version": policy.version, "seen": seen, **found}, show_stored, seen)


def _routes_on_rated(config: Config, data: RatedFile, labelled: Path, cache_dir: Path | None, seed: int) -> _Told:
    deciding = _deciding(config, cache_dir)
    places, taken = deciding.labelled(data)
    if not len(places):
        refuse(f"{labelled}: none of its requests can be decided: {_listed(deciding)}")
    known = data.rows.models
    if not set(taken.models) & set(known):
        went, rated = (", ".join(map(repr, dict.fromkeys(names))) for names in (taken.models, known))
        refuse(f"{labelled}: no request goes to a model that it rates; they go to {went}, and it rates {rated}")
    try:
        found = routed.on_rated(data.rows.take(places), taken, seed=seed)
    except routed.NothingToCompare as error:
        refuse(f"{labelled}: {error}, so there is nothing to compare")
    return _Told(found, show_rated_routes)


def _routes_on_stored(config: Config, logged: Logged, shown: str, cache_dir: Path | None, seed: int) -> _Told:
    refuse_too_little(shown, logged, LEAST_ROWS)
    deciding = _deciding(config, cache_dir)
    places, taken = deciding.stored(logged)
    if not len(places):
        refuse(f"{shown}: none of its decisions can be decided anew: {_listed(deciding)}")
    could = routed.drawable(logged.take(places), taken)
    if not could.any():
        went = ", ".join(map(repr, dict.fromkeys(taken.models)))
        refuse(
            f"{shown}: each decision goes to a model that was never drawn in its route ({went}), so nothing is known"
        )
    with working_bar("estimating") as tell:
        judged = judging.cross_judge(logged, embedder=embedder_of(config), seed=seed, folds=FOLDS, tell=tell)
    found = routed.on_stored(judged.take(places), taken)
    explores = any(use.explore for use in config.learned.values())
    return _Told({**found, "explores": explores}, show_stored_routes)


def _deciding(config: Config, cache_dir: Path | None) -> Deciding:
    found = Deciding(config, cache_dir)
    if found.lacks_policy:
        click.echo(f"warning: {config.policy}: no such file; learned routes take the first of their models", err=True)
    return found


def _listed(deciding: Deciding) -> str:
    return ", ".join(f"{why} ({count:,})" for why, count in deciding.untold.most_common())
