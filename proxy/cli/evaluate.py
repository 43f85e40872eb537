"""`pointsman evaluate`: what a policy does on rated requests."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from proxy.cli.learning_data import Labelled, show
from proxy.cli.options import EXIT_BAD_CONFIG, cache_dir_option, exit_with, load_or_exit
from proxy.config import ConfigError
from proxy.learning.held_out import decide_all
from proxy.learning.plot import plot
from proxy.learning.preparing import OUTPUT_TOKENS
from proxy.learning.report import report
from proxy.learning.rewording import flip_rates
from proxy.reload.policies import read_policy, unusable
from proxy.routing.policy_file import PolicyUnusable, check_fits


@click.command()
@click.argument("policy_path", metavar="POLICY", type=click.Path(path_type=Path))
@click.argument("labelled", type=click.Path(path_type=Path))
@click.option("--limit", type=click.IntRange(min=1), default=50_000, show_default=True, help="Rows to look at.")
@click.option("--output-tokens", type=click.IntRange(min=1), default=OUTPUT_TOKENS, show_default=True,
              help="Expected of an answer, where its cost is made of prices.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--plot", "plot_path", type=click.Path(path_type=Path), help="A picture of quality and cost, as SVG.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
@cache_dir_option
def evaluate(
    policy_path: Path,
    labelled: Path,
    limit: int,
    output_tokens: int,
    seed: int,
    plot_path: Path | None,
    as_json: bool,
    cache_dir: Path | None,
) -> None:
    """
    Measure POLICY, a file of `train` or a routes.yaml that names one, on the rated requests in LABELLED.

    Requests that it was trained on are left out: they would flatter it. Exit code 2: one of the files has errors.
    """
    config = None
    if policy_path.suffix in (".yaml", ".yml"):
        config = load_or_exit(policy_path)
        if config.policy is None:
            raise click.ClickException(f"{policy_path} names no 'policy'.")
        policy_path = config.policy.path
    try:
        policy = read_policy(policy_path)
        if policy is None:
            raise unusable(policy_path, "no such file")
    except ConfigError as error:
        exit_with(error)
    data = Labelled(
        labelled, config, models=policy.models, limit=limit, seed=seed, cache_dir=cache_dir, output_tokens=output_tokens
    )
    try:
        check_fits(policy, embedder=data.embedder)
    except PolicyUnusable as error:
        exit_with(unusable(policy_path, str(error)))
    unseen = np.flatnonzero(~np.isin(data.rows.groups, policy.seen))
    if not len(unseen):
        click.echo(f"{labelled}: {policy_path} was trained on each of these requests; bring others", err=True)
        sys.exit(EXIT_BAD_CONFIG)
    found = report(decide_all(policy, data.rows.take(unseen)), seed=seed)
    found = {"policy": str(policy_path), "version": policy.version, "left_out": len(data.rows) - len(unseen), **found}
    texts = {data.read.rows[at].text: data.read.rows[at].tokens for at in unseen.tolist() if data.read.rows[at].text}
    if texts:
        found["flips"] = flip_rates(policy, list(texts), list(texts.values()), data.embed)
    if plot_path is not None:
        plot_path.write_text(plot(found), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    if found["left_out"]:
        click.echo(f"{found['left_out']:,} requests are left out, on which the policy was trained")
    show(Console(), found)
