"""
`python -m bench.store`: what keeping decisions costs, and how long feedback takes when there are many.

First a million decisions are written into a SQLite file as the server writes them, some are rated, by their own ids
and by those of completions, and all are reported on, as by `pointsman report`. Then the real `pointsman serve` runs
twice on one core, with a store and without, and each is loaded in turn, round after round, so that a slow minute of the
machine falls on both: by 32 connections that leave it no moment of rest, for the processor time of a decision, and by a
request every few milliseconds, for what a client notices. The queue must have dropped nothing, or what was measured is
not the cost.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import click
import msgspec
import numpy as np
import uvloop
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import install
from bench.client import Asker, Target, percentile
from bench.load import Cell, Wrong, time_requests
from bench.pointsman import SAME_TEXT, routes
from bench.processes import Cores, NotReady, free_port, memory, running, wait_until
from bench.verify import answers, verify
from proxy.cli.report_figures import report_of
from proxy.config import Store as Settings
from proxy.config import StoreUrl
from proxy.embedding import DIMENSIONS
from proxy.learning.asking import Span
from proxy.learning.period import By
from proxy.learning.store import Store
from proxy.learning.stored_rows import DecisionRow, Rating

CONNECTIONS = 32
PACED_SECONDS = 1.0
PACE_S = 0.005
_DROPPED = re.compile(r'pointsman_store_dropped_total\{cause="\w+"\} (\d+)')


def row(number: int, vector: np.ndarray[tuple[int], np.dtype[np.float32]]) -> DecisionRow:
    """One like a server's; its ids as random as if a thousand were made a second."""
    digits = random.Random(number).randbytes(8).hex()
    conversation = number // 3
    route, model = f"route-{conversation % 5}", ("small", "large", "coder")[conversation % 7 % 3]
    is_split, seconds = route == "route-0", 0.2 + number * 7919 % 10_007 / 1_000
    return DecisionRow(
        id=f"ptm-{number // 1000:08x}{digits}", time=1.7e9 + number, route=route, model=model, answered=model,
        target="openai/gpt-4o", reason="split" if is_split else "topic", prompt_tokens=48 + number % 1_000,
        cached_tokens=0, cache_write_tokens=0, completion_tokens=120, reasoning_tokens=0,
        cost_usd=0.0013 * (1 + number % 11),
        baseline_cost_usd=0.0143, seconds=seconds, first_token_s=seconds / 4, status=200, outcome="ok", error="",
        completion_id=f"chatcmpl-{digits}", finish_reason="stop", is_cut=False, bad_tool_calls=0, retry_of=None,
        is_stream=False, path="/v1/chat/completions", config_sha256="0" * 64, text=None, facts=None,
        propensity=1 / 3 if is_split else 1.0, arm=model if is_split else None, policy=None, prefer=None, region=None,
        predicted=None, shadow_route="shadow" if number % 2 else None, shadow_model="small" if number % 2 else None,
        shadow_chance=float(model == "small") if number % 2 else None,
        key_hash=b"k" * 32, conversation_hash=b"%016d" % conversation, vector=vector,
    )  # fmt: skip


def rate_many(file: Path, rows: int) -> None:
    """Feedback to every twentieth decision."""
    vector = np.zeros(1, dtype=np.float32)
    ratings = (
        (row(number, vector).id, "judge", number * 7919 % 101 / 100, None, 1.7e9) for number in range(0, rows, 20)
    )
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executemany("INSERT OR IGNORE INTO feedback VALUES (?, ?, ?, ?, ?)", ratings)


def written() -> int:
    """The bytes that this process has written; a database writes most of its own twice, and a page as a whole."""
    (line,) = (line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("wchar:"))
    return int(line.split()[1])


async def rate_among(rows: int, ratings: int, folder: Path) -> dict[str, object]:
    """Fill a store, then time ratings in it; seconds."""
    store = Store(Settings(StoreUrl(f"sqlite:///{folder}/million.db"), keep=Settings.keep, rows=10 * rows))
    await store.open()
    vectors = np.random.default_rng(0).normal(size=(997, DIMENSIONS)).astype(np.float32)
    began, process, before = time.perf_counter(), time.process_time(), written()
    for start in track(range(0, rows, 500), f"{rows:,} decisions"):
        await store.write([row(number, vectors[number % 997]) for number in range(start, min(rows, start + 500))])
    filled_s, used_s, filled = time.perf_counter() - began, time.process_time() - process, written() - before
    picked = random.Random(1)
    taken: dict[str, list[float]] = {}
    for kind in ("id", "completion_id", "unknown"):
        for _ in range(ratings):
            name = "nobody" if kind == "unknown" else getattr(row(picked.randrange(rows), vectors[0]), kind)
            asked = time.perf_counter()
            rated = await store.rate(Rating(name, 1.0, "user"), b"k" * 32)
            taken.setdefault(kind, []).append(time.perf_counter() - asked)
            if (rated is None) != (kind == "unknown"):
                raise Wrong(f"{name} was {'not ' if rated is None else ''}found")
    await store.close()
    rate_many(folder / "million.db", rows)
    reports = {}
    for by in get_args(By):
        asked = time.perf_counter()
        found = await asyncio.to_thread(report_of, store.settings, by, Span(), {})
        reports[by] = time.perf_counter() - asked
        if found["total"]["decisions"] != rows or not found["experiments"] or not found["shadow"]:
            raise Wrong(f"the report tells of {found['total']['decisions']} decisions, and not of all there is")
    size = sum(file.stat().st_size for file in folder.iterdir())
    return {
        "rows": rows,
        "bytes_a_row": size / rows,
        "written_bytes_a_row": filled / rows,
        "write_s_a_row": filled_s / rows,
        "write_cpu_s_a_row": used_s / rows,
        "report_s": reports,
        **{
            f"rate_by_{kind}_s": {"p50": percentile(each, 50), "p99": percentile(each, 99), "max": max(each)}
            for kind, each in taken.items()
        },
    }


