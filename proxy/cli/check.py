"""`pointsman check`: is this routes.yaml right, and does it route as its tests say?"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.text import Text

from proxy.cli import topic_advice
from proxy.cli.advice import advice
from proxy.cli.options import EXIT_BAD_CONFIG, cache_dir_option, config_option, load, load_or_exit
from proxy.cli.prompt import PromptRouter
from proxy.cli.showing import console, table
from proxy.cli.streams import echo_json
from proxy.config import Config, ConfigError
from proxy.reload.prepare import Outcome

_REFUSED = "(refused)"


@click.command(short_help="Validate routes.yaml, run its tests, and give advice.")
@config_option
@cache_dir_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
@click.option("--thorough", is_flag=True, help="Look for overlapping topics in a file of very many examples too.")
def check(config_path: Path, cache_dir: Path | None, as_json: bool, thorough: bool) -> None:
    """
    Validate routes.yaml, run its tests, and say what could be better.

    Exit code 0: right. 1: a test did not take its route. 2: the file has errors; with --json they are in the object.
    """
    config = _load_or_tell(config_path) if as_json else load_or_exit(config_path)
    skips = topic_advice.is_long(config) and not thorough
    # A folder for vectors is filled even where nothing is to be looked at: an image is built with one.
    has_work = bool(config.tests) or cache_dir is not None or (len(config.topics) > 1 and not skips)
    router = PromptRouter(config, cache_dir, tests=True) if has_work else None
    outcomes = [] if router is None else router.prepared.run_tests()
    failed = [outcome for outcome in outcomes if not outcome.passes]
    findings = None if skips else topic_advice.look(router.prepared if router else None)
    found = [topic_advice.too_long(config)] if findings is None else topic_advice.lines(findings, config.topics)
    advised = [*advice(config), *found]
    if as_json:
        tests = [_as_json(outcome) for outcome in outcomes]
        told = {"valid": True, "tests": tests, "failed": len(failed), "advice": advised}
        told |= topic_advice.as_json(findings, config.topics)
        echo_json(told)
    else:
        counts = f"{len(config.models)} models, {len(config.topics)} topics, {len(config.routes)} routes"
        click.echo(f"{config_path}: valid; {counts}")
        for outcome in failed:
            click.echo(f"  wrong: {outcome}")
        if failed:
            _show_confusion(outcomes)
        if outcomes:
            click.echo(f"{len(outcomes) - len(failed)} of {len(outcomes)} tests pass")
        for line in advised:
            click.echo(f"  advice: {line}")
    sys.exit(1 if failed else 0)


def _load_or_tell(path: Path) -> Config:
    """The file's config; else every error as JSON, and exit code 2."""
    try:
        return load(path)
    except ConfigError as error:
        echo_json({"valid": False, "problems": [msgspec.to_builtins(problem) for problem in error.problems]})
    sys.exit(EXIT_BAD_CONFIG)


def _show_confusion(outcomes: list[Outcome]) -> None:
    """Expected routes down, taken routes across, how many tests in each cell."""
    cells = [(outcome.test.route, outcome.route or _REFUSED) for outcome in outcomes]
    expected = list(dict.fromkeys(row for row, _ in cells))
    taken = list(dict.fromkeys([*expected, *(route for _, route in cells)]))
    counts = Counter(cells)
    shown = table("expected, got:", *taken)
    for row in expected:
        marks = [Text(str(counts[row, route] or "·"), "green" if row == route else "red") for route in taken]
        shown.add_row(row, *marks)
    console().print(shown)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    topics = outcome.topics
    return {
        "prompt": outcome.test.prompt,
        "protocol": outcome.test.protocol,
        "expected": outcome.test.route,
        "route": outcome.route,
        "refused": outcome.refusal,
        "topic": None if topics is None else topics.best,
        "score": None if topics is None else round(topics.score, 4),
    }
