"""`python -m bench`: every proxy beside the others, in one run."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import click
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench import install
from bench.bare import bare_command, runs
from bench.client import Target
from bench.decisions import time_decisions
from bench.load import Wrong, time_first_bytes, time_requests
from bench.peers import CANDIDATES, Candidate
from bench.processes import Cores, NotReady, free_port, memory, running, wait_until
from bench.report import as_json, print_report
from bench.results import Results, Row, Workload
from bench.verify import Verified, answers, verify

# Each timed run writes texts of its own: a repeated one would be in Pointsman's cache.
seeds = count(1)


@dataclass
class Running:
    """A proxy that answers, and everything needed to load it."""

    row: Row
    pid: int
    target: Target
    verified: dict[bool, Verified]


@dataclass(frozen=True)
class Plan:
    """How long, how often, with what."""

    workloads: list[Workload]
    rounds: int
    seconds: float
    wrk: str
    cores: Cores


def start(candidate: Candidate, upstream: int, cores: Cores, may_install: bool, stack: ExitStack) -> Running:
    """
    Start one proxy, wait for it and check its answers.

    Raises:
        NotReady: it cannot be had or does not start; or Wrong, it does not forward.
    """
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"bench-{candidate.key}-")))
    port, log = free_port(), folder / "log"
    launch = candidate.launch(folder, port, upstream, may_install)
    core = cores.load if candidate.key == "direct" else cores.proxy
    pid = stack.enter_context(running(launch.command, core, log, env=launch.env))
    target = Target(port, candidate.model, launch.headers, text=candidate.text)
    ready_s = wait_until(lambda: uvloop.run(answers(target, launch.ready_path)), pid, log, candidate.ready_s)
    try:
        verified = {stream: uvloop.run(verify(target, stream=stream)) for stream in (False, True)}
    except OSError as error:
        raise Wrong(f"it accepts connections but does not answer: {error!r}") from error
    row = Row(candidate.key, candidate.name, launch.version, ready_s)
    row.untouched = all(answer.untouched for answer in verified.values())
    return Running(row, pid, target, verified)


def measure(proxy: Running, workload: Workload, plan: Plan, seconds: float) -> None:
    """One run of wrk and, for a stream, one of the client that times first bytes; into the proxy's row."""
    cell = time_requests(
        proxy.target,
        wrk=plan.wrk,
        core=plan.cores.load,
        pid=proxy.pid,
        stream=workload.stream,
        connections=workload.connections,
        seconds=seconds,
        seed=next(seeds),
        wire_bytes=proxy.verified[workload.stream].wire_bytes,
    )
    times = None
    if workload.stream:
        times = time_first_bytes(proxy.target, workload.connections, min(1.5, seconds / 2), next(seeds))
    proxy.row.cells.setdefault(workload, []).append(cell)
    if times is not None:
        proxy.row.first_bytes.setdefault(workload, []).append(times)


def warm_up(proxy: Running, plan: Plan) -> None:
    """Connections opened, code compiled, caches filled; measured and thrown away."""
    throwaway = Running(Row("", ""), proxy.pid, proxy.target, proxy.verified)
    for stream in {workload.stream for workload in plan.workloads}:
        measure(throwaway, Workload(stream, 8), plan, 1)


def measure_all(proxies: list[Running], plan: Plan, progress: Progress) -> None:
    """
    Every proxy in turn, round after round, so that a slow minute of the machine falls on all.

    Each round begins with another proxy: none always follows the same neighbour's heat.
    """
    task = progress.add_task("", total=len(proxies) * (plan.rounds * len(plan.workloads) + 1))

    def attempt(proxy: Running, what: str, workload: Workload | None) -> None:
        progress.update(task, description=f"{what}: {proxy.row.name}")
        try:
            if proxy.row.problem is None:
                if workload is None:
                    warm_up(proxy, plan)
                else:
                    measure(proxy, workload, plan, plan.seconds)
        except Wrong as error:
            proxy.row.problem = f"{workload or 'warm-up'}: {error}"
        progress.advance(task)

    for proxy in proxies:
        attempt(proxy, "warm-up", None)
    for i in range(plan.rounds):
        first = i % len(proxies)
        for proxy in proxies[first:] + proxies[:first]:
            for workload in plan.workloads:
                attempt(proxy, f"round {i + 1} of {plan.rounds}, {workload}", workload)


