"""`pointsman tune`: thresholds of topics, from texts whose topic is known."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from proxy.cli.labelled import read_labelled
from proxy.cli.options import cache_dir_option, config_option, exit_with, load_or_exit
from proxy.cli.prompt import PromptRouter
from proxy.cli.showing import console, table
from proxy.cli.streams import echo_json
from proxy.cli.writing import replace_file
from proxy.config import CannotEdit, Config, ConfigError, edit_thresholds, folded, parse_config, with_thresholds
from proxy.reload.prepare import Prepared, prepare
from proxy.routing.chat import prompt_body, read_chat
from proxy.routing.thresholds import Compared, Counts, Scored, Tuning, tune
from proxy.routing.topics import FITTED_THRESHOLD

_PLAIN_KEY = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n)$)[a-z_][a-z0-9_-]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Outcome:
    tuning: Tuning
    present: Mapping[str, float]
    """By topic, the thresholds in use."""
    proposed: Mapping[str, float]
    """Those that should change; none when that does not help."""
    broken: Sequence[str]
    """A line for each of the file's tests that would fail with them and does not now."""
    left_out: int
    """Labelled texts that are examples of the file."""


@click.command("tune", short_help="Propose thresholds for topics from labelled texts.")
@click.argument("labelled", type=click.Path(path_type=Path))
@config_option
@cache_dir_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
@click.option("--write", is_flag=True, help="Put the proposed thresholds into routes.yaml; all else in it stays.")
def tune_thresholds(labelled: Path, config_path: Path, cache_dir: Path | None, as_json: bool, write: bool) -> None:
    """
    Propose thresholds for topics from LABELLED, and say whether they are better.

    LABELLED has a JSON object on each line, {"text": "...", "topic": "..."}, with null for a text of no topic. A text
    comes out right when it takes its own topic, or falls through because its best topic is not its own. The shares
    are held out: each text is decided with thresholds that were fitted without it.

    Exit code 0, whether thresholds are proposed or not. 1: --write could not write them. 2: one of the files has
    errors.
    """
    config = load_or_exit(config_path)
    if not config.topics:
        raise click.ClickException(f"{config_path} has no topics, so no thresholds; add some under 'topics'.")
    try:
        texts = read_labelled(labelled, config)
    except ConfigError as error:
        exit_with(error)
    own = {folded(example) for topic in config.topics.values() for example in topic.examples}
    kept = [one for one in texts if folded(one.text) not in own]
    left_out = len(texts) - len(kept)
    if not kept:
        raise click.ClickException(
            f"{labelled}: each of its texts is an example of {config_path}, which says nothing of others; add some."
        )
    router = PromptRouter(config, cache_dir)
    prepared = router.prepared
    present = {
        name: FITTED_THRESHOLD if topic.threshold is None else topic.threshold for name, topic in config.topics.items()
    }
    tuning = tune([_scored(prepared, one.text, one.topic) for one in kept], present)
    proposed = _proposed(tuning, present)
    outcome = _Outcome(tuning, present, proposed, _broken_tests(router, proposed), left_out)
    unwritten = _write(config_path, config, outcome) if write and proposed else None
    written = write and bool(proposed) and unwritten is None
    if as_json:
        echo_json({**_as_json(outcome), "written": written})
    else:
        _tell(outcome, labelled, config_path)
        if written:
            click.echo(f"\nWrote {config_path}")
    if unwritten is not None:
        raise click.ClickException(f"{config_path} is left as it was: {unwritten}.")


def _scored(prepared: Prepared, text: str, topic: str | None) -> Scored:
    scores = prepared.signals(read_chat(prompt_body(text), {})).topics
    assert scores is not None, "the config has topics and the text is not empty"
    return Scored(folded(text), topic, scores.best, scores.score)


def _proposed(tuning: Tuning, present: Mapping[str, float]) -> dict[str, float]:
    """The thresholds that should change: none when that does not help texts they were not fitted on."""
    if not tuning.overall.improves:
        return {}
    return {name: value for name, value in tuning.thresholds.items() if value != present[name]}


def _broken_tests(router: PromptRouter, proposed: Mapping[str, float]) -> list[str]:
    """A line for each of the file's tests that would fail with these thresholds and does not now."""
    prepared = router.prepared
    if not prepared.config.tests or not proposed:
        return []
    changed = prepare(
        with_thresholds(prepared.config, proposed),
        prepared.texts.embed,
        fitter=router.fitter,
        policy=prepared.policy,
    )
    now = set(prepared.wrong_tests())
    return [line for line in changed.wrong_tests() if line not in now]


