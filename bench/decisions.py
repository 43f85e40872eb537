"""
What a decision costs: Pointsman's own figures, request by request, and beside them bare runs of the model.

One request at a time, in small blocks that take turns:

- **decisions**: chat completions, each decision's time from its header;
- **bare runs**, one text a request, as long a time after the run before as in the block of decisions;
- **bare runs back to back**, the model's best case: no pause, nothing else on the core;
- **stages**: chat completions again, with a look at /metrics before and after each one. The sum of a stage's
  histogram grows by exactly what the request took in it. A look itself empties the core's caches (measured: it
  makes the next embedding 0.25 ms longer), so that decisions on /v1/route, which counts nothing, come between.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from bench.bare import ask_bare
from bench.client import Asker, Target, percentile
from bench.processes import NotReady
from bench.prompts import texts
from bench.results import Decisions, Stages

__all__ = ["time_decisions"]

ROUNDS = 15
BLOCK = 20
SKIPPED = 3
"""Of each block: the first find the caches full of the other process's model."""

BETWEEN = 3
"""Decisions that are only explained, between a look at /metrics and the decision that is split."""

STAGE = re.compile(rb'^pointsman_decision_stage_seconds_sum\{stage="(\w+)"\} (\S+)$', re.MULTILINE)


async def time_decisions(target: Target, seed: int, bare: int | None = None, rounds: int = ROUNDS) -> Decisions:
    """
    Time decisions and, where `bare` is the port of `bench.bare`, the bare runs of texts of the same kind.

    Raises:
        NotReady: an answer without the figures that it should carry; or OSError, a connection broke.
    """
    decisions = Decisions()
    own = texts(seed) if target.text is None else iter(lambda: target.text, "")
    fresh = (text for text in own if text is not None)
    asker = await Asker.connect(target.port)
    bare_asker = None if bare is None else await Asker.connect(bare)
    try:
        for _ in range(rounds):
            taken, pause_s = await decide(asker, target, fresh, decisions.reasons)
            decisions.rounds_s.append(taken)
            if bare_asker is not None and bare is not None:
                decisions.bare_s.append(await run_paced(bare_asker, bare, fresh, pause_s))
                at_once, _ = await ask_bare(bare_asker, bare, list(islice(fresh, BLOCK + SKIPPED)))
                decisions.bare_at_once_s.append(at_once[SKIPPED:])
                decisions.stages += await split(asker, target, fresh, pause_s)
                decisions.pauses_s.append(pause_s)
    except KeyError as error:
        raise NotReady(f"no {error} in Pointsman's answer") from error
    finally:
        asker.close()
        if bare_asker is not None:
            bare_asker.close()
    return decisions


async def decide(
    asker: Asker, target: Target, fresh: Iterator[str], reasons: dict[str, int]
) -> tuple[list[float], float]:
    """Times of decisions, and the median pause from the end of one to the beginning of the next."""
    taken, pauses = [], []
    began = time.perf_counter()
    for text in islice(fresh, BLOCK + SKIPPED):
        reply = await asker.ask(target.request(text, stream=False))
        decision_s = float(reply.headers["x-pointsman-decision-ms"]) / 1000
        reason = reply.headers["x-pointsman-reason"]
        reasons[reason] = reasons.get(reason, 0) + 1
        ended = time.perf_counter()
        taken.append(decision_s)
        pauses.append(ended - began - decision_s)
        began = ended
    return taken[SKIPPED:], percentile(pauses, 50)


async def run_paced(asker: Asker, port: int, fresh: Iterator[str], pause_s: float) -> list[float]:
    """Times of bare runs, each that long after the one before."""
    taken = []
    for text in islice(fresh, BLOCK + SKIPPED):
        began = time.perf_counter()
        (run_s,), _ = await ask_bare(asker, port, [text])
        taken.append(run_s)
        wait(began + run_s + pause_s)
    return taken[SKIPPED:]


async def split(asker: Asker, target: Target, fresh: Iterator[str], pause_s: float) -> list[Stages]:
    """Decisions in their parts. The stages are written down once an answer is over, so the look comes after it."""
    found = []
    explained = replace(target, path="/v1/route")
    before = await stage_sums(asker, target.port)
    for text in islice(fresh, BLOCK):
        for between in islice(fresh, BETWEEN):
            await asker.ask(explained.request(between, stream=False))
            wait(time.perf_counter() + pause_s)
        reply = await asker.ask(target.request(text, stream=False))
        after = await stage_sums(asker, target.port)
        whole_s = float(reply.headers["x-pointsman-decision-ms"]) / 1000
        found.append(Stages(whole_s, after["embed"] - before["embed"], after["read"] - before["read"]))
        before = after
    return found


async def stage_sums(asker: Asker, port: int) -> dict[str, float]:
    reply = await asker.ask(f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return {name.decode(): float(value) for name, value in STAGE.findall(reply.body)}


def wait(until: float) -> None:
    """Not asleep: uvloop's timers count whole milliseconds, and here only the load core is kept busy."""
    while time.perf_counter() < until:
        pass
