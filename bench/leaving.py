"""
`python -m bench.leaving`: clients that leave at random moments, and how soon the upstream sees its own
connection closed.

Clients and upstream live in this process, so that both moments are of one clock; the proxy runs on the other
core. The upstream never finishes an answer, so a connection that is closed was closed because of the client.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import click
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from bench.client import Asker, Target, percentile
from bench.pointsman import routes
from bench.processes import Cores, NotReady, free_port, open_files, running, wait_until
from bench.prompts import texts
from bench.upstream import ID_DIGITS, JSON_REPLY, Answering, wants_stream
from bench.verify import answers

__all__ = ["Leavings", "Watched", "leave_all", "main", "report"]

BUDGET_S = 0.1
PATIENCE_S = 5.0
"""How long a connection may outlive its client before it counts as never closed."""
LONGEST_STAY_S = 0.3
AT_ONCE = 32
"""Clients at the same time."""
PHASES = (
    "before the request is sent on",
    "stream, before the upstream's headers",
    "stream, between events",
    "whole answer, before the upstream's headers",
    "whole answer, half of it there",
)


@dataclass
class Leavings:
    """What became of the clients; times in seconds from a client's close to that of the upstream's connection."""

    arrived: set[str] = field(default_factory=set)
    """Requests that the upstream has got, by number."""
    closed_at: dict[str, float] = field(default_factory=dict)
    left: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Phase and moment, by number."""
    odd: Counter[str] = field(default_factory=Counter)
    """Clients that did not leave as planned."""

    def times_s(self, phase: str) -> list[float]:
        return [
            self.closed_at[number] - at
            for number, (where, at) in self.left.items()
            if where == phase and number in self.closed_at
        ]

    def unsent(self, phase: str) -> int:
        """Clients whose request never reached the upstream: there was nothing to close."""
        return sum(where == phase and number not in self.arrived for number, (where, _) in self.left.items())

    def open(self, phase: str) -> int:
        """Upstream connections that outlived their client for good."""
        return sum(
            where == phase and number in self.arrived and number not in self.closed_at
            for number, (where, _) in self.left.items()
        )

    @property
    def pending(self) -> bool:
        return any(number in self.arrived and number not in self.closed_at for number in self.left)