def _write(path: Path, config: Config, outcome: _Outcome) -> str | None:
    """Replace the file by one with the thresholds; else say why it stays as it was."""
    if outcome.broken:
        return "some of its tests would fail, and a server does not take such a file; see them above"
    try:
        content = path.read_bytes()
        if parse_config(content, source=str(path), environ=os.environ) != config:
            return "it was changed meanwhile; run tune again"
        edited = edit_thresholds(content, outcome.proposed, source=str(path), environ=os.environ)
        replace_file(path, edited, stat.S_IMODE(path.stat().st_mode))
    except CannotEdit as error:
        return f"{error}; paste the lines above"
    except ConfigError:
        return "it was changed meanwhile, and has errors; pointsman check tells them"
    except OSError as error:
        return f"{error.strerror}; paste the lines above"
    return None


def _tell(outcome: _Outcome, labelled: Path, config_path: Path) -> None:
    counts = outcome.tuning.overall.before
    click.echo(f"{labelled}: {counts.of_topics} texts of a topic, {counts.foreign} of none")
    if left_out := outcome.left_out:
        click.echo(f"{left_out} more left out, which are examples of {config_path}: their scores say nothing of others")
    if not counts.foreign:
        click.echo("None is of no topic (null), so nothing holds thresholds up; add what should fall through")
    _show(console(), outcome.tuning, outcome.present)
    _recommend(outcome)


def _show(terminal: Console, tuning: Tuning, present: Mapping[str, float]) -> None:
    before, after = tuning.overall.before, tuning.overall.after
    shares = table("held out", "now", "tuned")
    for what, one, other in zip(_ROWS, _shares(before).values(), _shares(after).values(), strict=True):
        shares.add_row(what, _percent(one), _percent(other))
    terminal.print()
    terminal.print(shares)
    changed = [name for name, value in tuning.thresholds.items() if value != present[name]]
    if changed:
        topics = table("topic", "texts", "right now", "right tuned", "threshold now", "threshold tuned")
        for name in changed:
            its = tuning.by_topic[name]
            counts = (its.before.texts, its.before.right, its.after.right)
            topics.add_row(name, *map(str, counts), f"{present[name]:g}", f"{tuning.thresholds[name]:g}")
        terminal.print()
        terminal.print(topics)
    if kept := len(present) - len(changed):
        click.echo(f"\n{kept} {'topic keeps its' if kept == 1 else 'topics keep their'} threshold")


def _recommend(outcome: _Outcome) -> None:
    overall = outcome.tuning.overall
    moved = f"{overall.won} held-out texts come out right that did not, {overall.lost} the other way round"
    if not outcome.proposed:
        click.echo(f"\nLeave the thresholds as they are: {moved}, which is no more than chance")
        return
    click.echo(f"\nBetter: {moved}. In routes.yaml, under topics:\n")
    for name, value in outcome.proposed.items():
        click.echo(f"  {name if _PLAIN_KEY.fullmatch(name) else json.dumps(name)}:\n    threshold: {value:g}")
    if outcome.broken:
        click.echo("\nThen these tests of the file fail:")
        for line in outcome.broken:
            click.echo(f"  {line}")


_ROWS = (
    "right outcomes",
    "texts of a topic that take it",
    "texts of a topic that take another",
    "texts of none that fall through",
)


def _shares(counts: Counts) -> dict[str, float | None]:
    return {
        "accuracy": _share(counts.right, counts.texts),
        "taken": _share(counts.taken, counts.of_topics),
        "strayed": _share(counts.strayed, counts.of_topics),
        "fallen_through": _share(counts.fallen, counts.foreign),
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _percent(share: float | None) -> str:
    return "none there" if share is None else f"{share:.1%}"


def _as_json(outcome: _Outcome) -> dict[str, Any]:
    overall = outcome.tuning.overall

    def of_topic(name: str, its: Compared) -> dict[str, Any]:
        return {
            "topic": name,
            "texts": its.before.texts,
            "threshold": {"before": outcome.present[name], "after": outcome.tuning.thresholds[name]},
            "right": {"before": its.before.right, "after": its.after.right},
        }

    return {
        "texts": overall.before.texts,
        "of_topics": overall.before.of_topics,
        "of_none": overall.before.foreign,
        "left_out": outcome.left_out,
        "held_out": {"before": _shares(overall.before), "after": _shares(overall.after)},
        "won": overall.won,
        "lost": overall.lost,
        "improves": overall.improves,
        "topics": [of_topic(name, its) for name, its in outcome.tuning.by_topic.items()],
        "proposed": dict(outcome.proposed),
        "broken_tests": list(outcome.broken),
    }
