"""A routes.yaml that changes while Pointsman runs on it, seen from outside."""

from __future__ import annotations

import json
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.app import build_app
from proxy.config import Config
from proxy.embedding import MiniLM, Vector
from proxy.reload.source import ConfigSource
from proxy.server.protocol import Protocol
from tests.config.not_files import impatient, not_files
from tests.relay.wire import SSE, Exchange, RawUpstream, WordModel
from tests.server.raw import GET, HEAD, Reader, connected
from tests.serving import serving

__all__ = ["impatient"]

FIRST = """
version: 1
upstreams: {one: {base_url: "$RAW/one/v1", api_key: sk-one}}
models:
  cheap: {target: {upstream: one, name: cheap-1}, default: {metadata: {of: one}}}
  dear: {target: {upstream: one, name: dear-1}, default: {metadata: {of: one}}}
default: cheap
rewrite: []
embedding: {deadline: 20s}
topics:
  code: {examples: [fix the bug in my code, write code for a loop]}
  law: {examples: [draft a contract, is the clause valid]}
routes:
  - {name: code, when: {topic: code}, use: dear, set: {tier: one}}
tests:
  - {prompt: fix the bug in my code, route: code}
"""
# The same requests go another way at every step: route, model, target, key, edits.
SECOND = FIRST.replace("cheap", "thrifty").replace("name: code", "name: coding").replace("route: code", "route: coding")
SECOND = SECOND.replace("dear", "grand").replace("one", "two")
CODE, OTHER = "fix the bug in my code", "nothing of that kind"
WAYS = {
    FIRST: {CODE: ("code", "dear", "one/dear-1"), OTHER: ("default", "cheap", "one/cheap-1")},
    SECOND: {CODE: ("coding", "grand", "two/grand-1"), OTHER: ("default", "thrifty", "two/thrifty-1")},
}
BAD_YAML = "version: 1\nupstreams: {one: ["
UNSERVED = FIRST.replace("name: dear-1}", "name: dear-1}, context: 1")
BAD_GATE = FIRST.replace("route: code}", "route: default}")


class CountingModel(WordModel):
    """Remembers what was embedded; fails on `poison`."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, text: str) -> Vector:
        if "poison" in text:
            raise RuntimeError(text)
        self.texts.append(text)
        return super().embed(text)


class House:
    """Pointsman on a file, and its one upstream."""

    def __init__(self, path: Path, raw: RawUpstream, model: CountingModel, http: httpx.Client) -> None:
        self.path = path
        self.raw = raw
        self.model = model
        self.http = http

    def text(self, text: str) -> str:
        return text.replace("$RAW", f"http://127.0.0.1:{self.raw.port}")

    def write(self, text: str, path: Path | None = None) -> None:
        """As an editor does: a new file in place of the old one."""
        path = path or self.path
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(self.text(text))
        fresh.replace(path)

    def reload(self, text: str, result: str = "ok") -> None:
        """Write, and wait until that was tried."""
        tried = self.tried(result)
        self.write(text)
        self.wait_until_tried(result, tried + 1)

    def tried(self, result: str) -> int:
        return self.reloads()[result]

    def reloads(self) -> dict[str, int]:
        series = 'pointsman_config_reloads_total{result="'
        lines = [line for line in self.http.get("/metrics").text.splitlines() if line.startswith(series)]
        return {line.split('"')[1]: int(float(line.rsplit(" ", 1)[1])) for line in lines}

    def wait_until_tried(self, result: str, times: int) -> None:
        deadline = time.monotonic() + 20
        while self.tried(result) < times:
            assert time.monotonic() < deadline, f"{result}: {self.reloads()}"

    def post(self, text: str, model: str = "auto", **fields: object) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return self.http.post("/v1/chat/completions", json=body)

    def runs_on(self, text: str) -> bool:
        return {prompt: way(self.post(prompt)) for prompt in (CODE, OTHER)} == WAYS[text]

    def ready(self) -> dict[str, Any]:
        told: dict[str, Any] = self.http.get("/readyz").json()
        return told

    def wait_for_connections(self, count: int) -> None:
        """How many the upstream has open; each is a thread there."""
        deadline = time.monotonic() + 20
        while (seen := sum(thread.is_alive() for thread in self.raw._threads[1:])) != count:
            assert time.monotonic() < deadline, f"{seen} connections, not {count}"


def way(answer: httpx.Response) -> tuple[str, str, str]:
    route, model, target = (answer.headers[f"x-pointsman-{name}"] for name in ("route", "model", "target"))
    return route, model, target


@pytest.fixture
def raw() -> Iterator[RawUpstream]:
    raw = RawUpstream()
    yield raw
    raw.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "routes.yaml"


@pytest.fixture
def house(path: Path, raw: RawUpstream) -> Iterator[House]:
    model = CountingModel()

    def load(config: Config) -> MiniLM:
        return model

    if not path.exists():
        path.write_text(FIRST.replace("$RAW", f"http://127.0.0.1:{raw.port}"))
    source = ConfigSource(path, {})
    with (
        serving(build_app(source.load(), load_model=load, source=source, poll_s=0.02), http=Protocol) as served,
        httpx.Client(base_url=served.url, timeout=10) as http,
    ):
        yield House(path, raw, model, http)


def problems(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of the last reload that failed."""
    record = [record for record in caplog.records if record.getMessage() == "config reload failed"][-1]
    found: list[str] = record.__dict__["problems"]
    return found