class Watched(Answering):
    """An upstream that notes which request came when, and when its connection was closed."""

    def __init__(self, leavings: Leavings) -> None:
        super().__init__()
        self.leavings = leavings
        self.number: str | None = None

    def reply(self, request: bytes, start: int) -> None:
        at = request.find(b'"user":"', start)
        kind = request[at + 8 : at + 13]
        if kind == b"bench":
            super().reply(request, start)
            return
        self.number = request[at + 13 : at + 13 + ID_DIGITS].decode()
        self.leavings.arrived.add(self.number)
        if kind == b"slow-" and wants_stream(request, start):
            super().reply(request, start)
        elif kind == b"half-":
            self.transport.write(JSON_REPLY[: len(JSON_REPLY) // 2])
        # `hold-`: says nothing at all.

    def connection_lost(self, _: Exception | None) -> None:
        if self.number is not None:
            self.leavings.closed_at[self.number] = time.perf_counter()


class Leaver(asyncio.Protocol):
    """A client that says when it reads its first byte, and that it was closed by the other side."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[bytes] = loop.create_future()
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self.first.done():
            self.first.set_result(data)

    def connection_lost(self, _: Exception | None) -> None:
        self.is_lost = True


async def leave_all(port: int, count: int, leavings: Leavings, seed: int = 1) -> None:
    """That many clients, half of them asking for a stream; each leaves at a moment of its own."""
    choose, fresh = random.Random(seed), texts(seed)
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(i: int) -> None:
        stream = i % 2 == 0
        kind = ("slow", "hold")[i // 2 % 2] if stream else ("half", "hold")[i // 2 % 2]
        # One in eight leaves within milliseconds, before or while its request is decided and sent on.
        stay_s = choose.uniform(0, 0.006 if i // 4 % 8 == 0 else LONGEST_STAY_S)
        number = f"{i + 1:0{ID_DIGITS}}"
        # Half are decided by a rule, half by their text: then the client may leave amid its embedding.
        target = Target(port, "auto" if i // 32 % 2 else "fast")
        request = target.request(next(fresh), stream=stream, user=f"{kind}-{number}")
        async with turns:
            await leave(port, request, number, (kind, stream), stay_s, leavings)

    async with asyncio.TaskGroup() as group:
        for i in range(count):
            group.create_task(one(i))
    ends = time.monotonic() + PATIENCE_S
    while leavings.pending and time.monotonic() < ends:
        await asyncio.sleep(0.05)


async def leave(
    port: int, request: bytes, number: str, kind: tuple[str, bool], stay_s: float, leavings: Leavings
) -> None:
    """Ask, stay, leave; one that leaves between events stays on from its first byte."""
    _, client = await asyncio.get_running_loop().create_connection(Leaver, "127.0.0.1", port)
    client.transport.write(request)
    if kind == ("slow", True) and stay_s > 0.006:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await client.first
        except TimeoutError:
            leavings.odd["no first byte"] += 1
    await asyncio.sleep(stay_s)
    if client.is_lost:
        leavings.odd["closed by the proxy"] += 1
        return
    leavings.left[number] = (phase_of(number, kind, client.first.done(), leavings), time.perf_counter())
    client.transport.abort()


def phase_of(number: str, kind: tuple[str, bool], has_bytes: bool, leavings: Leavings) -> str:
    """Where the request is at this very moment, by what upstream and client have seen of it."""
    if number not in leavings.arrived:
        return PHASES[0]
    name, stream = kind
    if stream:
        return PHASES[2] if has_bytes else PHASES[1]
    return PHASES[4] if name == "half" else PHASES[3]


@dataclass(frozen=True)
class Proxy:
    """What the proxy's process says of itself."""

    files: int
    in_flight: int
    disconnects: dict[str, int]


async def look(port: int, pid: int) -> Proxy:
    asker = await Asker.connect(port)
    try:
        reply = await asker.ask(f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    finally:
        asker.close()
    text = reply.body.decode()
    in_flight = re.search(r"^pointsman_in_flight (\S+)$", text, re.MULTILINE)
    left = re.findall(r'^pointsman_client_disconnects_total\{phase="(\w+)"\} (\S+)$', text, re.MULTILINE)
    await asyncio.sleep(0.05)  # until this very connection is closed there too
    counts = {phase: int(float(value)) for phase, value in left}
    return Proxy(open_files(pid), int(float(in_flight.group(1))) if in_flight else -1, counts)


async def measure(port: int, upstream: int, pid: int, count: int, leavings: Leavings) -> tuple[Proxy, Proxy]:
    server = await asyncio.get_running_loop().create_server(
        lambda: Watched(leavings), "127.0.0.1", upstream, backlog=1024
    )
    async with server:
        # Asked once by each way, so that what a first request opens for good is not taken for a leak.
        for model in ("fast", "auto"):
            if not await answers(Target(port, model), None):
                raise NotReady("Pointsman does not forward")
        before = await look(port, pid)
        await leave_all(port, count, leavings)
        after = await look(port, pid)
        ends = time.monotonic() + PATIENCE_S
        while (after.files > before.files or after.in_flight) and time.monotonic() < ends:
            await asyncio.sleep(0.2)
            after = await look(port, pid)
    return before, after


def report(leavings: Leavings, phases: Sequence[str] = PHASES) -> tuple[Table, bool]:
    """The table, and whether every phase keeps the budget."""
    table = Table(box=box.SIMPLE_HEAD, title="from the client's close to the upstream's connection closed; ms")
    for heading in ("the client leaves", "clients", "never sent", "p50", "p99", "max", "never closed", "verdict"):
        table.add_column(heading, justify="left" if heading in ("the client leaves", "verdict") else "right")
    all_met = True
    for phase in phases:
        times_s, clients = leavings.times_s(phase), sum(where == phase for where, _ in leavings.left.values())
        if not clients:
            continue
        figures = [percentile(times_s, percent) * 1000 for percent in (50, 99, 100)] if times_s else []
        shown = [f"{figure:.2f}" for figure in figures] or ["", "", ""]
        met = not leavings.open(phase) and (not figures or figures[1] <= BUDGET_S * 1000)
        all_met &= met
        unsent, still_open = leavings.unsent(phase), leavings.open(phase)
        word = "[green]met[/]" if met else "[red]NOT MET[/]"
        table.add_row(phase, str(clients), str(unsent), *shown, str(still_open), word)
    return table, all_met


@click.command(help="Clients that leave: how soon does the upstream's connection close?")
@click.option("--count", type=click.IntRange(min=8, max=10_000), default=1000, show_default=True)
def main(count: int) -> None:
    # So that a terminated run leaves its `with` blocks, and with them its processes, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores, leavings, began = Cores.choose(), Leavings(), time.monotonic()
    os.sched_setaffinity(0, {cores.load})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-leaving-")))
        port, upstream = free_port(), free_port()
        (folder / "routes.yaml").write_text(routes(upstream))
        program = Path(sys.executable).parent / "pointsman"
        serve = [str(program), "serve", "--config", str(folder / "routes.yaml"), "--log-level", "warning"]
        pid = stack.enter_context(running([*serve, "--port", str(port)], cores.proxy, folder / "log"))
        try:
            wait_until(lambda: uvloop.run(answers(Target(port), "/readyz")), pid, folder / "log", 20)
            before, after = uvloop.run(measure(port, upstream, pid, count, leavings))
        except NotReady as error:
            raise click.ClickException(f"Pointsman: {error}") from error
    table, met = report(leavings)
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(table)
    clean = after.files <= before.files and after.in_flight == 0
    gained = {phase: after.disconnects[phase] - before.disconnects[phase] for phase in after.disconnects}
    phases = ", ".join(f"{phase} {number}" for phase, number in gained.items())
    console.print(
        f"afterwards: open files {before.files} before and {after.files} after, in flight {after.in_flight}: "
        f"{'nothing left open' if clean else 'LEFT OPEN'}\n"
        f"Pointsman counted {sum(gained.values())} of {len(leavings.left)} leaving clients: {phases}\n"
        f"budget: upstream closed within {BUDGET_S * 1000:.0f} ms at p99: {'met' if met else 'NOT MET'}; "
        f"{len(leavings.left)} clients in {time.monotonic() - began:.0f} s",
        highlight=False,
    )
    if leavings.odd:
        console.print(f"not as planned: {dict(leavings.odd)}", highlight=False)
    if not met or not clean or leavings.odd:
        raise click.ClickException("a client that leaves leaves something behind")


if __name__ == "__main__":
    main()
