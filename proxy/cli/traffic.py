"""`pointsman traffic`: simulated users of the demo, whose ratings are true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from proxy.cli.options import load_or_exit, named_config_option, or_here
from proxy.cli.progress import working_bar
from proxy.cli.showing import console, table
from proxy.cli.streams import echo_json
from proxy.cli.writing import to_write, write_whole
from proxy.shipped import shipped
from proxy.simulator.offline import rate_offline
from proxy.simulator.tally import tally
from proxy.simulator.traffic import CannotRun, Plan, send_traffic


@click.command(short_help="Send simulated users' prompts to a running demo.")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="A running `pointsman serve --demo`.")
@click.option("--requests", type=click.IntRange(1, 1_000_000), default=600, show_default=True)
@click.option("--model", default="auto", show_default=True, help="The model name that the users ask for.")
@click.option("--sources", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many users.")
@click.option("--rate-share", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="Of answers, rated.")
@click.option("--concurrency", type=click.IntRange(1, 256), default=8, show_default=True, help="Requests at once.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same one asks the same things.")
@click.option("--rated", type=click.Path(path_type=Path), metavar="FILE", callback=to_write,
              help="Ask no server: write FILE for `train`.")  # fmt: skip
@named_config_option("Has the models of --rated; the routes.yaml here, or the starter file, when absent.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
def traffic(
    url: str,
    requests: int,
    model: str,
    sources: int,
    rate_share: float,
    concurrency: int,
    seed: int,
    rated: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """
    Send varied prompts through a running `pointsman serve --demo`, and rate the answers as users would.

    The simulated models are good at some topics and not at others, and each answer tells whether it is right; that is
    the rating. Quality is the chance of a right answer, the oracle takes the best model for each prompt, and regret is
    what is short of it.

    With --rated nothing is sent: FILE gets as many prompts with the scores and costs of every model, as JSON lines.

    Exit code 0. 1: there is no server, or none whose answers could be rated truly. 2: FILE cannot be written.
    """
    if rated is not None:
        _rate(rated, config_path, requests, seed, as_json=as_json)
        return
    plan = Plan(url.rstrip("/"), requests, model, sources, rate_share, seed, concurrency)
    with working_bar("asking") as tell:
        try:
            found = tally(send_traffic(plan, tell))
        except CannotRun as error:
            raise click.ClickException(str(error)) from None
    if as_json:
        echo_json(found)
    else:
        _show(console(), found)


def _rate(path: Path, config_path: Path | None, requests: int, seed: int, *, as_json: bool) -> None:
    config = load_or_exit(or_here(config_path) or shipped("routes.yaml"))
    lines = []
    with working_bar("rating") as tell:
        for number, line in enumerate(rate_offline(config, requests, seed), start=1):
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
            tell(number, requests)
    write_whole(path, "".join(lines).encode())
    if as_json:
        echo_json({"written": str(path), "requests": requests, "models": list(config.models)})
    else:
        click.echo(f"Wrote {path}: {requests:,} prompts, each rated for {', '.join(config.models)}")


def _show(terminal: Console, found: dict[str, Any]) -> None:
    told = table("", "", left=2)
    errors = ", ".join(f"{count:,} {cause}" for cause, count in found["errors"].items())
    told.add_row("requests", f"{found['requests']:,}" + (f", without an answer: {errors}" if errors else ""))
    single = found["best_single"]
    told.add_row("quality", f"{found['quality']:.4f}  (right answers: {found['right']:.4f})")
    told.add_row("oracle", f"{found['oracle']:.4f}  the best model for each prompt")
    told.add_row("best single", f"{single['quality']:.4f}  {single['model']} for every prompt")
    told.add_row("regret", f"{found['regret']:.4f}  what quality is short of the oracle's")
    if found["cost_usd"] is not None:
        told.add_row("cost", f"{found['cost_usd']:.4g} USD, as the server counted it meanwhile")
    told.add_row("ratings", f"{found['ratings']['accepted']:,} accepted, {found['ratings']['refused']:,} refused")
    terminal.print(told)
    terminal.print()
    models = table("model", "share", "quality")
    for each in found["models"]:
        quality = "-" if each["quality"] is None else f"{each['quality']:.4f}"
        models.add_row(each["model"], f"{each['share']:.1%}", quality)
    terminal.print(models)
    terminal.print()
    topics = table("topic", "requests", "quality", "oracle", "best model")
    for each in found["topics"]:
        numbers = (f"{each['requests']:,}", f"{each['quality']:.4f}", f"{each['oracle']:.4f}")
        topics.add_row(each["topic"], *numbers, each["best"])
    terminal.print(topics)
