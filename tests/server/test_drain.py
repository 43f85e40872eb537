"""`pointsman serve` ends: not ready, then closed to the new, then to all. As a process, told by signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.relay.wire import SSE, Exchange, RawUpstream
from tests.server.raw import CHAT, GET, HEAD, WHOLE, Reader, connected

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")]

STREAM = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(CHAT) + CHAT
FIRST = b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n'
LAST = b"data: [DONE]\n\n"
BOTH = pytest.mark.parametrize("workers", [1, 2])
MANY = """
version: 1
upstreams: {raw: {base_url: "http://127.0.0.1:9/v1"}}
models: {raw: {target: {upstream: raw, name: m}}}
default: raw
embedding: {threads: 1}
topics: {one: {examples: HALF}, other: {examples: HALF}}
routes: [{name: one, when: {topic: one}, use: raw}]
"""


class Served:
    def __init__(self, process: subprocess.Popen[str], port: int, raw: RawUpstream) -> None:
        self.process = process
        self.port = port
        self.raw = raw

    def get(self, path: str) -> httpx.Response:
        """On a connection of its own."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=30)

    def tell(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait_until(self, holds: Callable[[], bool], timeout: float = 10.0) -> None:
        deadline = time.monotonic() + timeout
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def wait_for_requests(self, count: int) -> None:
        self.wait_until(lambda: len(self.raw.exchanges) == count)

    def is_closed_to_the_new(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it closed just now: the next look tells
            pass
        return False

    def end(self) -> tuple[int, list[dict[str, Any]]]:
        """The exit code and the log, once it has ended by itself."""
        _, log = self.process.communicate(timeout=20)
        return self.process.returncode, [json.loads(line) for line in log.splitlines() if line.startswith("{")]

    def children(self) -> set[str]:
        return set(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split())


@contextmanager
def starting(folder: Path, text: str, workers: int, *options: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    (folder / "routes.yaml").write_text(text)
    command = [sys.executable, "-m", "proxy", "serve", "--port", "0", "--log", "json", "--workers", str(workers)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PROMETHEUS", "POINTSMAN"))}
    process = subprocess.Popen(
        [*command, *options], cwd=folder, env=environ | variables, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # its workers may live on where it does not
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=15)


@contextmanager
def serve(folder: Path, *, workers: int = 1, drain: str = "{grace: 20s}") -> Iterator[Served]:
    raw = RawUpstream()
    text = (
        "version: 1\n"
        f'upstreams: {{raw: {{base_url: "http://127.0.0.1:{raw.port}/v1"}}}}\n'
        "models: {raw: {target: {upstream: raw, name: m}}}\n"
        "default: raw\n"
        f"server: {{drain: {drain}}}\n"
    )
    try:
        with starting(folder, text, workers) as process:
            assert process.stderr is not None
            greeting = ""
            while not greeting.endswith("\n\n"):
                line = process.stderr.readline()
                assert line, f"it ended: {greeting}"
                greeting += line
            port = int(re.findall(r"listens on http://127\.0\.0\.1:(\d+)", greeting)[0])
            served = Served(process, port, raw)
            answered: set[int] = set()

            def all_answer() -> bool:
                answered.add(served.get("/v1/targets").json()["worker"])
                return len(answered) == workers

            served.wait_until(all_answer, 30)  # one that does not serve yet would not drain
            yield served
    finally:
        raw.close()


@contextmanager
def begun_stream(served: Served) -> Iterator[Reader]:
    """A stream whose first event has arrived."""
    with connected(served.port) as connection:
        connection.settimeout(15)
        connection.sendall(STREAM)
        served.wait_for_requests(1)
        while connection.recv(65536, socket.MSG_PEEK).find(FIRST) < 0:
            time.sleep(0.01)
        yield Reader(connection)


def held(gate: threading.Event) -> Callable[[Exchange], None]:
    """An upstream that sends one event at once and the rest when the gate opens."""

    def script(exchange: Exchange) -> None:
        exchange.send(SSE + FIRST)
        gate.wait(15)
        exchange.send(LAST)
        exchange.cut()

    return script


def requests_of(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in log if line["event"] == "request"]


@BOTH
def test_what_is_under_way_is_finished_and_nothing_new_begins(tmp_path: Path, workers: int) -> None:
    with serve(tmp_path, workers=workers) as served, connected(served.port) as idle:
        idle.sendall(GET)
        reader = Reader(idle)
        assert reader.answer().status == 200
        gate = threading.Event()
        served.raw.script = held(gate)
        with begun_stream(served) as stream:
            served.tell()
            assert reader.is_at_end()
            served.wait_until(served.is_closed_to_the_new)
            assert served.process.poll() is None
            gate.set()
            assert stream.answer().body == FIRST + LAST
            assert stream.is_at_end()
        code, log = served.end()
    assert code == 0
    assert [line["status"] for line in requests_of(log)] == [200]
    drained = [line for line in log if line["event"] == "drained"]
    assert [line["cut"] for line in drained] == [0] * workers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@BOTH
def test_an_idle_server_ends_at_once_and_well(tmp_path: Path, workers: int, number: signal.Signals) -> None:
    with serve(tmp_path, workers=workers) as served, connected(served.port):
        began = time.monotonic()
        served.tell(number)
        code, log = served.end()
    assert code == 0
    assert time.monotonic() - began < 5
    assert not [line for line in log if line["level"] in ("warning", "error")]


@BOTH
def test_in_the_delay_it_is_not_ready_and_still_answers(tmp_path: Path, workers: int) -> None:
    with serve(tmp_path, workers=workers, drain="{delay: 2s, grace: 20s}") as served:
        with connected(served.port) as kept:
            kept.sendall(GET)
            reader = Reader(kept)
            assert b"connection" not in reader.answer().headers
            served.tell()
            served.wait_until(lambda: served.get("/readyz").status_code == 503)
            told = [served.get("/readyz") for _ in range(6)]  # a connection each, so that both workers get some
            assert [answer.json() for answer in told] == [{"status": "draining"}] * 6
            assert served.get("/healthz").status_code == 200
            with connected(served.port) as new:
                new.sendall(WHOLE)
                answer = Reader(new).answer()
            assert (answer.status, answer.headers[b"connection"]) == (200, b"close")
            kept.sendall(GET)
            assert reader.answer().headers[b"connection"] == b"close"
            assert reader.is_at_end()
        served.wait_until(served.is_closed_to_the_new)
        assert served.end()[0] == 0


@pytest.mark.parametrize("ending", ["grace-is-over", "second-signal"])
@BOTH
def test_what_does_not_end_is_told_so_and_cut(tmp_path: Path, workers: int, ending: str) -> None:
    by_signal = ending == "second-signal"
    with serve(tmp_path, workers=workers, drain="{grace: 1m}" if by_signal else "{grace: 500ms}") as served:
        left: list[float] = []

        def silent(exchange: Exchange) -> None:
            left.append(exchange.wait_until_left(15))

        def endless(exchange: Exchange) -> None:
            exchange.send(SSE + FIRST)
            silent(exchange)

        served.raw.script = endless
        with begun_stream(served) as stream, connected(served.port) as waiting, connected(served.port) as sending:
            served.raw.script = silent
            waiting.sendall(WHOLE)
            served.wait_for_requests(2)
            sending.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n{")
            assert sending.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            began = time.monotonic()
            served.tell()
            if by_signal:
                served.wait_until(served.is_closed_to_the_new)
                served.tell()
            answer = stream.answer()  # well formed to its last chunk
            assert answer.status == 200
            assert answer.body.startswith(FIRST)
            event = answer.body.removeprefix(FIRST)
            assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == "shutting_down"
            assert b"[DONE]" not in event
            for connection in (waiting, sending):
                refused = Reader(connection).answer()
                assert refused.status == 503
                assert refused.error()["code"] == "shutting_down"
                assert refused.headers[b"retry-after"] == b"1"
                assert refused.headers[b"connection"] == b"close"
            code, log = served.end()
            assert time.monotonic() - began < 10
        served.wait_until(lambda: len(left) == 2)
    assert code == (128 + signal.SIGTERM if by_signal else 0)
    assert sorted(line["status"] for line in requests_of(log)) == [200, 503, 503]
    assert {line["error"] for line in requests_of(log)} == {"shutting_down"}
    assert sum(line["cut"] for line in log if line["event"] == "drained") == 3
    assert not [line for line in log if line["level"] == "error"]


def test_a_client_that_does_not_read_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    def flood(exchange: Exchange) -> None:
        exchange.is_over = True
        exchange.send(SSE)
        while True:
            exchange.send(FIRST * 1000)

    with serve(tmp_path, drain="{grace: 300ms}") as served, connected(served.port) as connection:
        served.raw.script = flood
        connection.sendall(STREAM)
        served.wait_for_requests(1)
        served.tell()
        code, log = served.end()
    assert code == 0
    assert [line["error"] for line in requests_of(log)] == ["shutting_down"]
    assert not [line for line in log if line["level"] == "error"]


@pytest.mark.parametrize(("workers", "number"), [(1, signal.SIGTERM), (2, signal.SIGINT)])
def test_a_start_ends_at_once_and_leaves_nothing_half_done(
    tmp_path: Path, workers: int, number: signal.Signals
) -> None:
    kept, temporary = tmp_path / "kept", tmp_path / "temporary"
    temporary.mkdir()
    examples = [f"{count} " + "long texts of which each takes its time " * 10 for count in range(4000)]
    text = MANY.replace("HALF", json.dumps(examples[::2]), 1).replace("HALF", json.dumps(examples[1::2]), 1)
    with starting(tmp_path, text, workers, "--cache-dir", str(kept), TMPDIR=str(temporary)) as process:
        assert process.stderr is not None
        while '"event":"embedding examples"' not in (line := process.stderr.readline()):
            assert line, "it ended"
        process.send_signal(number)
        _, log = process.communicate(timeout=20)
        assert process.returncode == 128 + number
    assert "examples embedded" not in log
    assert not [*temporary.iterdir(), *kept.glob("*.tmp")]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux tells the children")
def test_ctrl_c_reaches_all_processes_and_drains_them_once(tmp_path: Path) -> None:
    with serve(tmp_path, workers=2) as served:
        gate = threading.Event()
        served.raw.script = held(gate)
        with begun_stream(served) as stream:
            assert all(_holds_back(pid, signal.SIGINT) for pid in _serving(served))
            os.killpg(served.process.pid, signal.SIGINT)  # as a terminal does
            served.wait_until(served.is_closed_to_the_new)
            gate.set()
            assert stream.answer().body == FIRST + LAST
        assert served.end()[0] == 0


def _holds_back(pid: str, number: signal.Signals) -> bool:
    found = re.search(r"^SigBlk:\s+(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) & 1 << (number - 1))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux tells the children")
def test_a_worker_that_dies_is_replaced_and_their_number_changes_on_demand(tmp_path: Path) -> None:
    with serve(tmp_path, workers=2) as served:
        first, second = sorted(int(child) for child in _serving(served))
        os.kill(first, signal.SIGKILL)
        served.wait_until(lambda: len(_serving(served)) == 2 and str(first) not in _serving(served))
        served.tell(signal.SIGTTIN)
        served.wait_until(lambda: len(_serving(served)) == 3)
        assert str(second) in _serving(served)
        for left in (2, 1):
            served.tell(signal.SIGTTOU)
            served.wait_until(partial(_are_serving, served, left), 30)
        served.wait_until(lambda: served.get("/readyz").status_code == 200, 30)
        served.tell()
        assert served.end()[0] == 0


def _serves(pid: str) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _are_serving(served: Served, count: int) -> bool:
    return len(_serving(served)) == count


def _serving(served: Served) -> set[str]:
    return {child for child in served.children() if _serves(child)}


@pytest.mark.parametrize("is_draining", [False, True])
def test_workers_drain_where_their_parent_is_killed(tmp_path: Path, is_draining: bool) -> None:
    with serve(tmp_path, workers=2) as served:
        gate = threading.Event()
        served.raw.script = held(gate)
        with begun_stream(served) as stream:
            if is_draining:
                served.tell()
                served.wait_until(served.is_closed_to_the_new)
            served.tell(signal.SIGKILL)
            served.process.wait(timeout=10)
            served.wait_until(served.is_closed_to_the_new)
            gate.set()
            assert stream.answer().body == FIRST + LAST
        code, log = served.end()  # which waits for the workers, too: the log is theirs
    assert code == -signal.SIGKILL
    assert [line["cut"] for line in log if line["event"] == "drained"] == [0, 0]
    assert [line["event"] for line in log].count("parent is gone") == (0 if is_draining else 2)


def test_who_watches_live_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with serve(tmp_path) as served, httpx.stream("GET", f"http://127.0.0.1:{served.port}/v1/live", timeout=15) as live:
        lines = live.iter_lines()
        assert next(lines) == "retry: 1000"
        told = time.monotonic()
        served.tell()
        list(lines)  # to its orderly end
        code, _ = served.end()
        assert time.monotonic() - told < 10, "half of the grace"
    assert code == 0
