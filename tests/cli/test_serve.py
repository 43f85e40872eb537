"""`pointsman serve` as a process, as an operator runs it."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
import httpx
import pytest

from proxy.cli.options import EXIT_BAD_CONFIG
from proxy.cli.serve import _listener as listener
from proxy.cli.serve import _remove_metrics as remove_metrics
from proxy.embedding.shipped_model import minilm_name
from proxy.learning.fit import fit_policy
from proxy.learning.tables import VERSION
from proxy.routing.policy_file import pack
from proxy.server.server import EXIT_REFUSED
from proxy.shipped import shipped
from tests.learning.made import made

pytestmark = pytest.mark.slow

QUICK = {"x-simulate-first-token-ms": "0", "x-simulate-token-ms": "0", "x-simulate-tokens": "2"}
HELLO = {"model": "auto", "messages": [{"role": "user", "content": "hello there, my secret friend"}]}


class Served:
    def __init__(self, process: subprocess.Popen[str], said: str, url: str, simulator: str) -> None:
        self.process = process
        self._said = said
        self.url = url
        self.simulator = simulator

    def wait_for_line(self, part: str) -> None:
        """Until such a line is logged; those before it are not seen again."""
        assert self.process.stderr is not None
        lines = iter(self.process.stderr.readline, "")
        assert any(part in line for line in lines), f"it ended without {part!r}"

    def end(self, how: signal.Signals) -> str:
        """Everything logged since the start, but for what was waited for."""
        self.process.send_signal(how)
        assert self.process.stderr is not None
        with self.process.stderr as rest:  # which has what was read ahead, as `communicate` does not
            log = self._said + rest.read()
        self.process.wait(timeout=15)
        return log


@pytest.fixture(scope="module", autouse=True)
def _vectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The starter file's examples are embedded at the first start, and not at each of the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POINTSMAN_CACHE_DIR", str(tmp_path_factory.mktemp("vectors")))
        yield


@contextmanager
def serve(folder: Path, *options: str, hang_up: bool = False) -> Iterator[Served]:
    """`hang_up`: with a SIGHUP before anything is ready."""
    command = [sys.executable, "-m", "proxy", "serve", "--demo", "--port", "0", "--log", "json", *options]
    environ = {
        name: value
        for name, value in os.environ.items()
        if name == "POINTSMAN_CACHE_DIR" or not name.startswith(("OPENAI", "PROMETHEUS", "POINTSMAN"))
    }
    process = subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.PIPE, text=True)
    try:
        if hang_up:
            deadline = time.monotonic() + 30
            while not family(process):  # its simulated upstreams are its first child; it has heard of signals by then
                assert time.monotonic() < deadline
            process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        said, greeting = "", ""
        for line in iter(process.stderr.readline, ""):
            if greeting or line.startswith("Pointsman listens on"):
                if line == "\n":
                    break
                greeting += line
            else:
                said += line
        urls = re.findall(r"http://127\.0\.0\.1:\d+", greeting)
        assert urls, said
        assert httpx.get(urls[0] + "/readyz", timeout=30).status_code == 200, "it was said, so it is ready"
        yield Served(process, said, urls[0], urls[-1])
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=15)


def is_gone(url: str) -> bool:
    try:
        httpx.get(url, timeout=1)
    except httpx.TransportError:
        return True
    return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_demo_needs_no_key_and_leaves_nothing_behind(tmp_path: Path, how: signal.Signals) -> None:
    with serve(tmp_path) as served:
        answer = httpx.post(served.url + "/v1/chat/completions", json=HELLO, headers=QUICK)
        assert answer.status_code == 200
        assert answer.headers["x-pointsman-route"] == "simple"
        said = httpx.post(served.url + "/v1/responses", json={"model": "auto", "input": "hi"}, headers=QUICK).json()
        assert httpx.get(f"{served.url}/v1/responses/{said['id']}").json() == said
        assert httpx.post(served.url + "/v1/embeddings", json={"model": "e", "input": "x"}).json()["data"]
        kept = httpx.post(served.url + "/v1/files", data={"purpose": "batch"}, files={"file": b"content"}).json()
        assert httpx.get(f"{served.url}/v1/files/{kept['id']}/content").content == b"content"
        served.end(how)
        assert is_gone(served.url)
        assert is_gone(served.simulator)


def test_the_log_has_a_line_for_the_request_and_no_prompt_reply_or_key(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        headers = {**QUICK, "authorization": "Bearer sk-very-secret", "x-simulate-text": "the-reply-itself"}
        assert "the-reply-itself" in httpx.post(served.url + "/v1/chat/completions", json=HELLO, headers=headers).text
        log = served.end(signal.SIGTERM)
    assert '"event":"request"' in log
    assert '"route":"simple"' in log
    for secret in ("secret friend", "the-reply-itself", "sk-very-secret"):
        assert secret not in log


@pytest.mark.parametrize(
    ("host", "way_out"),
    [("127.0.0.1", "--port takes another one"), ("203.0.113.7", "--host takes"), ("\u00fc..b", "--host takes")],
)
def test_where_it_cannot_listen_is_said_in_words(host: str, way_out: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "proxy", "serve", "--demo", "--host", host, "--port", str(port)]
        second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert f"Cannot listen on {host}:{port}" in second.stderr
    assert way_out in second.stderr
    assert "Traceback" not in second.stderr


def test_a_port_that_only_root_may_take_is_no_fault_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    class Denied(socket.socket):
        def bind(self, *_: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("proxy.cli.serve.socket.socket", Denied)
    with pytest.raises(click.ClickException, match=r"127\.0\.0\.1:80: Permission denied\. --port takes"):
        listener("127.0.0.1", 80)


def test_the_demo_takes_no_starter_file_for_one_that_was_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "proxy", "serve", "--demo", "-c", "typo.yaml", "--host", "203.0.113.7"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (told.returncode, "typo.yaml: no such file" in told.stderr) == (EXIT_BAD_CONFIG, True)


def test_the_metrics_of_a_worker_that_never_served_are_removed_and_no_others(tmp_path: Path) -> None:
    for name in ("counter_23.db", "gauge_livesum_23.db", "counter_123.db", "counter_231.db"):
        (tmp_path / name).touch()
    remove_metrics(tmp_path, 23)
    assert {path.name for path in tmp_path.iterdir()} == {"counter_123.db", "counter_231.db"}


# SIGHUP: the file is read again, and no process is replaced.


def reloads(served: Served, result: str) -> float:
    text = httpx.get(served.url + "/metrics", timeout=30).text
    found = re.search(rf'^pointsman_config_reloads_total{{result="{result}"}} (.*)$', text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


def wait_for_reloads(served: Served, result: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while (seen := reloads(served, result)) < count:
        assert time.monotonic() < deadline, f"{result}: {seen:g}"


def family(process: subprocess.Popen[str]) -> set[str]:
    """The processes that serve, and the simulated upstreams'."""
    return set(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_hangup_reloads_every_worker_and_ends_none_not_even_before_they_listen(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "routes.yaml"
    path.write_bytes(shipped("routes.yaml").read_bytes())
    with serve(tmp_path, "--workers", str(workers), hang_up=True) as served:
        before = family(served.process)
        served.process.send_signal(signal.SIGHUP)
        wait_for_reloads(served, "unchanged", workers)  # the file is as it was: only the signal can have done this
        path.write_text(path.read_text().replace("name: simple", "name: easy").replace("route: simple", "route: easy"))
        served.process.send_signal(signal.SIGHUP)
        wait_for_reloads(served, "ok", workers)
        for _ in range(10):  # a connection each, so that both workers get some
            answer = httpx.post(served.url + "/v1/chat/completions", json=HELLO, headers=QUICK, timeout=30)
            assert answer.headers["x-pointsman-route"] == "easy"
        assert family(served.process) == before
        infos = re.findall(r'config_info{sha256="(\w+)"} 1.0', httpx.get(served.url + "/metrics").text)
        assert len(infos) == 1
        assert infos[0].startswith(httpx.get(served.url + "/readyz").json()["config"])
        path.write_text("version: 1")
        wait_for_reloads(served, "invalid", workers)  # seen without a signal
        assert httpx.get(served.url + "/readyz").json()["reload"]["result"] == "invalid"
        log = served.end(signal.SIGTERM)
    assert log.count('"event":"config reloaded"') == workers
    assert log.count('"event":"config reload failed"') == workers
    assert log.count('"event":"config unchanged"') <= 3 * workers, "once for each signal"
    assert '"problems":["routes.yaml:1:1 ' in log


LEARNED = """
version: 1
upstreams: {one: {base_url: http://127.0.0.1:9/v1}}
models: {small: {target: {upstream: one, name: s}}, large: {target: {upstream: one, name: l}}}
default: small
policy: policy.npz
routes: [{name: learned, use: {learned: [small, large]}}]
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_workers_serve_on_while_a_new_one_cannot_start(tmp_path: Path) -> None:
    policy = tmp_path / "policy.npz"
    (tmp_path / "routes.yaml").write_text(LEARNED)
    with serve(tmp_path, "--workers", "2") as served:
        served.process.send_signal(signal.SIGHUP)
        wait_for_reloads(served, "unchanged", 2)  # so both have started
        before = family(served.process)
        policy.write_text("no policy")
        wait_for_reloads(served, "invalid", 2)
        victim = next(pid for pid in before if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(int(victim), signal.SIGKILL)
        served.wait_for_line('"event":"worker died"')
        served.wait_for_line('"event":"policy.npz: it is damaged, or no policy"')
        for _ in range(10):
            answer = httpx.post(served.url + "/v1/chat/completions", json=HELLO, headers=QUICK, timeout=30)
            assert answer.status_code == 200
        policy.unlink()
        served.wait_for_line('"event":"worker died"')
        served.wait_for_line('"event":"no policy yet"')  # it starts
        assert len(family(served.process)) == len(before)
        served.end(signal.SIGTERM)
    assert served.process.returncode == 0


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_a_pipe_in_place_of_the_policy_is_not_waited_for_without_end(tmp_path: Path) -> None:
    policy, fresh = tmp_path / "policy.npz", tmp_path / "fresh.npz"
    (tmp_path / "routes.yaml").write_text(LEARNED)
    with serve(tmp_path) as served:
        os.mkfifo(policy)
        served.process.send_signal(signal.SIGHUP)
        wait_for_reloads(served, "invalid", 1)
        fresh.write_bytes(pack(fit_policy(made(60), embedder=minilm_name(128))))
        fresh.replace(policy)
        wait_for_reloads(served, "ok", 1)
        asked = httpx.post(served.url + "/v1/route", json=HELLO, timeout=30).json()
        assert asked["reason"] == "learned"
        served.end(signal.SIGTERM)
    assert served.process.returncode == 0


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_a_worker_that_cannot_start_leaves_no_metrics_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "routes.yaml").write_text(f"{LEARNED}store: sqlite:///new.db\n")

    def left() -> set[str]:
        return {file.stem.rpartition("_")[2] for file in tmp_path.glob("pointsman-metrics-*/*.db")}

    with serve(tmp_path, "--workers", "2") as served:
        served.process.send_signal(signal.SIGHUP)
        wait_for_reloads(served, "unchanged", 2)  # so both have started
        before = left()
        assert len(before) == 2
        with closing(sqlite3.connect(tmp_path / "new.db")) as connection, connection:
            connection.execute("UPDATE pointsman_meta SET value = '99' WHERE name = 'version'")
        os.kill(int(min(before)), signal.SIGKILL)
        served.wait_for_line("its tables are of version 99")
        deadline = time.monotonic() + 10
        while not left() <= before:  # what those two have counted has happened
            assert time.monotonic() < deadline
        served.end(signal.SIGTERM)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_fails_its_own_tests_ends_the_start(tmp_path: Path, workers: int) -> None:
    (tmp_path / "routes.yaml").write_text(
        LEARNED + "tests: [{prompt: hi, route: learned}, {prompt: hi, route: default}]\n"
    )
    command = [sys.executable, "-m", "proxy", "serve", "--demo", "--port", "0", "--workers", str(workers)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50)
    assert ended.returncode == EXIT_REFUSED == EXIT_BAD_CONFIG
    assert "tests[1]: 'hi': expected default, got learned" in ended.stderr
    assert "tests[0]" not in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "listens on" not in ended.stderr


def test_where_nothing_can_be_written_several_workers_are_told_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "proxy", "serve", "--port", "0", "--workers", "2"]
    (tmp_path / "routes.yaml").write_text(LEARNED)
    unable = ["sh", "-c", 'ulimit -f 0 && exec "$@"', "sh", *command]
    ended = subprocess.run(unable, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50)
    assert ended.returncode == EXIT_REFUSED
    assert ended.stderr.startswith("Error: Several workers share their metrics in a temporary folder")


def test_a_store_of_a_newer_program_is_told_in_words_at_a_start_and_at_a_reload(tmp_path: Path) -> None:
    store, path = tmp_path / "newer.db", tmp_path / "routes.yaml"
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("CREATE TABLE pointsman_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        connection.execute("INSERT INTO pointsman_meta VALUES ('version', '99')")
    starter = shipped("routes.yaml").read_text()
    path.write_text(starter.replace("pointsman.db", "newer.db"))
    said = f"its tables are of version 99, and this program knows those up to {VERSION}; run the newer program"
    command = [sys.executable, "-m", "proxy", "serve", "--demo", "--port", "0", "--log", "json"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50)
    assert ended.returncode == EXIT_BAD_CONFIG
    assert f'"event":"store: sqlite:///newer.db: {said}"' in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "listens on" not in ended.stderr
    path.write_text(starter)
    with serve(tmp_path) as served:
        path.write_text(starter.replace("pointsman.db", "newer.db"))
        wait_for_reloads(served, "invalid", 1)
        log = served.end(signal.SIGTERM)
    assert f'"problems":["store: sqlite:///newer.db: {said}"]' in log
    assert "Traceback" not in log


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_workers_share_one_folder_of_vectors_and_one_scrape(tmp_path: Path) -> None:
    came: list[tuple[int, int]] = []
    for workers in (2, 1):
        with serve(tmp_path, "--workers", str(workers), "--cache-dir", "kept") as served:
            served.process.send_signal(signal.SIGHUP)
            wait_for_reloads(served, "unchanged", workers)  # so all have started
            if workers == 2:
                assert_one_scrape_shows_both(served)
            log = served.end(signal.SIGTERM)
        assert '"level":"warning"' not in log
        lines = re.findall(r'"event":"examples embedded","from_cache":(\d+),"embedded":(\d+)', log)
        came += [(int(cached), int(embedded)) for cached, embedded in lines]
    texts = sum(came[0])
    assert (0, texts) in came[:2]
    assert came[2:] == [(texts, 0)]
    assert (tmp_path / "kept" / "pointsman-vectors.bin").is_file()


def assert_one_scrape_shows_both(served: Served) -> None:
    for _ in range(30):  # a connection each, so that both workers get some
        httpx.post(served.url + "/v1/chat/completions", json=HELLO, headers=QUICK, timeout=30)
    deadline = time.monotonic() + 10
    while "pointsman_in_flight 0.0" not in httpx.get(served.url + "/metrics", timeout=30).text:
        assert time.monotonic() < deadline  # a request is counted just after its last byte is out
    for _ in range(6):
        text = httpx.get(served.url + "/metrics", timeout=30).text
        assert 'pointsman_decisions_total{model="small",reason="topic",route="simple"} 30.0' in text
        assert 'pointsman_build_info{version="' in text
        assert "pointsman_in_flight 0.0" in text
