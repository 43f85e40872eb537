"""Load: wrk for throughput and latency, the Python client for the first byte of a stream."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.client import Target, first_bytes, percentile
from bench.install import library_path
from bench.processes import cpu_seconds
from bench.prompts import WORDS, WORDS_PER_TEXT, body_parts, head

__all__ = ["Cell", "Wrong", "time_first_bytes", "time_requests"]

SHORTEST = 0.97
"""An answer on average this much smaller than the verified one is not the answer; headers may vary a little."""


class Wrong(Exception):
    """What was measured was not the answer that was asked for, so its speed means nothing."""


@dataclass(frozen=True)
class Cell:
    """One measured run; latencies in seconds."""

    requests_per_s: float
    p50_s: float
    p99_s: float
    cpu: float
    """Of the proxy's core, 0 to 1: well under 1, something else was the limit."""


def time_requests(
    target: Target,
    *,
    wrk: str,
    core: int,
    pid: int,
    stream: bool,
    connections: int,
    seconds: float,
    seed: int,
    wire_bytes: int,
) -> Cell:
    """
    Keep `connections` busy for `seconds`.

    Args:
        pid: the proxy's process, whose processor time is read before and after.
        wire_bytes: the size of a verified answer, head included.

    Raises:
        Wrong: an error status, a broken connection, or answers that are too short.
    """
    before, after = body_parts(target.model, stream=stream)
    env = {
        "BENCH_HEAD": head(target.port, target.path, target.headers),
        "BENCH_BEFORE": before,
        "BENCH_AFTER": after,
        "BENCH_WORDS": " ".join(WORDS),
        "BENCH_WORDS_PER_TEXT": str(WORDS_PER_TEXT),
        "BENCH_TEXT": target.text or "",
        "BENCH_SEED": str(seed),
    }
    script = str(Path(__file__).with_name("requests.lua"))
    command = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(core), wrk, "-t1", f"-c{connections}"]
    command += [f"-d{wrk_time(seconds)}", "--timeout", "10s", "-s", script, f"http://127.0.0.1:{target.port}"]
    cpu_before = cpu_seconds(pid)
    done = subprocess.run(
        command, env={**os.environ, **env, **library_path(wrk)}, capture_output=True, text=True, check=False
    )
    cpu_used = cpu_seconds(pid) - cpu_before
    if done.returncode != 0 or not done.stdout.strip():
        raise Wrong(f"wrk: {(done.stderr or done.stdout).strip()[-200:]}")
    result: dict[str, int] = json.loads(done.stdout.strip().splitlines()[-1])
    if result["status_errors"] or result["socket_errors"] or result["timeouts"]:
        raise Wrong(
            f"{result['status_errors']} error answers, {result['socket_errors']} broken connections and "
            f"{result['timeouts']} timeouts beside {result['requests']} answers"
        )
    if not result["requests"]:
        raise Wrong("no answer at all")
    mean_bytes = result["bytes"] / result["requests"]
    if mean_bytes < SHORTEST * wire_bytes:
        raise Wrong(f"answers of {mean_bytes:.0f} bytes on average; the verified one had {wire_bytes}")
    run_s = result["duration_us"] / 1e6
    return Cell(result["requests"] / run_s, result["p50_us"] / 1e6, result["p99_us"] / 1e6, cpu_used / run_s)


def wrk_time(seconds: float) -> str:
    """wrk takes whole seconds only."""
    return f"{max(1, round(seconds))}s"


def time_first_bytes(target: Target, connections: int, seconds: float, seed: int) -> tuple[float, float]:
    """
    The p50 and p99 of the time to a stream's first byte, in seconds.

    Raises:
        Wrong: no stream was answered, or a connection broke.
    """
    try:
        times = uvloop.run(first_bytes(target, connections, seconds, seed))
    except* OSError as errors:
        raise Wrong(f"a stream broke: {errors.exceptions[0]}") from None
    if not times:
        raise Wrong("no stream was answered")
    return percentile(times, 50), percentile(times, 99)
