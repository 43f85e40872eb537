"""`pointsman train`: a policy from rated requests or stored decisions, and the proof that it is worth having."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from rich.console import Console

from proxy.cli.learning_data import RatedFile
from proxy.cli.options import cache_dir_option, exit_with, load_or_exit, named_config_option, or_here, refuse
from proxy.cli.policy_tables import show_rated, show_stored
from proxy.cli.progress import working_bar
from proxy.cli.showing import console
from proxy.cli.store_options import FROM_CONFIG, check_source, since_option, store_of, store_option
from proxy.cli.stored import drawn_models, embedder_of, looked_at, read_or_exit, refuse_too_little, refuse_unheard
from proxy.cli.streams import echo_json
from proxy.cli.writing import plot_option, to_write, write_whole
from proxy.config import Config, ConfigError, choices, quote
from proxy.learning import judging
from proxy.learning.domains import by_domain
from proxy.learning.fit import fit_policy
from proxy.learning.held_out import cross_fit
from proxy.learning.incumbent import how_compared, why_keep
from proxy.learning.logged import Logged
from proxy.learning.plot import plot
from proxy.learning.preparing import LEAST_ROWS, OUTPUT_TOKENS, why_not
from proxy.learning.report import report, why_not_better
from proxy.learning.rewording import flip_rates
from proxy.reload.policies import read_policy, unusable
from proxy.routing.policy import Policy
from proxy.routing.policy_file import PolicyUnusable, check_fits, pack, unpack

EXIT_NOT_BETTER = 1
_SINGLE_FROM = (
    "The figures are of policies that had not seen the requests that they are told of. The one that was trained on all "
    "takes {single} for every request from prefer {begins:g} on: there it does not beat it surely enough."
)


@click.command(short_help="Learn from rated requests which model to choose.")
@click.argument("labelled", type=click.Path(path_type=Path), required=False)
@store_option
@since_option
@click.option("--route", metavar="NAME", help="Only stored decisions of this route.")
@click.option("--implicit", is_flag=True, help="Stored outcomes stand in where there is no feedback.")
@click.option("--models", default="", metavar="A,B,...", help="Only these of the models that were rated.")
@click.option("--out", type=click.Path(path_type=Path), callback=to_write, default=Path("policy.npz"),
              show_default=True)  # fmt: skip
@named_config_option("routes.yaml: `store`, models, prices, and `text`. For --store without a URL also the one here.")
@click.option("--incumbent", type=click.Path(path_type=Path), help="The policy to beat; --out where that exists.")
@click.option("--force", is_flag=True, help="Write the policy even if it beats nothing; the file will say so.")
@click.option("--output-tokens", type=click.IntRange(min=1), default=OUTPUT_TOKENS, show_default=True,
              help="Expected of an answer, where its cost is made of prices.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=LEAST_ROWS), default=50_000, show_default=True,
              help="Rows to learn from; of more, a sample.")  # fmt: skip
@click.option("--folds", type=click.IntRange(2, 20), default=5, show_default=True, help="Of the hold-out.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@plot_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
@cache_dir_option
def train(
    labelled: Path | None,
    store: str | None,
    since: float | None,
    route: str | None,
    implicit: bool,
    models: str,
    out: Path,
    config_path: Path | None,
    incumbent: Path | None,
    force: bool,
    output_tokens: int,
    limit: int,
    folds: int,
    seed: int,
    plot_path: Path | None,
    as_json: bool,
    cache_dir: Path | None,
) -> None:
    """
    Learn from LABELLED, or from the store, which model to choose for which request, and write the policy.

    LABELLED has a JSON object on each line, gzipped or not: {"prompt": "...", "scores": {"MODEL": 0 to 1}, "costs":
    {"MODEL": USD}}. In place of a prompt its "vector" may stand; "costs" may be absent. The figures are held out:
    every request is decided by a policy that was fitted without it. Where lines have a "domain", one who knows that and
    nothing else is shown beside the policy, which never sees it.

    With --store the server's own decisions are learned from, those that were rated and whose model was drawn: by a
    split, or by a learned route that explores. What another policy would have earned is then an estimate. With
    --implicit, decisions without feedback count as good, or as bad where the upstream failed, the answer was cut, a
    tool's call was no JSON, or the same was asked again within minutes.

    Exit code 0: written. 1: not written, since it is no better than what there is. 2: the file or the store has errors,
    or not enough to learn from, or the policy cannot be written.
    """
    check_source(labelled, store, since=since, route=route, implicit=implicit)
    if store is not None and plot_path is not None:
        raise click.UsageError("--plot needs LABELLED: of stored decisions there is no curve to draw.")
    config_path = or_here(config_path) if store == FROM_CONFIG else config_path
    config = None if config_path is None else load_or_exit(config_path)
    wanted = tuple(dict.fromkeys(name.strip() for name in models.split(",") if name.strip()))
    old = _incumbent(incumbent, out)
    if store is not None:
        source = store_of(store, config, config_path)
        logged = read_or_exit(
            source, models=wanted or drawn_models(config), since=since, route=route, implicit=implicit, limit=limit,
            seed=seed,
        )  # fmt: skip
        shown = looked_at(source, since, route)
        refuse_unheard(shown, logged, are_named=bool(wanted))
        refuse_too_little(shown, logged, LEAST_ROWS)
        embedder = embedder_of(config)
        old = _comparable(old, incumbent, out, embedder, logged.rows.models)
        trained = _of_store(logged, old, embedder, seed, folds)
    else:
        assert labelled is not None
        data = RatedFile(
            labelled, config, models=wanted, known=None if config is None else config.models, limit=limit, seed=seed,
            cache_dir=cache_dir, output_tokens=output_tokens,
        )  # fmt: skip
        if (problem := why_not(data.rows, LEAST_ROWS)) is not None:
            refuse(f"{labelled}: {problem}")
        _warn_of_unrated(config, config_path, data.rows.models)
        old = _comparable(old, incumbent, out, data.embedder, data.rows.models)
        trained = _of_labelled(data, old, seed, folds)
    reason, found = trained.reason, trained.found
    found["single_from"] = trained.policy.single_from
    written = reason is None or force
    if plot_path is not None:
        write_whole(plot_path, plot(found).encode())
    if written:
        about = {"seed": seed, "folds": folds, "forced": reason is not None, **trained.about}
        version = _write(out, replace(trained.policy, about=about))
    if as_json:
        told = {"written": str(out) if written else None, "version": version if written else None, "reason": reason}
        echo_json({**told, **found})
    else:
        if found["read"] > found["rows"]:
            click.echo(f"{found['read']:,} rows, of which {found['rows']:,} are looked at; --limit takes more")
        trained.show(console(), found)
        if (begins := trained.policy.single_from) is not None:
            single = quote(trained.policy.best_single(trained.policy.models))
            click.echo("\n" + _SINGLE_FROM.format(single=single, begins=begins))
        if found["incumbent"] is not None:
            click.echo(f"\nIncumbent: {found['incumbent']}")
        if reason is not None:
            click.echo(f"\nNo better than what there is: {reason}")
        click.echo(f"\nWrote {out}, version {version}" if written else f"\n{out} is not written; --force writes it")
    sys.exit(0 if written else EXIT_NOT_BETTER)


class _Trained(NamedTuple):
    """A policy, and what there is to say of it."""

    policy: Policy
    found: dict[str, Any]
    about: dict[str, Any]
    """What the file is to tell of its training."""
    reason: str | None
    """Why it is no better than what there is; None when it is."""
    show: Callable[[Console, dict[str, Any]], None]


def _of_labelled(data: RatedFile, old: Policy | None, seed: int, folds: int) -> _Trained:
    with working_bar("training") as tell:
        held = cross_fit(data.rows, embedder=data.embedder, seed=seed, folds=folds, tell=tell)
        knowing = by_domain(data.rows, data.domains, seed=seed, folds=folds)
        found = {"read": data.read.found, **report(held, seed=seed, knowing=knowing)}
        policy = fit_policy(data.rows, embedder=data.embedder, seed=seed)
    if texts := data.texts(np.arange(len(data.rows))):
        found["flips"] = flip_rates(policy, texts, data.embed)
    reason = why_not_better(found)
    found["incumbent"] = None if old is None else how_compared(old, data.rows, "gain")
    if reason is None and old is not None:
        reason = why_keep(old, held)
    kept = ("rows", "single", "single_quality", "single_cost", "settings", "saved", "gain", "calibration_error")
    return _Trained(policy, found, {name: found[name] for name in kept}, reason, show_rated)


def _of_store(logged: Logged, old: Policy | None, embedder: str, seed: int, folds: int) -> _Trained:
    with working_bar("training") as tell:
        judged = judging.cross_judge(logged, embedder=embedder, seed=seed, folds=folds, tell=tell)
        found = judging.report(judged)
        policy = fit_policy(logged.rows, embedder=embedder, seed=seed)
    reason = judging.why_not_better(found)
    found["incumbent"] = None if old is None else how_compared(old, logged.rows, "over_logged")
    if reason is None and old is not None:
        reason = judging.why_keep(old, judged)
    about = {name: found[name] for name in ("rows", "logged", "settings", "at_logged_cost")}
    about |= {"from": "store", "over_logged": found["at_logged_cost"]["over_logged"]["value"]}
    return _Trained(policy, found, about, reason, show_stored)


def _incumbent(named: Path | None, out: Path) -> Policy | None:
    path = named or out
    try:
        found = read_policy(path)
    except ConfigError as error:
        if named is not None:
            exit_with(error)
        if not _was_policy(out):
            exit_with(unusable(out, "is there already, and never was a policy; name another file with --out"))
        click.echo(f"warning: {error}; it is replaced", err=True)
        return None
    if found is None and named is not None:
        exit_with(unusable(named, "no such file, so nothing to beat"))
    return found


def _warn_of_unrated(config: Config | None, path: Path | None, models: Sequence[str]) -> None:
    """Say so if a routes.yaml could not use what is trained, for it chooses among other models as well."""
    uses = () if config is None else config.learned.values()
    needed = dict.fromkeys(name for use in uses for name in use.learned)
    if unrated := [quote(name) for name in needed if name not in models]:
        told = f"its learned routes choose {choices(unrated, last='and')} too, of which no score is given"
        click.echo(f"warning: {path}: {told}; it will refuse this policy", err=True)


def _comparable(
    old: Policy | None, named: Path | None, out: Path, embedder: str, models: Sequence[str]
) -> Policy | None:
    """The incumbent, if it is one for these models and vectors; one that was named must be."""
    if old is None:
        return None
    try:
        check_fits(old, embedder=embedder, models=models)
        if beyond := [name for name in old.models if name not in models]:
            raise PolicyUnusable(
                f"it knows {', '.join(map(repr, beyond))} too, and rated are {', '.join(map(repr, models))}"
            )
    except PolicyUnusable as error:
        if named is not None:
            exit_with(unusable(named, str(error)))
        click.echo(f"warning: {out}: {error}; what is trained is not compared with it", err=True)
        return None
    return old


def _was_policy(path: Path) -> bool:
    """Whether a file that cannot be used may at least be replaced: a damaged policy, or one of another format."""
    try:
        with path.open("rb") as file:
            return file.read(2) == b"PK"
    except OSError:
        return False


def _write(path: Path, policy: Policy) -> str:
    """Returns the version."""
    content = pack(policy)
    write_whole(path, content)
    return unpack(content).version