def test_a_change_of_the_file_changes_what_is_decided(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    before = house.ready()
    assert before["reload"] is None
    assert house.reloads() == {"ok": 0, "invalid": 0, "tests_failed": 0, "error": 0, "unchanged": 0}
    assert house.runs_on(FIRST)
    house.reload(SECOND)
    after = house.ready()
    assert house.runs_on(SECOND)
    assert after["config"] != before["config"]
    assert after["reload"]["result"] == "ok"
    assert time.strptime(after["reload"]["time"], "%Y-%m-%dT%H:%M:%SZ")
    assert [entry["id"] for entry in house.http.get("/v1/models").json()["data"]] == ["auto", "thrifty", "grand"]
    told = next(record.__dict__ for record in caplog.records if record.getMessage() == "config reloaded")
    assert told["sha256"].startswith(after["config"])
    assert (told["models"], told["topics"], told["routes"], told["tests"], told["seconds"] > 0) == (2, 2, 1, 1, True)


def test_the_metrics_follow(house: House) -> None:
    house.reload(SECOND.replace("topics:", "topics:\n  rain: {examples: [will it rain, rain and wind]}"))
    text = house.http.get("/metrics").text
    infos = [line for line in text.splitlines() if line.startswith("pointsman_config_info{")]
    assert len(infos) == 1
    assert house.ready()["config"] in infos[0]
    for series in (
        'pointsman_decisions_total{model="grand",reason="topic",route="coding"} 0.0',
        'pointsman_topic_score_count{topic="rain"} 0.0',
        'pointsman_attempts_total{outcome="ok",target="two/grand-1"} 0.0',
    ):
        assert series in text


@pytest.mark.parametrize(
    ("text", "result", "said"),
    [
        pytest.param(BAD_YAML, "invalid", "routes.yaml:2:", id="not-yaml"),
        pytest.param("", "invalid", "routes.yaml", id="empty"),
        pytest.param(FIRST.replace("use: dear", "use: deer"), "invalid", "did you mean 'dear'", id="no-such-model"),
        pytest.param(BAD_GATE, "tests_failed", "expected default, got code", id="its-own-test-fails"),
        pytest.param(
            UNSERVED, "tests_failed", "expected code, refused: No model of route 'code'", id="its-own-test-is-refused"
        ),
        pytest.param(FIRST.replace("draft a", "poison"), "error", "RuntimeError", id="not-to-be-embedded"),
    ],
)
def test_a_bad_file_changes_nothing_and_says_why(
    house: House, caplog: pytest.LogCaptureFixture, text: str, result: str, said: str
) -> None:
    sha = house.ready()["config"]
    house.reload(text, result)
    assert house.runs_on(FIRST)
    told = house.ready()
    assert (told["config"], told["reload"]["result"]) == (sha, result)
    assert said in "\n".join(problems(caplog))
    assert sum(house.reloads().values()) == 1, "tried once, not at every look"
    house.reload(SECOND)
    assert house.runs_on(SECOND)


def test_every_problem_is_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.reload(FIRST.replace("use: dear", "use: deer").replace("default: cheap", "default: chip"), "invalid")
    assert len(problems(caplog)) >= 2


def test_half_a_file_is_followed_by_the_whole(house: House) -> None:
    whole = house.text(SECOND)
    with house.path.open("w") as file:
        file.write(whole[: len(whole) // 2])
        file.flush()
        house.wait_until_tried("invalid", 1)
        assert house.runs_on(FIRST)
        file.write(whole[len(whole) // 2 :])
    house.wait_until_tried("ok", 1)
    assert house.runs_on(SECOND)


def test_a_file_that_vanishes_and_comes_back(house: House) -> None:
    house.path.unlink()
    house.wait_until_tried("invalid", 1)
    assert house.runs_on(FIRST)
    house.reload(FIRST, "unchanged")
    house.path.unlink()
    house.wait_until_tried("invalid", 2)
    house.reload(SECOND)
    assert house.runs_on(SECOND)


@not_files
def test_what_is_no_file_in_its_place(house: House, make: Callable[[Path], None], message: str) -> None:
    house.path.unlink()
    make(house.path)
    house.wait_until_tried("invalid", 1)
    assert house.runs_on(FIRST)
    house.path.rmdir() if house.path.is_dir() else house.path.unlink(missing_ok=True)
    house.reload(SECOND)
    assert house.runs_on(SECOND)


def test_a_store_that_cannot_be_used_changes_nothing(house: House, tmp_path: Path) -> None:
    """Not the limits either, nor the rests of keys, and nobody is asked how it is."""
    with closing(sqlite3.connect(tmp_path / "newer.db")) as store, store:
        store.execute("CREATE TABLE pointsman_meta (name TEXT PRIMARY KEY, value TEXT)")
        store.execute("INSERT INTO pointsman_meta VALUES ('version', '99'), ('salt', '00')")
    refused = FIRST.replace(
        "api_key: sk-one}", "api_key: sk-new, max_in_flight: 1, health_check: {path: /health, every: 20ms}}"
    )
    refused += f"retry: {{share: 0, free: 0}}\nstore: {{url: 'sqlite:///{tmp_path}/newer.db'}}\n"
    house.raw.script = lambda exchange: exchange.answer(b"{}", b"retry-after: 60", status=b"429 Busy")
    assert house.post(CODE).status_code == 429

    house.reload(refused, "invalid")
    states = {
        target["target"]: target["state"]
        for model in house.http.get("/v1/targets").json()["models"]
        for target in model["targets"]
    }
    assert states == {"one/dear-1": "open", "one/cheap-1": "closed"}

    arrived, gate = threading.Event(), threading.Event()

    def script(exchange: Exchange) -> None:
        arrived.set()
        assert gate.wait(10)
        exchange.answer(b"{}")

    house.raw.script = script
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(house.post, OTHER)
        assert arrived.wait(10)
        house.raw.script = Exchange.cut
        second = house.post(OTHER)
        gate.set()
        assert first.result().status_code == 200
    assert (second.status_code, second.headers["x-pointsman-attempts"]) == (502, "3")
    assert {exchange.line for exchange in house.raw.exchanges} == {b"POST /one/v1/chat/completions HTTP/1.1"}


def test_another_order_of_arms_is_another_config(house: House) -> None:
    trial = FIRST.replace("use: dear, set: {tier: one}", "use: {split: {cheap: 50, dear: 50}}")
    trial += "conversation: {switch: always}\n"
    house.reload(trial)
    said = "fix the bug in my code, " * 2

    def arms() -> list[str]:
        return [house.post(f"{said}{number}").headers["x-pointsman-model"] for number in range(12)]

    sha, before = house.ready()["config"], arms()
    house.reload(trial.replace("cheap: 50, dear: 50", "dear: 50, cheap: 50"))
    assert house.ready()["config"] != sha
    assert all(one != other for one, other in zip(before, arms(), strict=True))
    house.reload(trial)
    assert (house.ready()["config"], arms()) == (sha, before)


def test_a_touched_file_is_no_new_config(house: House) -> None:
    sha = house.ready()["config"]
    os.utime(house.path, (1, 1))
    house.wait_until_tried("unchanged", 1)
    assert house.ready()["config"] == sha


class TestConfigMap:
    """A folder as Kubernetes mounts it: `routes.yaml` -> `..data/routes.yaml`, `..data` -> `..2026_1`."""

    @pytest.fixture
    def path(self, tmp_path: Path, raw: RawUpstream) -> Path:
        (tmp_path / "..2026_1").mkdir()
        (tmp_path / "..2026_1" / "routes.yaml").write_text(FIRST.replace("$RAW", f"http://127.0.0.1:{raw.port}"))
        (tmp_path / "..data").symlink_to("..2026_1")
        (tmp_path / "routes.yaml").symlink_to("..data/routes.yaml")
        return tmp_path / "routes.yaml"

    def swap(self, house: House, text: str, version: str) -> None:
        """As the kubelet does."""
        folder = house.path.parent
        (folder / version).mkdir()
        house.write(text, folder / version / "routes.yaml")
        (folder / "..data_tmp").symlink_to(version)
        (folder / "..data_tmp").replace(folder / "..data")

    def test_its_swap_is_seen(self, house: House) -> None:
        self.swap(house, SECOND, "..2026_2")
        house.wait_until_tried("ok", 1)
        assert house.runs_on(SECOND)

    def test_a_bad_one_is_refused_as_the_alert_wants_to_know(self, house: House) -> None:
        good = "pointsman_config_last_reload_successful 1.0"
        self.swap(house, BAD_YAML, "..2026_2")
        house.wait_until_tried("invalid", 1)
        assert house.runs_on(FIRST)
        assert good.replace("1.0", "0.0") in house.http.get("/metrics").text
        self.swap(house, SECOND, "..2026_3")
        house.wait_until_tried("ok", 1)
        assert house.runs_on(SECOND)
        assert good in house.http.get("/metrics").text


def test_only_new_examples_are_embedded(house: House) -> None:
    before = len(house.model.texts)
    house.reload(FIRST.replace("draft a contract", "draft a contract, read the small print"))
    assert house.model.texts[before:] == ["read the small print"]
    house.reload(FIRST)
    assert len(house.model.texts) == before + 1


def test_a_new_key_is_used_though_the_fingerprint_tells_nothing_of_it(house: House) -> None:
    sha = house.ready()["config"]
    house.reload(FIRST.replace("sk-one", "sk-new"))
    assert house.runs_on(FIRST)
    assert house.raw.last.values(b"authorization") == [b"Bearer sk-new"]
    assert house.ready()["config"] == sha
    assert f'pointsman_config_info{{sha256="{sha}' in house.http.get("/metrics").text


def test_a_new_key_in_the_query_is_not_held_to_the_rest_of_the_one_before(house: House) -> None:
    """Of two models, since one alone is asked though it rests."""
    text = FIRST.replace("api_key: sk-one", "query: {key: KEY}").replace("dear-1}", "dear-1}, fallbacks: [cheap]")

    def script(exchange: Exchange) -> None:
        if b"key=old" in exchange.line and b"dear-1" in exchange.body:
            exchange.answer(b"{}", b"retry-after: 60", status=b"429 Busy")
        else:
            exchange.answer()

    house.raw.script = script
    house.reload(text.replace("KEY", "old"))
    assert way(house.post(CODE))[1:] == ("cheap", "one/cheap-1")
    house.reload(text.replace("KEY", "new"))
    assert way(house.post(CODE))[1:] == ("dear", "one/dear-1")


def test_an_upstream_that_is_moved_is_another_server(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """It neither rests for what the one before did, nor for what is still under way there, nor is it full of that."""
    text = FIRST.replace("dear-1}", "dear-1}, fallbacks: [cheap]").replace("sk-one", "sk-one, max_in_flight: 5")
    begun, gate = threading.Semaphore(0), threading.Event()

    def script(exchange: Exchange) -> None:
        if b"/old/" in exchange.line and b"dear-1" in exchange.body:
            begun.release()
            gate.wait(10)
            exchange.cut()
        else:
            exchange.answer()

    def state() -> str:
        series = 'pointsman_target_state{target="one/dear-1"} '
        return next(line for line in house.http.get("/metrics").text.splitlines() if line.startswith(series))[-3:]

    house.raw.script = script
    house.reload(text.replace("/one/", "/old/"))
    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(house.post, CODE) for _ in range(5)]
        try:
            assert all(begun.acquire(timeout=10) for _ in waiting)
            assert house.post(CODE).status_code == 503, "the old one is full"
            house.reload(text.replace("/one/", "/new/"))
            assert (way(house.post(CODE))[1], state()) == ("dear", "0.0")
        finally:
            gate.set()
    assert {answer.result().status_code for answer in waiting} == {200}, "their fallback answered"
    assert (way(house.post(CODE))[1], state()) == ("dear", "0.0")
    assert "target rests" not in caplog.messages
    house.reload(text.replace("/one/", "/old/"))
    assert (way(house.post(CODE))[1], state()) == ("cheap", "2.0")
    house.reload(text.replace("/one/", "/new/"))
    assert (way(house.post(CODE))[1], state()) == ("dear", "0.0")


def test_what_needs_a_restart_is_named(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.reload(SECOND.replace("deadline: 20s", "threads: 5, deadline: 9s") + "text: {max_tokens: 64}\n")
    assert house.runs_on(SECOND)
    named = [record.__dict__["key"] for record in caplog.records if record.levelno == logging.WARNING]
    waiting = ["embedding.threads", "embedding.deadline", "text.max_tokens"]
    assert named == waiting
    caplog.clear()
    house.reload(FIRST.replace("deadline: 20s", "threads: 5, deadline: 9s") + "text: {max_tokens: 64}\n")
    named = [record.__dict__["key"] for record in caplog.records if record.levelno == logging.WARNING]
    assert named == waiting, "until there was one"


def test_a_stream_on_a_model_that_is_removed_ends_as_it_began(house: House) -> None:
    events = [b'data: {"number": %d}\n\n' % number for number in range(40)] + [b"data: [DONE]\n\n"]
    gate = threading.Event()

    def script(exchange: Exchange) -> None:
        exchange.send(SSE + events[0])
        assert gate.wait(10)
        exchange.send(b"".join(events[1:]))
        exchange.cut()

    house.raw.script = script
    body = {"model": "dear", "messages": [{"role": "user", "content": CODE}], "stream": True}
    with house.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        pieces = answer.iter_raw()
        got = next(pieces)
        house.reload(SECOND)
        house.reload(SECOND.replace("thrifty", "frugal"))
        assert house.post(CODE, "dear").status_code == 404
        gate.set()
        got += b"".join(pieces)
    assert got == b"".join(events)
    assert way(answer) == ("pinned", "dear", "one/dear-1")
    house.wait_for_connections(0)


def test_health_checks_are_those_of_the_new_config_while_the_old_one_is_in_use(house: House) -> None:
    begun, gate = threading.Event(), threading.Event()
    checks: queue.Queue[bytes] = queue.Queue()

    def script(exchange: Exchange) -> None:
        if exchange.line.startswith(b"GET "):
            checks.put(exchange.line)
            exchange.answer()
            return
        begun.set()
        assert gate.wait(10)
        exchange.answer()

    def checked(path: str) -> str:
        return FIRST.replace("api_key: sk-one", f"api_key: sk-one, health_check: {{path: /{path}, every: 20ms}}")

    house.raw.script = script
    house.reload(checked("old"))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(house.post, CODE)
        try:
            assert begun.wait(10)
            house.reload(checked("new"))
            seen: list[bytes] = []
            while sum(b"/new " in line for line in seen) < 5:
                seen.append(checks.get(timeout=10))
        finally:
            gate.set()
        assert answer.result().status_code == 200
    last_of_old = max((number for number, line in enumerate(seen) if b"/old " in line), default=0)
    assert sum(b"/new " in line for line in seen[:last_of_old]) <= 1, "but for one that was on its way"


def test_the_app_can_end_while_an_old_config_is_in_use(house: House) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(SSE + b'data: {"number": 1}\n\n')
        exchange.wait_until_left(10)

    house.raw.script = script
    body = {"model": "dear", "messages": [], "stream": True}
    with house.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_raw())
        house.reload(SECOND)
    house.wait_for_connections(0)


@pytest.mark.slow
def test_under_load_every_answer_is_of_one_config_and_none_is_lost(house: House) -> None:
    clients, stop = 12, threading.Event()
    files = {"one": FIRST, "two": SECOND}

    def ask(number: int) -> tuple[int, set[str]]:
        """One client; how many answers it got, and from which files."""
        prompt, count, seen = (CODE, OTHER)[number % 2], 0, set()
        with httpx.Client(base_url=house.http.base_url, timeout=20) as http:
            while not stop.is_set():
                messages = [{"role": "user", "content": prompt}]
                answer = http.post("/v1/chat/completions", json={"model": "auto", "messages": messages})
                assert answer.status_code == 200, answer.text
                url, key, sent = answer.json()["told"]
                of = url.split("/")[1]
                assert way(answer) == WAYS[files[of]][prompt]
                assert answer.headers["x-pointsman-target"] == f"{of}/{sent['model']}"
                assert (key, sent["metadata"]) == (f"Bearer sk-{of}", {"of": of})
                assert sent.get("tier") == (of if prompt == CODE else None)
                seen.add(of)
                count += 1
        return count, seen

    def script(exchange: Exchange) -> None:
        (key,) = exchange.values(b"authorization")
        told = [exchange.line.split()[1].decode(), key.decode(), json.loads(exchange.body)]
        exchange.answer(json.dumps({"told": told}).encode())

    house.raw.script = script
    with ThreadPoolExecutor(clients) as pool:
        asked = [pool.submit(ask, number) for number in range(clients)]
        try:
            for step in range(20):
                if step % 4 == 3:
                    house.reload(*((BAD_YAML, "invalid"), (BAD_GATE, "tests_failed"))[step // 4 % 2])
                else:
                    house.reload((SECOND, FIRST)[(step - step // 4) % 2])
        finally:
            stop.set()
        results = [future.result(30) for future in asked]
    assert house.reloads() == {"ok": 15, "invalid": 3, "tests_failed": 2, "error": 0, "unchanged": 0}
    assert sum(count for count, _ in results) > 100
    for prompt in (0, 1):
        assert len(set().union(*(seen for _, seen in results[prompt::2]))) == 2, "both configs were met"
    house.reload(FIRST)
    house.wait_for_connections(0)


def test_connections_that_are_kept_have_the_new_limits(house: House) -> None:
    def flood(exchange: Exchange) -> None:
        exchange.send(SSE)
        while True:
            exchange.send(b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n' * 1_000)

    house.raw.script = flood
    port, left = house.http.base_url.port, 'pointsman_client_disconnects_total{phase="answer"} 1.0'
    assert port is not None
    with connected(port) as talkative, connected(port) as deaf:
        for client in (talkative, deaf):
            client.sendall(GET)
            assert Reader(client).answer().status == 200
        house.reload(f"{FIRST}server: {{max_head: 1024, send_timeout: 200ms}}\n")
        talkative.sendall(GET[:-2] + b"x-long: " + b"x" * 1024 + b"\r\n\r\n")
        assert Reader(talkative).answer().status == 431
        asked = b'{"model":"cheap","messages":[],"stream":true}'
        deaf.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(asked) + asked)
        deadline = time.monotonic() + 20
        while left not in house.http.get("/metrics").text:
            assert time.monotonic() < deadline
