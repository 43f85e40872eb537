"""
`python -m bench.reload`: what do reloads of routes.yaml cost the requests that run meanwhile?

The same load twice, without reloads and with one after the other, in turn and several times: the file changes
by a new example each time, so that every reload reads, embeds, fits, tests and swaps. Some files are bad. Every
answer is checked to be the upstream's own and to come from one whole config.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import click
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from bench.client import Asker, Target, percentile
from bench.pointsman import SAME_TEXT, routes
from bench.processes import Cores, NotReady, free_port, memory, open_files, running, wait_until
from bench.prompts import texts
from bench.upstream import ID_DIGITS, answer_body
from bench.verify import answers

__all__ = ["Load", "file_number", "main", "under_load"]

BAD_EVERY = 4
"""One file of so many is no YAML."""
_RELOADS = re.compile(rb'pointsman_config_reloads_total\{result="(\w+)"\} (\d+)')


@dataclass
class Load:
    """What the requests of one kind of phase saw."""

    counts: Counter[str] = field(default_factory=Counter)
    times_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    reloads: int = 0
    reload_s: list[float] = field(default_factory=list)
    """From the write of a file until its result shows, the watch's own second included unless SIGHUP is sent."""


def file_number(upstream: int, number: int, examples: int) -> str:
    """A file with a route and an example that no other number has, and so many more examples; or one that is bad."""
    if number % BAD_EVERY == BAD_EVERY - 1:
        return "version: 1\nupstreams: {model: ["
    text = routes(upstream).replace("name: fast", f"name: fast-{number}")
    fresh = [f"hi there, for time number {number}", *islice(texts(0), examples)]
    return text.replace("      - hi there", "\n".join(f"      - {example}" for example in [*fresh, "hi there"]))


async def under_load(port: int, connections: int, load: Load, stop: asyncio.Event) -> None:
    """Ask on all connections until told to stop: half by a rule, half by a text that the cache knows."""
    number = 0

    async def one_connection(target: Target) -> None:
        nonlocal number
        asker = await Asker.connect(port)
        try:
            while not stop.is_set():
                number += 1
                mark = f"{number:0{ID_DIGITS}}"
                try:
                    reply = await asker.ask(target.request(SAME_TEXT, stream=False, user=f"echo-{mark}"))
                except OSError:
                    load.counts["lost"] += 1
                    asker.close()
                    asker = await Asker.connect(port)
                    continue
                right = reply.status == 200 and reply.body == answer_body(mark.encode())
                load.counts["right" if right else f"wrong, {reply.status}"] += 1
                load.times_s.append(reply.total_s)
        finally:
            asker.close()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for i in range(connections):
            group.create_task(one_connection(Target(port, "auto" if i % 2 else "fast")))
    load.seconds += time.perf_counter() - began


async def tried(asker: Asker, port: int) -> int:
    """How many reloads have ended, in whatever way."""
    reply = await asker.ask(f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return sum(int(count) for _, count in _RELOADS.findall(reply.body))


async def phase(
    port: int, connections: int, seconds: float, load: Load, files: list[str], path: Path, pid: int
) -> None:
    """Load for so long; the files put in place meanwhile, evenly, each told by SIGHUP and waited for."""
    stop = asyncio.Event()
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(under_load(port, connections, load, stop))
        watcher = await Asker.connect(port)
        for place, text in enumerate(files):
            await asyncio.sleep(max(0.0, began + seconds * (place + 0.5) / len(files) - time.monotonic()))
            before, written = await tried(watcher, port), time.perf_counter()
            fresh = path.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(path)
            os.kill(pid, signal.SIGHUP)
            while await tried(watcher, port) == before:
                await asyncio.sleep(0.02)
            load.reload_s.append(time.perf_counter() - written)
            load.reloads += 1
        await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
        watcher.close()
        stop.set()


def report(quiet: Load, changing: Load) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="answers; times in ms")
    for heading in ("", "reloads", "one takes", "requests/s", "right", "not right", "p50", "p99", "p99.9", "max"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, load in (("without reloads", quiet), ("with reloads", changing)):
        bad = ", ".join(f"{count} {word}" for word, count in load.counts.items() if word != "right")
        times = [f"{percentile(load.times_s, percent) * 1000:,.1f}" for percent in (50, 99, 99.9, 100)]
        took = f"{percentile(load.reload_s, 50) * 1000:,.0f}" if load.reload_s else ""
        right = load.counts["right"]
        table.add_row(name, str(load.reloads), took, f"{right / load.seconds:,.0f}", f"{right:,}", bad or "0", *times)
    return table


@click.command(help="Reloads of routes.yaml under load: what do the requests notice?")
@click.option("--connections", type=click.IntRange(min=2), default=32, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=1), default=5.0, show_default=True, help="Of each phase.")
@click.option("--reloads", type=click.IntRange(min=1), default=10, show_default=True, help="In each phase with them.")
@click.option("--examples", type=click.IntRange(min=0), default=0, show_default=True, help="In the file, beside 12.")
def main(connections: int, rounds: int, seconds: float, reloads: int, examples: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores = Cores.choose()
    os.sched_setaffinity(0, {cores.load})
    quiet, changing = Load(), Load()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-reload-")))
        upstream, port, path = free_port(), free_port(), folder / "routes.yaml"
        serve = [sys.executable, "-m", "bench.upstream", "--port", str(upstream)]
        upstream_pid = stack.enter_context(running(serve, cores.load, folder / "upstream.log"))
        path.write_text(file_number(upstream, 0, examples))
        serve = [sys.executable, "-m", "proxy", "serve", "--config", str(path), "--log-level", "error"]
        pid = stack.enter_context(running([*serve, "--port", str(port)], cores.proxy, folder / "log"))
        try:
            wait_until(lambda: uvloop.run(answers(Target(upstream), None)), upstream_pid, folder / "upstream.log", 10)
            wait_until(lambda: uvloop.run(answers(Target(port), "/readyz")), pid, folder / "log", 20)
        except NotReady as error:
            raise click.ClickException(f"Pointsman: {error}") from error
        uvloop.run(phase(port, connections, 1.0, Load(), [], path, pid))  # to warm up
        begun, files = memory(pid), open_files(pid)
        for turn in range(rounds):
            uvloop.run(phase(port, connections, seconds, quiet, [], path, pid))
            numbers = range(turn * reloads + 1, (turn + 1) * reloads + 1)
            changes = [file_number(upstream, number, examples) for number in numbers]
            uvloop.run(phase(port, connections, seconds, changing, changes, path, pid))
        ended, files_after = memory(pid), open_files(pid)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(report(quiet, changing))
    console.print(
        f"memory {begun.rss:.1f} MB before, {ended.rss:.1f} after; open files {files} before, {files_after} after",
        highlight=False,
    )
    if {*quiet.counts, *changing.counts} - {"right"}:
        raise click.ClickException("not every answer was right")


if __name__ == "__main__":
    main()
