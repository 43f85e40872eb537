"""
`python -m bench.loading`: how long does a file with many examples take to load?

The real `pointsman serve` is started on such a file three times: without a cache of vectors, with an empty one, and
with the one that this has filled. Then ten examples change while it runs, and one client asks on. Where the time goes
is read from the process's own log.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from bench.client import Asker, Target, percentile
from bench.many_topics import routes_yaml
from bench.processes import NotReady, free_port, memory, running, wait_until
from bench.prompts import texts
from bench.verify import answers
from proxy.config import load_config

__all__ = ["Asked", "Loaded", "main", "said"]

CHANGED = 10
QUIET_S = 3.0
PAUSE_S = 0.02
"""Between two questions of the one client: it is to notice the reload, not to compete with it."""


@dataclass(frozen=True)
class Loaded:
    """One start, or one reload. Times in seconds."""

    name: str
    from_cache: int
    embedded: int
    embed_s: float | None
    """None for a reload, which tells only the whole."""
    fit_s: float | None
    ready_s: float
    """Of a start from the exec to the first answer; of a reload from the signal to the swap."""
    memory_mb: float


@dataclass(frozen=True)
class Asked:
    """What one client saw of `/v1/route` with new texts, in seconds."""

    when: str
    count: int
    p50_s: float
    p99_s: float
    longest_s: float
    by_text: float
    """The share that was decided by its text, and not in the embedder's absence."""


def said(log: Path, event: str) -> dict[str, Any]:
    """
    The last line of that event.

    Raises:
        NotReady: there is none.
    """
    for line in reversed(log.read_text(errors="replace").splitlines()):
        if line.startswith("{") and (found := json.loads(line))["event"] == event:
            return dict(found)
    raise NotReady(f"no {event!r} in its log")


@contextmanager
def started(config: Path, cache: Path | None, log: Path, timeout_s: float) -> Iterator[tuple[int, int, float]]:
    """The process id, the port and the seconds until it answered."""
    port = free_port()
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config), "--port", str(port), "--log", "json"]
    # Nothing is pinned: all cores are the process's own, as they are when a server starts.
    with running([*command, "--cache-dir", str(cache or "")], None, log) as pid:
        ready_s = wait_until(lambda: uvloop.run(answers(Target(port), "/readyz")), pid, log, timeout_s)
        yield pid, port, ready_s


def loaded(name: str, log: Path, ready_s: float, pid: int) -> Loaded:
    embedding, fitting = said(log, "examples embedded"), said(log, "topics fitted")
    return Loaded(
        name, embedding["from_cache"], embedding["embedded"], embedding["seconds"], fitting["seconds"], ready_s,
        memory(pid).rss,
    )  # fmt: skip


async def ask(port: int, when: str, stop: asyncio.Event) -> Asked:
    """One question after the other, until told to stop."""
    taken: list[float] = []
    by_text = 0
    asker = await Asker.connect(port)
    target, fresh = Target(port, "auto", path="/v1/route"), texts(len(when))
    while not stop.is_set():
        reply = await asker.ask(target.request(next(fresh), stream=False))
        taken.append(reply.total_s)
        by_text += json.loads(reply.body)["reason"] != "overload"
        await asyncio.sleep(PAUSE_S)
    asker.close()
    p50, p99, longest = (percentile(taken, of) for of in (50, 99, 100))
    return Asked(when, len(taken), p50, p99, longest, by_text / len(taken))


async def reload(
    pid: int, port: int, config: Path, text: str, log: Path, timeout_s: float
) -> tuple[float, list[Asked]]:
    """Put the file in place and wait until it is in use; what a client saw before and meanwhile."""
    stop = asyncio.Event()
    asking = asyncio.create_task(ask(port, "before", stop))
    await asyncio.sleep(QUIET_S)
    stop.set()
    seen = [await asking]
    stop.clear()
    asking = asyncio.create_task(ask(port, "during the reload", stop))
    began = time.perf_counter()
    fresh = config.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(config)
    os.kill(pid, signal.SIGHUP)
    async with asyncio.timeout(timeout_s):
        while not ended(log):  # rather than asking the server, which would be one more client
            await asyncio.sleep(0.05)
    taken = time.perf_counter() - began
    stop.set()
    return taken, [*seen, await asking]


