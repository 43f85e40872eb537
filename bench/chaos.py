"""
`python -m bench.chaos`: what do clients notice of upstreams that die and err, while one healthy upstream is there?

One model with three targets on three upstreams, each a process of its own: one is killed without warning and started
again, one answers a share of its requests with errors of every kind, one is healthy. Every answer is compared byte for
byte, and bears the name of the upstream that it came from.

Every request has a healthy target, so every one should succeed. One kind cannot: a stream that had begun on an upstream
when that was killed. What the client has read cannot be taken back, and no other upstream knows how that answer went
on. Such a stream must end with one error event, and is counted apart.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import uvloop

from bench.chaos_report import Held, Round, complaints, show
from bench.client import Asker, Reply, Target
from bench.faulty import stream_by
from bench.mortal import Upstream, answered, end, start
from bench.processes import Cores, NotReady, free_port, memory, open_files, reserved_port, running, wait_until
from bench.prompts import texts
from bench.tasks import count_tasks
from bench.upstream import ID_DIGITS, PACE_S
from bench.verify import answers

__all__ = ["Plan", "judge", "main", "one_round", "routes", "upstream"]

ROUTES = """
version: 1
upstreams:
{upstreams}
models:
  chaos:
    targets:
{targets}
rewrite: ["*"]
default: chaos
"""
KILLED, ERRING, HEALTHY = "killed", "erring", "healthy"
NOTICED_S = 2.0
"""How long after a kill the end of a stream may still be its doing."""
LONGEST_S = 300.0
"""More than an answer takes that waits once at each upstream."""
PATIENCE_S = 5.0
_IN_FLIGHT = re.compile(r"^pointsman_in_flight (\S+)$", re.MULTILINE)
_ATTEMPTS = re.compile(r'^pointsman_attempts_total\{outcome="(\w+)",target="([^"]+)"\} (\S+)$', re.MULTILINE)


def routes(ports: dict[str, int]) -> str:
    """routes.yaml for upstreams by name; all else is as shipped."""
    upstreams = [
        f'  {name}: {{base_url: "http://127.0.0.1:{port}/v1", api_key: sk-bench}}' for name, port in ports.items()
    ]
    targets = [f"      - {{upstream: {name}, name: chaos}}" for name in ports]
    return ROUTES.format(upstreams="\n".join(upstreams), targets="\n".join(targets))


def judge(reply: Reply, number: bytes) -> str:
    """One word for one answer: `right`, `told` (a right beginning, then one error event), or what is wrong with it."""
    if reply.status != 200:
        return f"status {reply.status}"
    expected = stream_by(upstream_of(reply), number)
    if reply.body == expected:
        return "right"
    start = reply.body.rfind(b"\n\n", 0, -2) + 2
    begun, last = reply.body[:start], reply.body[start:]
    if start > 1 and len(begun) < len(expected) and expected.startswith(begun) and _tells_an_error(last):
        return "told"
    return "short" if expected.startswith(reply.body) else "wrong bytes"


def upstream_of(reply: Reply) -> str:
    return reply.headers.get("x-pointsman-target", "").partition("/")[0]


def _tells_an_error(event: bytes) -> bool:
    """Whether this is one whole event, of OpenAI's error envelope and nothing else."""
    try:
        match json.loads(event.removeprefix(b"data: ")):
            case {"error": {"message": str(), "type": str(), "code": str()}, **rest}:
                return not rest and event.startswith(b"data: ") and event.endswith(b"\n\n")
    except ValueError:
        pass
    return False


@dataclass(frozen=True)
class Plan:
    """What each round does; times in seconds."""

    seconds: float
    streams: int
    every: float
    """From one kill to the next."""
    dead: float
    """From a kill to the revival."""
    errors: float
    """Share of requests that the erring upstream answers with an error."""
    wait: float
    """Until an upstream begins its answer."""
    pace: float
    """From one event of a stream to the next."""


async def under_chaos(port: int, plan: Plan, numbers: itertools.count[int], chaos: Round) -> None:
    """Keep that many streams under way for so long."""
    fresh, ends = texts(1), time.perf_counter() + plan.seconds

    async def one_client() -> None:
        asker = await Asker.connect(port)
        while time.perf_counter() < ends:
            number = f"{next(numbers):0{ID_DIGITS}}"
            request = Target(port).request(next(fresh), stream=True, user=f"slow-{number}")
            try:
                reply = await asker.ask(request, LONGEST_S)
            except OSError:
                chaos.counts["lost"] += 1
                asker.close()
                asker = await Asker.connect(port)
                continue
            word = judge(reply, number.encode())
            if word == "told":
                chaos.told.append((upstream_of(reply), time.perf_counter()))
            if word == "right":
                chaos.first_byte_s.append(reply.first_byte_s)
            chaos.counts[word] += 1
            chaos.attempts[int(reply.headers.get("x-pointsman-attempts", "0"))] += 1
        asker.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(plan.streams):
            group.create_task(one_client())