@dataclass
class Served:
    """One of the two servers, and what it took."""

    pid: int
    target: Target
    wire_bytes: int
    busy: list[Cell] = field(default_factory=list)
    paced_s: list[float] = field(default_factory=list)


def serve(stack: ExitStack, upstream: int, cores: Cores, store: str, model: str) -> Served:
    """Start Pointsman with this store."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-store-")))
    file, log, port = folder / "routes.yaml", folder / "log", free_port()
    file.write_text(routes(upstream) + f"store: {store}\n")
    command = [sys.executable, "-m", "proxy", "serve", "-c", str(file), "--port", str(port), "--log-level", "warning"]
    pid = stack.enter_context(running(command, cores.proxy, log, env={"PYTHONPATH": os.pathsep.join(sys.path)}))
    target = Target(port, model, {"Authorization": "Bearer sk-client"}, text=SAME_TEXT)
    wait_until(lambda: uvloop.run(answers(target, "/readyz")), pid, log, 60)
    return Served(pid, target, uvloop.run(verify(target, stream=False)).wire_bytes)


def load_both(both: dict[str, Served], rounds: int, seconds: float, wrk: str, cores: Cores) -> None:
    """Each in turn, the one that begins changing from round to round."""

    def busy(served: Served, for_s: float, seed: int) -> Cell:
        return time_requests(
            served.target, wrk=wrk, core=cores.load, pid=served.pid, stream=False, connections=CONNECTIONS,
            seconds=for_s, seed=seed, wire_bytes=served.wire_bytes,
        )  # fmt: skip

    for served in both.values():
        busy(served, 2, 0)  # connections opened, code compiled
    for number in track(range(rounds), "load"):
        for served in list(both.values())[:: 1 if number % 2 else -1]:
            served.busy.append(busy(served, seconds, number))
            served.paced_s += uvloop.run(paced(served.target))


async def paced(target: Target) -> list[float]:
    """How long requests take that come one by one, with time between them; seconds."""
    asker, taken, request = await Asker.connect(target.port), [], target.request(SAME_TEXT, stream=False)
    ends = time.perf_counter() + PACED_SECONDS
    while time.perf_counter() < ends:
        taken.append((await asker.ask(request)).total_s)
        await asyncio.sleep(PACE_S)
    asker.close()
    return taken


async def dropped(port: int) -> int:
    """How many rows the server did not keep."""
    asker = await Asker.connect(port)
    reply = await asker.ask(f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode(), timeout_s=10)
    asker.close()
    return sum(map(int, _DROPPED.findall(reply.body.decode())))


def serve_both(rounds: int, seconds: float, model: str) -> dict[str, object]:
    """Figures by server; and the ratio of the two, round by round."""
    cores, wrk = Cores.choose(), install.debian("wrk", "wrk", may_install=True)
    os.sched_setaffinity(0, {cores.load})  # on the server's core the paced client would wait for its turn
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-store-")))
        port = free_port()
        stack.enter_context(
            running([sys.executable, "-m", "bench.upstream", "--port", str(port)], cores.load, folder / "upstream.log")
        )
        stores = {"off": "none", "on": f"sqlite:///{folder}/served.db"}
        both = {name: serve(stack, port, cores, store, model) for name, store in stores.items()}
        load_both(both, rounds, seconds, wrk, cores)
        pairs = zip(both["on"].busy, both["off"].busy, strict=True)
        ratios = [on.requests_per_s / off.requests_per_s for on, off in pairs]
        return {
            "model": model,
            **{
                name: {
                    "requests_per_s": statistics.median(cell.requests_per_s for cell in served.busy),
                    "cpu_s_a_request": statistics.median(cell.cpu / cell.requests_per_s for cell in served.busy),
                    "paced": {"p50_s": percentile(served.paced_s, 50), "p99_s": percentile(served.paced_s, 99)},
                    "memory_mb": memory(served.pid).rss,
                }
                for name, served in both.items()
            },
            "ratio": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
            "dropped": uvloop.run(dropped(both["on"].target.port)),
        }


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Decisions in the store; 0 leaves that part out.")
@click.option("--ratings", default=500, show_default=True, help="Of each kind.")
@click.option("--rounds", default=12, show_default=True, help="Of load; 0 leaves that part out.")
@click.option("--seconds", default=5.0, show_default=True, help="Of load with 32 connections, each time.")
@click.option("--model", default="fast", show_default=True, help="fast: decided by a rule. auto: by its text.")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def main(rows: int, ratings: int, rounds: int, seconds: float, model: str, as_json: bool) -> None:
    """Measure the store."""
    found: dict[str, object] = {}
    try:
        if rows:
            with tempfile.TemporaryDirectory(prefix="bench-store-") as folder:
                found["feedback"] = asyncio.run(rate_among(rows, ratings, Path(folder)))
        if rounds:
            found["requests"] = serve_both(rounds, seconds, model)
    except (NotReady, Wrong) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table("", "", title="The store")
    for part, figures in found.items():
        for name, figure in msgspec.to_builtins(figures).items():
            table.add_row(f"{part}: {name}", _shown(name, figure))
    Console().print(table)


def _shown(name: str, figure: object) -> str:
    if isinstance(figure, dict):
        return ", ".join(f"{key} {_shown(key if '_s' in key else name, value)}" for key, value in figure.items())
    if isinstance(figure, float) and ("_s" in name and "per_s" not in name):
        return f"{figure * 1e3:.3f} ms"
    return f"{figure:,.3f}" if isinstance(figure, float) else str(figure)


if __name__ == "__main__":
    main()
