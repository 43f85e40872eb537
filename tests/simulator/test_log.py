"""What the simulator remembers of its requests."""

import base64
import threading
import time

import httpx
import pytest

from proxy.simulator import Log
from tests.simulator.conftest import Upstream

CHAT = "/east/v1/chat/completions"


def opened(log: Log, body: bytes = b"{}", path: str = "/v1/x") -> int:
    return log.open("POST", path, "", [], body, None).number


def test_a_request_is_kept_byte_for_byte(upstream: Upstream) -> None:
    body = b'{ "model" : "m","messages":[{"role":"user","content":"\xc3\xa9"}],  "big":9007199254740993 }'
    headers = [("X-One", "1"), ("x-one", "2"), ("authorization", "Bearer sk-secret")]
    upstream.http.post(f"{CHAT}?a=1&b", content=body, headers=headers)
    entry = upstream.simulator.log.wait_for(lambda entry: entry.complete)
    assert (entry.method, entry.path, entry.query, entry.body) == ("POST", CHAT, "a=1&b", body)
    assert [value for name, value in entry.headers if name == b"x-one"] == [b"1", b"2"]
    assert entry.header("Authorization") == "Bearer sk-secret"
    assert (entry.status, entry.disconnected_at) == (200, None)


def test_over_http(upstream: Upstream) -> None:
    upstream.chat()
    upstream.simulator.log.wait_for(lambda entry: entry.complete)
    (entry,) = upstream.http.get("/_simulator/log").json()["entries"]
    assert base64.b64decode(entry["body_base64"]) == upstream.simulator.log.last.body
    assert (entry["path"], entry["complete"], entry["disconnected_at"]) == (CHAT, True, None)
    assert ["content-type", "application/json"] in entry["headers"]
    for method in ("POST", "DELETE"):
        upstream.chat()
        assert upstream.http.request(method, "/_simulator/log").status_code == 204
        assert upstream.http.get("/_simulator/log").json() == {"entries": []}
    assert upstream.http.put("/_simulator/log").status_code == 405


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_is_noticed_while_pacing(upstream: Upstream, stream: bool) -> None:
    headers = {"x-simulate-token-ms": "5000"}
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    with pytest.raises(httpx.ReadTimeout):
        upstream.http.post(CHAT, json=body, headers=headers, timeout=0.05)
    left = time.monotonic()
    entry = upstream.simulator.log.wait_for(lambda entry: entry.disconnected_at is not None)
    assert abs((entry.disconnected_at or 0) - left) < 0.1
    assert not entry.complete


def test_a_client_that_leaves_ends_an_instant_stream(upstream: Upstream) -> None:
    headers = {"x-simulate-tokens": "100000"}
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with upstream.http.stream("POST", CHAT, json=body, headers=headers) as answer:
        next(answer.iter_raw())
    entry = upstream.simulator.log.wait_for(lambda entry: entry.ended_at is not None)
    assert entry.disconnected_at is not None
    assert not entry.complete
    assert entry.events < 100_000


def test_wait_for_wakes_up_in_another_thread() -> None:
    log = Log()
    threading.Timer(0.02, opened, [log], {"path": "/late"}).start()
    assert log.wait_for(lambda entry: entry.path == "/late").number == 1


def test_wait_for_tells_what_there_was() -> None:
    log = Log()
    with pytest.raises(TimeoutError, match="nothing"):
        log.wait_for(lambda entry: True, timeout=0.01)
    opened(log, path="/v1/poems")
    with pytest.raises(TimeoutError, match="#1 POST /v1/poems"):
        log.wait_for(lambda entry: entry.complete, timeout=0.01)


def test_bounded_in_number_and_bytes() -> None:
    log = Log(kept_entries=3, kept_bytes=100)
    for _ in range(5):
        opened(log)
    assert [entry.number for entry in log.entries()] == [3, 4, 5]
    opened(log, b"x" * 98)
    assert [entry.number for entry in log.entries()] == [5, 6]
    opened(log, b"x" * 200)
    assert [entry.number for entry in log.entries()] == [7]
    log.clear()
    assert len(log) == 0
    opened(log)
    opened(log)
    assert len(log) == 2
