"""Processes that are pinned, watched and, whatever happens, ended; and what /proc says about them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Cores", "Memory", "NotReady", "cpu_seconds", "free_port", "memory", "open_files", "reserved_port", "running",
    "wait_until",
]  # fmt: skip

TICKS = os.sysconf("SC_CLK_TCK")


class NotReady(Exception):
    """A program that could not be started, with the reason a reader needs."""


@dataclass(frozen=True)
class Cores:
    """Which core runs the proxy under test, and which one the load generator and the upstream."""

    proxy: int
    load: int

    @classmethod
    def choose(cls) -> Cores:
        """The first two cores we may use; the same one twice where there is only one."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[1] if len(usable) > 1 else usable[0])


@dataclass(frozen=True)
class Memory:
    """
    Of a process and its children, in MB (10^6 bytes).

    RSS counts what is in memory, shared pages once a process; PSS shares those out, so it can be added up.
    """

    rss: float
    pss: float


def free_port() -> int:
    """A port that was free a moment ago; the small race is one that a second run of the bench repairs."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def reserved_port() -> Iterator[int]:
    """
    A port at which a server can listen, die and listen again as long as the block lasts.

    It is bound here too, without listening: else the kernel might lend it, while the server is dead, to a connection
    of somebody else.
    """
    with socket.socket() as reserving:
        reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserving.bind(("127.0.0.1", 0))
        yield reserving.getsockname()[1]


@contextmanager
def running(
    command: Sequence[str | Path], core: int | None, log: Path, *, env: Mapping[str, str] | None = None
) -> Iterator[int]:
    """
    Run a command, pinned to a core unless that is None, for as long as the block lasts; gives its process id.

    `taskset` and `setpriv` replace themselves with the command, so the id is the command's own. Should this
    process die without a word (SIGKILL), the kernel sends the child SIGTERM. A session of its own makes the
    command's whole family one group, and keeps the terminal's Ctrl-C for us, who then end it in order.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *(() if core is None else ("taskset", "-c", str(core))), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        try:
            yield process.pid
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the family to stop, then insist. Its id stays ours until `wait` has returned."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    with suppress(ProcessLookupError):  # a worker that outlived its master is in the group still
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(ready: Callable[[], bool], pid: int, log: Path, timeout_s: float) -> float:
    """
    Ask until the process is ready; gives the seconds it took.

    Raises:
        NotReady: the process ended or the time is over; with the last line it wrote.
    """
    began = time.monotonic()
    while time.monotonic() - began < timeout_s:
        if ready():
            return time.monotonic() - began
        if not alive(pid):
            raise NotReady(f"it ended at once: {last_line(log)}")
        time.sleep(0.02)
    raise NotReady(f"not ready after {timeout_s:.0f} s: {last_line(log)}")


def alive(pid: int) -> bool:
    with suppress(OSError):
        return stat(pid)[0] != "Z"
    return False


def last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "it wrote nothing"


def family(pid: int) -> list[int]:
    """A process and all its descendants, threads' children included."""
    found = [pid]
    for parent in found:  # grows while we walk it
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, children.read_text().split())
    return found


def memory(pid: int) -> Memory:
    rss = pss = 0
    for member in family(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name == "Rss":
                    rss += int(rest.split()[0])
                elif name == "Pss":
                    pss += int(rest.split()[0])
    return Memory(rss * 1024 / 1e6, pss * 1024 / 1e6)


def cpu_seconds(pid: int) -> float:
    """Processor time that the process and its living children have used."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            fields = stat(member)
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def open_files(pid: int) -> int:
    """Descriptors that the process and its children hold."""
    return sum(1 for member in family(pid) for _ in Path(f"/proc/{member}/fd").iterdir())


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: the second may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