async def look(port: int) -> tuple[int, Counter[tuple[str, str]]]:
    """
    Requests under way, and attempts so far by target and outcome.

    Raises:
        NotReady: the proxy does not say.
    """
    asker = await Asker.connect(port)
    try:
        reply = await asker.ask(f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    finally:
        asker.close()
    text = reply.body.decode()
    if (found := _IN_FLIGHT.search(text)) is None:
        raise NotReady("it does not say how many requests are under way")
    attempts = Counter({(target, how): int(float(count)) for how, target, count in _ATTEMPTS.findall(text)})
    return int(float(found[1])), attempts


def held(port: int, pid: int, tasks: Path) -> Held:
    """What the proxy holds now."""
    in_flight, _ = uvloop.run(look(port))
    time.sleep(0.1)  # until this very connection is closed there too
    return Held(open_files(pid), count_tasks(pid, tasks), in_flight, memory(pid).rss)


def settled(port: int, pid: int, tasks: Path, before: Held) -> Held:
    """What it holds once that is no more than before, or has had its time to be."""
    ends = time.monotonic() + PATIENCE_S
    while not (after := held(port, pid, tasks)).is_no_more_than(before) and time.monotonic() < ends:
        pass
    return after


async def one_round(port: int, killed: Upstream, plan: Plan, numbers: itertools.count[int]) -> Round:
    killed.kills = []
    chaos = Round(killed=KILLED, kills=killed.kills, noticed_s=NOTICED_S)
    _, before = await look(port)
    async with asyncio.TaskGroup() as group:
        group.create_task(under_chaos(port, plan, numbers, chaos))
        group.create_task(killed.die_every(plan.every, plan.dead, plan.seconds))
    _, after = await look(port)
    chaos.by_target = after - before
    return chaos


@click.command(help="Upstreams that die and err beside a healthy one: what do clients notice?")
@click.option("--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True, help="Of each round.")
@click.option("--rounds", type=click.IntRange(min=1), default=2, show_default=True, help="Leaks show between them.")
@click.option("--streams", type=click.IntRange(min=1), default=200, show_default=True, help="At the same time.")
@click.option("--every", type=click.FloatRange(min=0.5), default=5.0, show_default=True, help="Seconds between kills.")
@click.option("--dead", type=click.FloatRange(min=0), default=2.5, show_default=True, help="Seconds until revived.")
@click.option("--errors", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of the erring one.")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Seconds to an answer's head."
)
@click.option("--pace", type=click.FloatRange(min=0), default=PACE_S, show_default=True, help="Seconds between events.")
@click.option("--json", "as_json", is_flag=True)
def main(rounds: int, as_json: bool, **options: Any) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plan = Plan(**options)
    if plan.dead >= plan.every:
        raise click.BadParameter("it must be less than --every", param_hint="--dead")
    cores, numbers, found = Cores.choose(), itertools.count(1), []
    os.sched_setaffinity(0, {cores.load})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-chaos-")))
        upstreams = {name: upstream(name, folder, cores.load, stack, plan) for name in (KILLED, ERRING, HEALTHY)}
        (folder / "routes.yaml").write_text(routes({name: each.port for name, each in upstreams.items()}))
        port, tasks = free_port(), folder / "tasks"
        serve = [sys.executable, "-m", "bench.tasks", str(tasks), "serve", "--config", str(folder / "routes.yaml")]
        serve += ["--port", str(port), "--log-level", "error"]
        pid = stack.enter_context(running(serve, cores.proxy, folder / "log"))
        try:
            wait_until(lambda: uvloop.run(answers(Target(port), "/readyz")), pid, folder / "log", 20)
            start(upstreams.values())
            for _ in range(20):
                answered(port)  # what a first request opens for good is no leak
            end(upstreams.values())
            time.sleep(1)
            before = held(port, pid, tasks)
            for _ in range(rounds):
                start(upstreams.values())
                found.append(uvloop.run(one_round(port, upstreams[KILLED], plan, numbers)))
                # Connections that are kept for the next request close with their upstream, and are no leak.
                end(upstreams.values())
                found[-1].after = settled(port, pid, tasks, before)
        except NotReady as error:
            raise click.ClickException(str(error)) from error
    show(found, before, as_json=as_json)
    if wrong := complaints(found, before):
        raise click.ClickException("\n".join(wrong))


def upstream(name: str, folder: Path, core: int, stack: ExitStack, plan: Plan) -> Upstream:
    """One that is ended with the stack."""
    port = stack.enter_context(reserved_port())
    options = {
        "port": port,
        "name": name,
        "errors": plan.errors * (name == ERRING),
        "wait": plan.wait,
        "pace": plan.pace,
    }
    command = [sys.executable, "-m", "bench.faulty", *(f"--{option}={value}" for option, value in options.items())]
    made = Upstream(command, core, folder / name, port)
    stack.callback(made.end)
    return made


if __name__ == "__main__":
    main()
