"""
`python -m bench.reload`: what do requests notice of reloads of routes.yaml, and is any decided by half a config?

The same load twice, without reloads and with twenty of them. Every fourth file is bad, each in another way. Every
answer is taken apart: route, model and target in its headers and, as the upstream saw them, the URL, the key, the
model's name and the edits of route and model. All must be from one file, a good one, that was in use at some time
between the request and its answer. And as many reloads must have ended well, and badly, as such files were written.
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
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from bench.client import Asker, Reply, Target, percentile
from bench.echo import what_reached
from bench.numbered import bad_result, numbered
from bench.pointsman import SAME_TEXT
from bench.processes import Cores, NotReady, free_port, memory, open_files, running, wait_until
from bench.upstream import ID_DIGITS
from bench.verify import answers

__all__ = ["BY_RULE", "BY_TEXT", "InUse", "Kind", "Load", "Mixed", "file_of", "main", "results", "under_load"]

_RELOADS = re.compile(r'pointsman_config_reloads_total\{result="(\w+)"\} (\d+)')
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Kind:
    """One way to ask, and what the names begin with that it must lead to."""

    asked: str
    route: str
    model: str
    name: str
    stream: bool = False


BY_RULE = Kind("fast", "fast", "small", "mini")
BY_TEXT = Kind("auto", "code", "large", "maxi")
KINDS = (BY_RULE, BY_TEXT, BY_RULE, Kind("auto", "code", "large", "maxi", stream=True))
"""In turn over the connections; a stream lasts a third of a second."""


class Mixed(Exception):
    """An answer that is not from one file, or not this request's; says what was from where."""


def file_of(reply: Reply, kind: Kind, mark: str) -> int:
    """
    The number of the file that an answer is from in every respect.

    Raises:
        Mixed: in one respect it is from another.
        ValueError: it is not whole.
    """
    head, sent = what_reached(reply.body, stream=kind.stream)
    told = {name: reply.headers.get(f"x-pointsman-{name}", "") for name in ("route", "model", "target")}
    parts = {
        "route": (f"{kind.route}-(.*)", told["route"]),
        "model": (f"{kind.model}-(.*)", told["model"]),
        "target's upstream": (f"up-(.*)/{kind.name}-.*", told["target"]),
        "target's name": (f"up-.*/{kind.name}-(.*)", told["target"]),
        "URL": (r"POST /file-(.*)/v1/chat/completions HTTP/1\.1", head.split("\r\n", 1)[0]),
        "key": (r"(?is).*\r\nauthorization: bearer sk-(\w*)\r\n.*", head),
        "name sent": (f"{kind.name}-(.*)", str(sent.get("model"))),
        "route's edit": ("(.*)", str(sent.get("seed"))),
        "model's edit": (r"\{'file': (.*)\}", str(sent.get("metadata"))),
    }
    numbers = {part: match[1] if (match := re.fullmatch(*each)) else "none" for part, each in parts.items()}
    if sent.get("user") != f"echo-{mark}":
        raise Mixed(f"another request's answer: {sent.get('user')}")
    if len(set(numbers.values())) > 1 or not numbers["URL"].isdecimal():
        raise Mixed(", ".join(f"{part} {number}" for part, number in numbers.items()))
    return int(numbers["URL"])


@dataclass
class InUse:
    """Which files an answer may be from."""

    least: int = 0
    """The last good file whose reload is known to have ended: whoever asks now gets no older one."""
    most: int = 0
    """The last good file that was written."""


@dataclass
class Load:
    """What the requests of one kind of phase saw."""

    counts: Counter[str] = field(default_factory=Counter)
    files: Counter[int] = field(default_factory=Counter)
    """Right answers by the file they are from."""
    times_s: list[float] = field(default_factory=list)
    """Of whole answers; streams, which are paced, left out."""
    seconds: float = 0.0
    reload_s: list[float] = field(default_factory=list)
    """From the write of a file until its result shows, up to the second included in which the file is looked at."""


def judge(reply: Reply, kind: Kind, mark: str, least: int, most: int) -> tuple[str, int | None]:
    """A word for an answer, `right` or what is wrong with it; and the file of a right one."""
    if reply.status != 200:
        return f"status {reply.status}", None
    try:
        number = file_of(reply, kind, mark)
    except ValueError as error:
        return f"not whole: {error}", None
    except Mixed as mixed:
        return f"mixed: {mixed}", None
    if bad_result(number) or not least <= number <= most:
        return f"from file {number}, where {least} to {most} were in use", None
    return "right", number


async def under_load(port: int, connections: int, load: Load, in_use: InUse, stop: asyncio.Event) -> None:
    """Ask on all connections until told to stop."""
    asked = 0

    async def one_connection(kind: Kind) -> None:
        nonlocal asked
        target = Target(port, kind.asked)
        asker = await Asker.connect(port)
        try:
            while not stop.is_set():
                asked += 1
                mark, least = f"{asked:0{ID_DIGITS}}", in_use.least
                try:
                    reply = await asker.ask(target.request(SAME_TEXT, stream=kind.stream, user=f"echo-{mark}"))
                except OSError:
                    load.counts["lost"] += 1
                    asker.close()
                    asker = await Asker.connect(port)
                    continue
                word, number = judge(reply, kind, mark, least, in_use.most)
                load.counts[word] += 1
                if number is not None:
                    load.files[number] += 1
                if not kind.stream:
                    load.times_s.append(reply.total_s)
        finally:
            asker.close()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for i in range(connections):
            group.create_task(one_connection(KINDS[i % len(KINDS)]))
    load.seconds += time.perf_counter() - began


