"""Upstreams that can be killed and started again on the same port."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import uvloop

from bench.client import Target
from bench.processes import running, wait_until
from bench.verify import answers

__all__ = ["Upstream", "answered", "end", "start"]


@dataclass
class Upstream:
    """One of them."""

    command: Sequence[str]
    core: int
    log: Path
    port: int
    pid: int = 0
    kills: list[float] = field(default_factory=list)
    """When, by `time.perf_counter()`."""
    _life: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        """Start it, and do not wait until it answers."""
        self.pid = self._life.enter_context(running(self.command, self.core, self.log))

    def kill(self) -> None:
        """Without warning: the kernel closes its connections, whatever it was about to say."""
        self.kills.append(time.perf_counter())
        os.kill(self.pid, signal.SIGKILL)
        self.end()

    def end(self) -> None:
        """End it in order; nothing where it does not live."""
        self._life.close()

    async def die_every(self, every_s: float, dead_s: float, seconds: float) -> None:
        """Kill it every so often and revive it a while later, for so long; it lives in the end."""
        began = time.perf_counter()
        for kill in itertools.count(1):
            if kill * every_s >= seconds:
                return
            await asyncio.sleep(began + kill * every_s - time.perf_counter())
            self.kill()
            await asyncio.sleep(dead_s)
            # Here and not in a thread: the kernel ends a child with the thread that started it.
            self.start()


def start(upstreams: Collection[Upstream]) -> None:
    """Start them all, and wait for each."""
    for each in upstreams:
        each.start()
    for each in upstreams:
        wait_until(partial(answered, each.port), each.pid, each.log, 10)


def answered(port: int) -> bool:
    """Whether a first request gives 200."""
    return uvloop.run(answers(Target(port), None))


def end(upstreams: Collection[Upstream]) -> None:
    """End them all."""
    for each in upstreams:
        each.end()
