"""
`python -m bench.soak`: many requests, then many streams at once, through Pointsman, each answer checked.

Every request carries a number that the upstream puts into its answer, so an answer that is lost, cut, altered
or given to another client is counted, not guessed. Memory and open files are sampled along the way.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from bench.client import Asker, Reply, Target, percentile
from bench.pointsman import SAME_TEXT, routes
from bench.processes import Cores, Memory, NotReady, free_port, memory, open_files, running, wait_until
from bench.prompts import texts
from bench.upstream import ID_DIGITS, answer_body, stream_body
from bench.verify import answers

__all__ = ["Outcome", "judge", "main"]

# Smaller than what is new in the first tenth of a run: full by the first sample, so that a cache that is meant to
# fill is not taken for a leak.
TEXTS = 500
CONVERSATIONS = 500
FLAT_MB = 10.0
"""Growth between the first tenth of the requests and the last that still counts as flat."""


@dataclass
class Outcome:
    """What became of the requests of one phase."""

    counts: Counter[str] = field(default_factory=Counter)
    first_byte_s: list[float] = field(default_factory=list)
    total_s: list[float] = field(default_factory=list)
    samples: list[tuple[int, Memory, int]] = field(default_factory=list)
    """Requests done, memory, open files."""

    @property
    def is_sound(self) -> bool:
        return set(self.counts) <= {"right"}


def judge(reply: Reply, expected: bytes) -> str:
    """One word for one answer."""
    if reply.status != 200:
        return f"status {reply.status}"
    if reply.body == expected:
        return "right"
    return "short" if expected.startswith(reply.body) else "wrong"


def mixed(port: int, count: int) -> Iterator[tuple[bytes, bytes]]:
    """
    Requests and the answers they must get: of ten, five decided by a rule, four by a known text, one by a new.
    """
    rule, topic = Target(port, "fast"), Target(port, "auto")
    fresh = texts(1)
    for i in range(count):
        number = f"{i:0{ID_DIGITS}}"
        text = next(fresh) if i % 10 == 0 else SAME_TEXT
        target = topic if i % 2 == 0 else rule
        yield target.request(text, stream=False, user=f"echo-{number}"), answer_body(number.encode())


async def many_requests(port: int, pid: int, count: int, connections: int) -> Outcome:
    """Keep the connections busy until all are asked; one that breaks is opened again, its request is lost."""
    outcome = Outcome()
    requests = mixed(port, count)
    sample_at = {1, *(count * tenth // 10 for tenth in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10))}
    done = 0

    async def one_connection() -> None:
        nonlocal done
        asker = await Asker.connect(port)
        for request, expected in requests:
            try:
                reply = await asker.ask(request)
                outcome.counts[judge(reply, expected)] += 1
                outcome.total_s.append(reply.total_s)
            except OSError:
                outcome.counts["lost"] += 1
                asker.close()
                asker = await Asker.connect(port)
            done += 1
            if done in sample_at:
                outcome.samples.append((done, memory(pid), open_files(pid)))
        asker.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(one_connection())
    return outcome


async def many_streams(port: int, pid: int, count: int) -> Outcome:
    """All at once, each on a connection of its own, each about three seconds long."""
    outcome = Outcome()

    async def one_stream(i: int) -> None:
        number = f"{i:0{ID_DIGITS}}"
        request = Target(port, "fast").request("Say hello.", stream=True, user=f"slow-{number}")
        try:
            asker = await Asker.connect(port)
            try:
                reply = await asker.ask(request)
            finally:
                asker.close()
        except OSError:
            outcome.counts["lost"] += 1
            return
        outcome.counts[judge(reply, stream_body(number.encode(), paced=True))] += 1
        outcome.first_byte_s.append(reply.first_byte_s)
        outcome.total_s.append(reply.total_s)

    async with asyncio.TaskGroup() as group:
        for i in range(1, count + 1):
            group.create_task(one_stream(i))
        await asyncio.sleep(1.5)  # all are under way
        outcome.samples.append((count, memory(pid), open_files(pid)))
    return outcome


def settled_files(pid: int, before: int) -> tuple[int, float]:
    """
    Open files once idle upstream connections have had their time, and how many seconds that took.

    A proxy keeps connections for the next request on purpose and drops them when none comes: Pointsman after
    a minute, looking every minute.
    """
    began = time.monotonic()
    while open_files(pid) > before and time.monotonic() - began < 130:
        time.sleep(0.5)
    return open_files(pid), time.monotonic() - began


def outcomes(requests: Outcome, streams: Outcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="answers; times in ms")
    for heading in ("", "right", "not right", "first byte p50", "p99", "whole p50", "p99"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, outcome in (("non-streaming", requests), ("concurrent streams", streams)):
        bad = ", ".join(f"{count} {word}" for word, count in outcome.counts.items() if word != "right")
        times = [
            f"{percentile(values, percent) * 1000:,.1f}" if values else ""
            for values in (outcome.first_byte_s, outcome.total_s)
            for percent in (50, 99)
        ]
        table.add_row(name, f"{outcome.counts['right']:,}", bad or "0", *times)
    return table


def resources(requests: Outcome, streams: Outcome, before: int, after: int, settled_s: float) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="the proxy's process")
    for heading in ("", "RSS MB", "PSS MB", "open files"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("before", "", "", str(before))
    for done, taken, files in requests.samples:
        table.add_row(f"after {done:,} requests", f"{taken.rss:.1f}", f"{taken.pss:.1f}", str(files))
    for done, taken, files in streams.samples:
        table.add_row(f"in {done:,} streams", f"{taken.rss:.1f}", f"{taken.pss:.1f}", str(files))
    table.add_row(f"{settled_s:.0f} s after the last answer", "", "", str(after))
    return table


@click.command(help="Pointsman under load for long: every answer checked, memory and open files watched.")
@click.option("--requests", "count", type=click.IntRange(min=10), default=100_000, show_default=True)
@click.option("--connections", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--streams", type=click.IntRange(min=1), default=500, show_default=True)
def main(count: int, connections: int, streams: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # 500 streams are 1,000 connections in the proxy; a common soft limit is 1,024 files.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard > 0 else 65_536, hard))
    cores = Cores.choose()
    os.sched_setaffinity(0, {cores.load})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-soak-")))
        upstream, port = free_port(), free_port()
        serve = [sys.executable, "-m", "bench.upstream", "--port", str(upstream)]
        upstream_pid = stack.enter_context(running(serve, cores.load, folder / "upstream.log"))
        (folder / "routes.yaml").write_text(routes(upstream, texts=TEXTS, conversations=CONVERSATIONS))
        program = Path(sys.executable).parent / "pointsman"
        serve = [str(program), "serve", "--config", str(folder / "routes.yaml"), "--log-level", "warning"]
        pid = stack.enter_context(running([*serve, "--port", str(port)], cores.proxy, folder / "log"))
        try:
            wait_until(lambda: uvloop.run(answers(Target(upstream), None)), upstream_pid, folder / "upstream.log", 10)
            wait_until(lambda: uvloop.run(answers(Target(port), "/readyz")), pid, folder / "log", 20)
        except NotReady as error:
            raise click.ClickException(f"Pointsman: {error}") from error
        before = open_files(pid)
        asked = uvloop.run(many_requests(port, pid, count, connections))
        streamed = uvloop.run(many_streams(port, pid, streams))
        after, settled_s = settled_files(pid, before)
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(outcomes(asked, streamed), resources(asked, streamed, before, after, settled_s), sep="\n")
    first, last = asked.samples[1][1].rss, asked.samples[-1][1].rss
    verdict = "flat" if last - first <= FLAT_MB else "NOT FLAT"
    console.print(f"memory between the first tenth and the last: {last - first:+.1f} MB, {verdict}", highlight=False)
    if not (asked.is_sound and streamed.is_sound):
        raise click.ClickException("not every answer was right")


if __name__ == "__main__":
    main()