async def results(asker: Asker, port: int) -> Counter[str]:
    """How many reloads have ended, by how."""
    reply = await asker.ask(f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return Counter({result: int(count) for result, count in _RELOADS.findall(reply.body.decode())})


async def rewrite(port: int, path: Path, files: Iterable[tuple[int, str]], load: Load, in_use: InUse) -> None:
    """Put one file after the other in place, each once the one before it has been tried."""
    watcher = await Asker.connect(port)
    try:
        for number, text in files:
            before, written = await results(watcher, port), time.perf_counter()
            if not bad_result(number):
                in_use.most = number
            fresh = path.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(path)
            # By the watch alone: a signal beside it might try a file twice, and the counts would not tell.
            async with asyncio.timeout(PATIENCE_S):
                while await results(watcher, port) == before:
                    await asyncio.sleep(0.02)
            if not bad_result(number):
                in_use.least = number
            load.reload_s.append(time.perf_counter() - written)
    finally:
        watcher.close()


async def phase(
    port: int, connections: int, seconds: float, load: Load, path: Path, files: list[tuple[int, str]], in_use: InUse
) -> None:
    """Load for so long, or until all the files have been tried."""
    stop, began = asyncio.Event(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(under_load(port, connections, load, in_use, stop))
        await rewrite(port, path, files, load, in_use)
        await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
        stop.set()


def report(quiet: Load, changing: Load) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="answers; times in ms, without the streams")
    for heading in ("", "files", "one takes", "answers/s", "right", "not right", "p50", "p99", "p99.9", "max"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, load in (("without reloads", quiet), ("with reloads", changing)):
        right = load.counts["right"]
        times = [f"{percentile(load.times_s, percent) * 1000:,.1f}" for percent in (50, 99, 99.9, 100)]
        took = f"{percentile(load.reload_s, 50) * 1000:,.0f}" if load.reload_s else ""
        wrong = f"{sum(load.counts.values()) - right:,}"
        written = str(len(load.reload_s))
        table.add_row(name, written, took, f"{right / load.seconds:,.0f}", f"{right:,}", wrong, *times)
    return table


def complaints(loads: Iterable[Load], expected: Counter[str], ended: Counter[str]) -> list[str]:
    """What was not as it must be; nothing when all was."""
    found = [f"{count} x {word}" for load in loads for word, count in load.counts.items() if word != "right"]
    if +ended != expected:
        found.append(f"reloads ended {dict(+ended)}, and not {dict(expected)}")
    return found


@click.command(help="Reloads of routes.yaml under load: what do requests notice, and is any decided by half a config?")
@click.option("--connections", type=click.IntRange(min=4), default=32, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--seconds", type=click.FloatRange(min=1), default=25.0, show_default=True, help="Of each phase, at least."
)
@click.option("--reloads", type=click.IntRange(min=1), default=20, show_default=True, help="Each round; 1 in 4 is bad.")
@click.option("--examples", type=click.IntRange(min=0), default=0, show_default=True, help="In the file, beside 8.")
def main(connections: int, rounds: int, seconds: float, reloads: int, examples: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores = Cores.choose()
    os.sched_setaffinity(0, {cores.load})
    quiet, changing, in_use = Load(), Load(), InUse()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-reload-")))
        upstream, port, path = free_port(), free_port(), folder / "routes.yaml"
        serve = [sys.executable, "-m", "bench.echo", "--port", str(upstream)]
        upstream_pid = stack.enter_context(running(serve, cores.load, folder / "upstream.log"))
        path.write_text(numbered(0, upstream, examples=examples))
        serve = [sys.executable, "-m", "proxy", "serve", "--config", str(path), "--log-level", "warning"]
        pid = stack.enter_context(running([*serve, "--port", str(port)], cores.proxy, folder / "log"))
        try:
            wait_until(lambda: uvloop.run(answers(Target(upstream), None)), upstream_pid, folder / "upstream.log", 10)
            wait_until(lambda: uvloop.run(answers(Target(port), "/readyz")), pid, folder / "log", 60)
        except NotReady as error:
            raise click.ClickException(f"Pointsman: {error}") from error
        uvloop.run(phase(port, connections, 1.0, Load(), path, [], in_use))  # to warm up
        begun, files = memory(pid), open_files(pid)
        for turn in range(rounds):
            uvloop.run(phase(port, connections, seconds, quiet, path, [], in_use))
            numbers = range(turn * reloads + 1, (turn + 1) * reloads + 1)
            changes = [(number, numbered(number, upstream, examples=examples)) for number in numbers]
            uvloop.run(phase(port, connections, seconds, changing, path, changes, in_use))
        ended_results = uvloop.run(ask_results(port))
        ended, files_after = memory(pid), open_files(pid)
    expected = Counter(bad_result(number) or "ok" for number in range(1, rounds * reloads + 1))
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(report(quiet, changing))
    console.print(
        f"reloads ended {dict(+ended_results)}; answers were from {len(changing.files)} files\n"
        f"memory {begun.rss:.1f} MB before, {ended.rss:.1f} after; open files {files} before, {files_after} after",
        highlight=False,
    )
    if found := complaints((quiet, changing), expected, ended_results):
        raise click.ClickException("\n".join(found[:20]))


async def ask_results(port: int) -> Counter[str]:
    asker = await Asker.connect(port)
    try:
        return await results(asker, port)
    finally:
        asker.close()


if __name__ == "__main__":
    main()
