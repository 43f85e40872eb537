"""`pointsman explain "prompt"`: where would it go, and why?"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.cli.options import cache_dir_option, config_option, load_or_exit
from proxy.cli.prompt import PromptRouter
from proxy.cli.streams import echo_json
from proxy.config import AUTO, WireProtocol
from proxy.errors import ProxyError
from proxy.routing.reading import header_map

_BAR = 24


@click.command(short_help="Show which route PROMPT takes and why.")
@click.argument("prompt")
@config_option
@cache_dir_option
@click.option("--model", default=AUTO, show_default=True, help="The model name that the client asks for.")
@click.option(
    "--protocol",
    type=click.Choice(get_args(WireProtocol)),
    help="The API that it is sent to; OpenAI's when absent, if a model speaks it.",
)
@click.option("--header", "-H", "headers", multiple=True, metavar="NAME:VALUE", help="A request header; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="What POST /v1/route answers, for scripts.")
def explain(
    prompt: str,
    config_path: Path,
    cache_dir: Path | None,
    model: str,
    protocol: WireProtocol | None,
    headers: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show which route PROMPT takes and why; '-' reads it from standard input. Nothing is sent."""
    config = load_or_exit(config_path)
    text = _text(sys.stdin.buffer.read() if prompt == "-" else os.fsencode(prompt), "PROMPT")
    model = _text(os.fsencode(model), "--model")
    try:
        explained = PromptRouter(config, cache_dir).explain(
            text, protocol, model=model, headers=_parse_headers(headers)
        )
    except ProxyError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        echo_json(explained)
    else:
        _show(Console(), explained)


def _text(given: bytes, name: str) -> str:
    try:
        return given.decode("utf-8")
    except UnicodeDecodeError:
        raise click.BadParameter("it is not UTF-8", param_hint=name) from None


def _parse_headers(lines: tuple[str, ...]) -> dict[str, str]:
    found: list[tuple[bytes, bytes]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"{line!r} is not NAME:VALUE", param_hint="--header")
        found.append((os.fsencode(name.strip().lower()), os.fsencode(value.strip())))
    return header_map(found)


def _show(console: Console, explained: dict[str, Any]) -> None:
    if explained["block"] is not None:
        goes = (f"refused with {explained['block']['status']}", "bold red")
        beside = explained["block"]["message"]
    else:
        goes = (explained["model"], "bold green")
        beside = explained["candidates"][0]["targets"][0]
    console.print(
        Text.assemble(
            (explained["route"], "bold cyan"), " → ", goes, (f"  {beside}", "dim"), ("  because: ", "dim"),
            explained["reason"],
        )
    )  # fmt: skip
    for candidate in explained["candidates"]:
        if candidate["excluded"] is not None:
            console.print(Text.assemble((f"not {candidate['model']}", "yellow"), (f"  {candidate['excluded']}", "dim")))
    console.print()
    rules = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for rule in explained["rules"]:
        mark = Text("✓", "bold green") if rule["matched"] else Text("·", "dim")
        rules.add_row(mark, Text(rule["route"], "bold" if rule["matched"] else ""), Text(rule["why"], "dim"))
    if explained["route"] == "default":
        rules.add_row(Text("✓", "bold green"), Text("default", "bold"), Text("no route above applies", "dim"))
    console.print(rules)
    if explained["topics"]:
        console.print()
        console.print(_topic_bars(explained))
    timings = "  ".join(f"{stage} {ms:.1f} ms" for stage, ms in explained["timings_ms"].items())
    reads = "" if explained["complexity"] is None else f"complexity {explained['complexity']:.2f}  "
    console.print(Text(f"\nabout {explained['tokens']:,} tokens  {reads}{timings}", "dim"))


def _topic_bars(explained: dict[str, Any]) -> Table:
    """Every topic's score as a bar; the best one's threshold as a mark on it."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    threshold = explained["topic"]["threshold"]
    for place, topic in enumerate(explained["topics"]):
        filled = round(topic["score"] * _BAR)
        is_best = place == 0
        passes = is_best and topic["score"] >= threshold
        bar = Text("█" * filled, "green" if passes else "yellow" if is_best else "dim")
        bar.append("░" * (_BAR - filled), "dim")
        verdict = f"{'reaches' if passes else 'below'} its threshold {threshold:.2f}" if is_best else ""
        table.add_row(Text(topic["name"]), bar, Text(f"{topic['score']:.2f}"), Text(verdict, "dim"))
    return table