def finish(proxies: list[Running], cores: Cores) -> None:
    """What is read once, after the load."""
    for proxy in proxies:
        proxy.row.memory = memory(proxy.pid)
        if proxy.row.key in ("rule", "cached", "new") and proxy.row.problem is None:
            try:
                decide(proxy, cores)
            except (OSError, NotReady) as error:
                proxy.row.problem = f"decision times: {error}"


def decide(proxy: Running, cores: Cores) -> None:
    """Time decisions and, for new texts, bare runs of the model beside them: turn about, like everything else."""
    with ExitStack() as stack:
        port = None
        if proxy.row.key == "new":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-bare-")))
            port = free_port()
            pid = stack.enter_context(running(bare_command(port), cores.proxy, folder / "log"))
            wait_until(lambda: uvloop.run(runs(port)), pid, folder / "log", 20)
        proxy.row.decisions = uvloop.run(time_decisions(proxy.target, next(seeds), port))


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    load = os.getloadavg()[0]
    python = platform.python_version()
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {python}, load {load:.1f} before"


@click.command(help="Pointsman beside its peers, on this machine, in one table.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--seconds", type=click.IntRange(min=1), default=3, show_default=True, help="Of each timed run.")
@click.option("--only", help=f"Rows, with commas between: {','.join(candidate.key for candidate in CANDIDATES)}.")
@click.option("--connections", default="1,32", show_default=True, help="With commas between.")
@click.option("--quick", is_flag=True, help="One round of two seconds each.")
@click.option("--install/--no-install", "may_install", default=True, help="Install peers that are missing.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
def main(
    rounds: int,
    seconds: int,
    only: str | None,
    connections: str,
    quick: bool,
    may_install: bool,
    json_file: Path | None,
    markdown: bool,
) -> None:
    if quick:
        rounds, seconds = 1, 2
    chosen = [candidate for candidate in CANDIDATES if only is None or candidate.key in only.split(",")]
    if not chosen:
        raise click.BadParameter(f"none of {only!r} is a row", param_hint="--only")
    try:
        counts = [int(number) for number in connections.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{connections!r} is not numbers with commas between") from error
    # So that a terminated bench leaves its `with` blocks, and with them its processes, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    notes = Console(stderr=True)
    if not (shutil.which("taskset") and shutil.which("setpriv")):
        raise click.ClickException("taskset and setpriv are not installed (Linux: util-linux)")
    try:
        wrk = install.debian("wrk", "wrk", may_install=may_install)
    except NotReady as error:
        raise click.ClickException(str(error)) from error
    cores = Cores.choose()
    os.sched_setaffinity(0, {cores.load})
    workloads = [Workload(stream, number) for stream in (False, True) for number in counts]
    plan = Plan(workloads, rounds, seconds, wrk, cores)
    settings = f"{rounds} rounds of {seconds} s; proxy on core {cores.proxy}, load and upstream on core {cores.load}"
    results = Results([], workloads, machine(), settings)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-upstream-")))
        upstream = free_port()
        command = [sys.executable, "-m", "bench.upstream", "--port", str(upstream)]
        pid = stack.enter_context(running(command, cores.load, folder / "log"))
        wait_until(lambda: uvloop.run(answers(Target(upstream), None)), pid, folder / "log", 10)
        proxies = []
        for candidate in chosen:
            notes.print(f"starting {candidate.name}", highlight=False)
            try:
                proxies.append(start(candidate, upstream, cores, may_install, stack))
                results.rows.append(proxies[-1].row)
            except (NotReady, Wrong) as error:
                notes.print(f"  skipped: {error}", highlight=False, markup=False)
                results.rows.append(Row(candidate.key, candidate.name, problem=f"skipped: {error}"))
        if not proxies:
            raise click.ClickException("nothing to measure")
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=notes, transient=True) as progress:
            measure_all(proxies, plan, progress)
        finish(proxies, cores)
    print_report(results, Console(width=None if sys.stdout.isatty() else 130), markdown=markdown)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(as_json(results), indent=1))


if __name__ == "__main__":
    main()