def ended(log: Path) -> bool:
    """
    Whether a reload has come to its end.

    Raises:
        NotReady: it failed.
    """
    told = log.read_text(errors="replace")
    if '"event":"config reload failed"' in told:
        raise NotReady("the reload failed")
    return '"event":"config reloaded"' in told


def measure(topics: int, examples: int, threads: int, timeout_s: float) -> tuple[float, list[Loaded], list[Asked]]:
    """
    The seconds to parse the file, the starts and the reload, and what the client saw.

    Raises:
        NotReady: a start or the reload failed.
    """
    rows: list[Loaded] = []
    with tempfile.TemporaryDirectory(prefix="bench-loading-") as name:
        folder = Path(name)
        config, cache, log = folder / "routes.yaml", folder / "cache", folder / "log"
        config.write_text(routes_yaml(topics, examples, threads=threads))
        began = time.perf_counter()
        load_config(config, {})
        parse_s = time.perf_counter() - began
        for title, kept in (("no cache", None), ("cold cache", cache)):
            with started(config, kept, log, timeout_s) as (pid, _, ready_s):
                rows.append(loaded(title, log, ready_s, pid))
        with started(config, cache, log, timeout_s) as (pid, port, ready_s):
            rows.append(loaded("warm cache", log, ready_s, pid))
            changed = routes_yaml(topics, examples, threads=threads, changed=CHANGED)
            taken, asked = uvloop.run(reload(pid, port, config, changed, log, timeout_s))
            told = said(log, "config reloaded")
            title = f"reload, {told['embedded']} examples changed"
            row = Loaded(title, told["from_cache"], told["embedded"], None, None, taken, memory(pid).rss)
            rows.append(row)
    return parse_s, rows, asked


def table(rows: Sequence[Loaded]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, title="loading; times in seconds")
    for heading in ("", "from the cache", "embedded", "embedding", "fitting", "ready", "MB"):
        shown.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        times = ["" if value is None else f"{value:,.1f}" for value in (row.embed_s, row.fit_s, row.ready_s)]
        shown.add_row(row.name, f"{row.from_cache:,}", f"{row.embedded:,}", *times, f"{row.memory_mb:,.0f}")
    return shown


def asked_table(asked: Sequence[Asked]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, title="one client; times in ms")
    for heading in ("", "answers", "p50", "p99", "longest", "by their text"):
        shown.add_column(heading, justify="right" if heading else "left")
    for row in asked:
        times = [f"{value * 1000:,.1f}" for value in (row.p50_s, row.p99_s, row.longest_s)]
        shown.add_row(row.when, f"{row.count:,}", *times, f"{row.by_text:.0%}")
    return shown


@click.command(help="How long a file with many examples takes to load, with and without the cache of vectors.")
@click.option("--topics", type=click.IntRange(2, 1000), default=1000, show_default=True)
@click.option("--examples", type=click.IntRange(1, 200), default=20, show_default=True, help="Of each topic.")
@click.option("--threads", type=click.IntRange(1, 64), default=2, show_default=True, help="embedding.threads.")
@click.option("--timeout", "timeout_s", type=float, default=900.0, show_default=True, help="Seconds for one start.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def main(topics: int, examples: int, threads: int, timeout_s: float, as_json: bool) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        parse_s, rows, asked = measure(topics, examples, threads, timeout_s)
    except NotReady as error:
        raise click.ClickException(f"Pointsman: {error}") from error
    if as_json:
        told = {"parse_s": parse_s, "loaded": [asdict(row) for row in rows], "asked": [asdict(row) for row in asked]}
        click.echo(json.dumps(told, indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"{topics:,} topics of {examples} examples; the file is parsed in {parse_s:.1f} s", highlight=False)
    console.print(table(rows))
    console.print(asked_table(asked))


if __name__ == "__main__":
    main()
