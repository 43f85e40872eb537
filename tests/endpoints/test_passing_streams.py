"""What is not routed, on its way: uploads and downloads of any size, and how they end."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.endpoints.passing import FORM, JSON, form, house, passing
from tests.endpoints.raw_http import head, receive
from tests.relay.wire import Exchange, House

__all__ = ["house", "passing"]


_BYTES = {"content-type": "application/octet-stream"}


# As it arrives


def reads_on(house: House) -> tuple[threading.Event, threading.Event]:
    """Of an upstream that reads a body as it arrives and answers nothing: that it begins to, and that it must stop."""
    arrived, left = threading.Event(), threading.Event()

    def script(exchange: Exchange) -> None:
        for _ in exchange.pieces():
            arrived.set()
        left.set()
        exchange.cut()

    house.raw.script, house.raw.holds_bodies = script, False
    return arrived, left


@pytest.mark.parametrize("begins", [b"x", b"\n"], ids=["text", "blanks"])
def test_an_upload_streams(house: House, begins: bytes) -> None:
    """The upstream has the first bytes before the client has sent the last."""
    arrived = threading.Event()

    def script(exchange: Exchange) -> None:
        body = b""
        for piece in exchange.pieces():
            body += piece
            arrived.set()
        exchange.answer(json.dumps({"bytes": len(body)}).encode(), JSON)

    house.raw.script, house.raw.holds_bodies = script, False

    def content() -> Iterator[bytes]:
        yield begins * 100_000
        assert arrived.wait(3)
        yield b"y" * 100_000

    answer = house.http.post("/v1/files", content=content(), headers={"content-type": "application/octet-stream"})
    assert answer.json() == {"bytes": 200_000}


@pytest.mark.parametrize("first", [True, False], ids=["before-the-file", "after-a-file"])
def test_a_form_streams_once_its_model_is_here(house: House, first: bool) -> None:
    arrived = threading.Event()
    file = b"z" * 300_000
    before = b"" if first else form(b"", file, first=False).partition(b"\r\n--b0undary\r\n")[0] + b"\r\n"
    sent = before + form(b"keyed", file)
    got: list[bytes] = []

    def script(exchange: Exchange) -> None:
        for piece in exchange.pieces():
            got.append(piece)
            arrived.set()
        exchange.answer(b"{}", JSON)

    house.raw.script, house.raw.holds_bodies = script, False

    def content() -> Iterator[bytes]:
        yield sent[: len(before) + 70_000]
        assert arrived.wait(3)
        yield sent[len(before) + 70_000 :]

    headers = {**FORM, "content-length": str(len(sent))}
    assert house.http.post("/v1/audio/transcriptions", content=content(), headers=headers).status_code == 200
    assert b"".join(got) == before + form(b"k", file)


def test_a_large_upload_takes_no_memory(house: House) -> None:
    pieces, size = 200, 1 << 20
    before = peak = 0
    arrived = 0

    def script(exchange: Exchange) -> None:
        nonlocal arrived, peak
        for piece in exchange.pieces():
            arrived += len(piece)
            peak = max(peak, _resident())
        exchange.answer(b"{}", JSON)

    house.raw.script, house.raw.holds_bodies = script, False
    piece = bytes(size)
    before = _resident()
    headers = {"content-length": str(pieces * size), "content-type": "application/octet-stream"}
    content = (piece for _ in range(pieces))
    assert house.http.post("/v1/files", content=content, headers=headers, timeout=50).status_code == 200
    assert arrived == pieces * size
    assert peak - before < 24 * 2**20, "upload, proxy and upstream together"


def _resident() -> int:
    """Bytes of memory that this process, and the proxy in it, have."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("kind", [b"audio/mpeg", b"application/octet-stream", b"text/event-stream", b"image/png"])
def test_a_download_streams(house: House, kind: bytes) -> None:
    """The client has the first bytes before the upstream has sent the last."""
    arrived = threading.Event()

    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: 22\r\n\r\ndata: one\n\n" % kind)
        assert arrived.wait(3)
        exchange.send(b"data: two\n\n")

    house.raw.script = script
    with house.http.stream("GET", "/v1/files/1/content") as answer:
        chunks = answer.iter_raw()
        first = next(chunks)
        arrived.set()
        rest = b"".join(chunks)
    assert (first, rest) == (b"data: one\n\n", b"data: two\n\n")


# How it ends


@pytest.mark.parametrize("kind", [b"application/octet-stream", b"multipart/form-data; boundary=b0undary"])
def test_a_client_that_leaves_amid_an_upload_closes_the_upstream(house: House, kind: bytes) -> None:
    arrived, left = reads_on(house)
    phases = {
        phase: house.metric(f'pointsman_client_disconnects_total{{phase="{phase}"}}') for phase in ("body", "upstream")
    }
    with socket.create_connection(("127.0.0.1", house.port)) as client:
        client.sendall(head("POST /v1/files HTTP/1.1", b"content-length: 1000000", b"content-type: " + kind))
        client.sendall(b"x" * 100_000)
        assert arrived.wait(3)
        began = time.monotonic()
    assert left.wait(3)
    assert time.monotonic() - began < 1
    house.wait_for_metric("pointsman_in_flight", 0)
    assert house.metric('pointsman_client_disconnects_total{phase="upstream"}') == phases["upstream"] + 1
    assert house.metric('pointsman_client_disconnects_total{phase="body"}') == phases["body"]


def test_a_client_that_leaves_before_its_form_is_understood_never_reaches_an_upstream(house: House) -> None:
    before = house.metric('pointsman_client_disconnects_total{phase="body"}')
    with socket.create_connection(("127.0.0.1", house.port)) as client:
        client.sendall(
            head(
                "POST /v1/files HTTP/1.1", b"content-length: 1000000", b"content-type: " + FORM["content-type"].encode()
            )
        )
        client.sendall(form(b"keyed")[:60])
        house.wait_for_metric("pointsman_in_flight", 1)
    house.wait_for_metric('pointsman_client_disconnects_total{phase="body"}', before + 1)
    assert house.raw.exchanges == []


@pytest.mark.parametrize("has_length", [True, False])
def test_a_client_that_leaves_amid_a_download_closes_the_upstream(house: House, has_length: bool) -> None:
    left: list[float] = []
    gone = threading.Event()

    def script(exchange: Exchange) -> None:
        length = b"content-length: 99\r\n" if has_length else b"connection: close\r\n"
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\n" + length + b"\r\nsound")
        left.append(exchange.wait_until_left())
        gone.set()

    house.raw.script = script
    with house.http.stream("GET", "/v1/files/1/content") as answer:
        assert next(answer.iter_raw()) == b"sound"
        began = time.monotonic()
    assert gone.wait(3)
    assert left[0] - began < 0.5


def test_an_upload_that_falls_silent_is_a_408(house: House) -> None:
    arrived, left = reads_on(house)
    with socket.create_connection(("127.0.0.1", house.port), timeout=5) as client:
        client.sendall(head("POST /v1/files HTTP/1.1", b"content-length: 1000000"))
        client.sendall(b"x" * 100_000)
        assert arrived.wait(3)
        answer = receive(client)
    assert (answer.status, answer.error()["code"]) == (408, "body_timeout")
    assert answer.headers[b"connection"] == b"close"
    assert left.wait(3), "the upstream is not left waiting"


@pytest.mark.parametrize(
    ("kind", "begun"),
    [
        pytest.param(FORM["content-type"], form(b"keyed")[:60], id="form"),
        pytest.param("application/x-www-form-urlencoded", b'{"model":"keyed","x":"', id="unlabelled-json"),
    ],
)
@pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
def test_what_is_not_understood_in_time_is_a_408(house: House, kind: str, begun: bytes, drips: bool) -> None:
    with socket.create_connection(("127.0.0.1", house.port), timeout=5) as client:
        client.sendall(
            head("POST /v1/files HTTP/1.1", b"content-length: 1000000", b"content-type: " + kind.encode()) + begun
        )
        drops = 0
        while drips and not select.select([client], [], [], 0.05)[0]:  # of the body's 500 ms
            client.sendall(b"x")
            drops += 1
            assert drops < 60, "it cannot be held for as long as it likes"
        answer = receive(client)
    assert (answer.status, answer.error()["code"]) == (408, "body_timeout")


@pytest.mark.parametrize("is_answered", [True, False])
def test_the_first_answer_is_awaited_from_the_last_byte_on(house: House, is_answered: bool) -> None:
    def script(exchange: Exchange) -> None:
        for _ in exchange.pieces():
            pass
        if is_answered:
            exchange.answer(b"{}", JSON)
        else:
            exchange.wait_until_left()

    house.raw.script, house.raw.holds_bodies = script, False

    def content() -> Iterator[bytes]:
        for _ in range(5):  # longer together than the 300 ms of the deadline
            yield b"x" * 1_000
            time.sleep(0.1)

    headers = {"x-pointsman-model": "hasty", "content-type": "application/octet-stream"}
    began = time.monotonic()
    answer = house.http.post("/v1/files", content=content(), headers=headers)
    if is_answered:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "whole_answer_timeout")
        assert time.monotonic() - began >= 0.5 + 0.3


def test_an_upstream_that_refuses_an_upload_amid_it_is_heard(house: House) -> None:
    answered = threading.Event()

    def script(exchange: Exchange) -> None:
        next(exchange.pieces())
        exchange.answer(b'{"error": {"message": "too large"}}', JSON, b"connection: close", status=b"413 Too Large")
        answered.set()
        exchange.wait_until_left()

    house.raw.script, house.raw.holds_bodies = lambda exchange: _forgiving(script, exchange), False
    with socket.create_connection(("127.0.0.1", house.port), timeout=5) as client:
        client.sendall(head("POST /v1/files HTTP/1.1", b"content-length: 1000000"))
        client.sendall(b"x" * 100_000)
        assert answered.wait(3)
        data = b""
        while b"too large" not in data:
            piece = client.recv(65536)
            assert piece, data
            data += piece
    assert data.startswith(b"HTTP/1.1 413 ")


def test_an_upstream_that_refuses_an_upload_and_closes_is_heard(house: House) -> None:
    """What it has not read makes it reset the connection, on which its answer is before that."""

    def script(exchange: Exchange) -> None:
        next(exchange.pieces())
        exchange.answer(b'{"error": {"message": "too large"}}', JSON, b"connection: close", status=b"413 Too Large")
        exchange.cut()

    house.raw.script, house.raw.holds_bodies = script, False
    answers = [house.http.post("/v1/files", content=bytes(5_000_000), headers=_BYTES) for _ in range(10)]
    assert [answer.status_code for answer in answers] == [413] * 10


def test_an_upload_that_is_not_taken_says_nothing_of_the_target(house: House) -> None:
    """It may have been refused, and the refusal lost; chats are answered on."""

    def script(exchange: Exchange) -> None:
        next(exchange.pieces())
        exchange.cut()

    house.raw.script, house.raw.holds_bodies = script, False
    for _ in range(6):
        answer = house.http.post("/v1/files", content=bytes(5_000_000), headers=_BYTES)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unavailable")
    of_raw = next(model for model in house.http.get("/v1/targets").json()["models"] if model["model"] == "raw")
    assert of_raw["targets"][0]["state"] == "closed"


def _forgiving(script: Any, exchange: Exchange) -> None:
    """Where the other side still sends when it is closed."""
    try:
        script(exchange)
    except AssertionError:
        exchange.cut()


@pytest.mark.parametrize(
    ("method", "path", "times"),
    [
        *[(method, "/v1/files/1", 3) for method in ("GET", "HEAD", "DELETE", "PUT")],
        *[("POST", f"/v1/{path}", 3) for path in ("embeddings", "moderations", "images/generations", "audio/speech")],
        *[("POST", f"/v1/{path}", 3) for path in ("messages/count_tokens", "responses/input_tokens")],
        *[("POST", f"/v1/{path}", 1) for path in ("batches", "files", "fine_tuning/jobs", "threads/1/runs")],
        ("PATCH", "/v1/files/1", 1),
    ],
)
def test_what_leaves_something_behind_is_asked_for_once(house: House, method: str, path: str, times: int) -> None:
    house.raw.script = Exchange.cut
    body = None if method in ("GET", "HEAD", "DELETE") else {"x": 1}
    answer = house.http.request(method, path, json=body)
    assert (answer.status_code, answer.headers["x-pointsman-attempts"]) == (502, str(times))
    assert len(house.raw.exchanges) == times
    house.raw.script = Exchange.answer
    _recover(house)


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream"])
def test_what_is_asked_for_once_meets_no_connection_that_is_being_closed(house: House, kind: str) -> None:
    """An upstream that has closed an idle one has not read what was sent on it, and a client cannot know that."""
    house.raw.script = lambda exchange: exchange.answer(b"{}", JSON)
    for _ in range(2):
        assert house.http.get("/v1/files").status_code == 200
    seen = {exchange.connection for exchange in house.raw.exchanges}
    assert len(seen) == 1, "what may be asked again takes a connection that was kept"

    def script(exchange: Exchange) -> None:
        if exchange.connection in seen:
            exchange.cut()
        else:
            seen.add(exchange.connection)
            exchange.answer(b"{}", JSON)

    house.raw.script = script
    for _ in range(3):
        answer = house.http.post("/v1/batches", content=b'{"x": 1}', headers={"content-type": kind})
        assert (answer.status_code, answer.headers["x-pointsman-attempts"]) == (200, "1")


def test_an_upload_is_sent_once(house: House) -> None:
    house.raw.script = Exchange.cut
    for path in ("/v1/audio/transcriptions", "/v1/files"):
        answer = house.http.post(path, content=form(b"raw"), headers=FORM)
        assert (answer.status_code, answer.headers["x-pointsman-attempts"]) == (502, "1")
    assert len(house.raw.exchanges) == 2
    _recover(house)


def test_a_lost_connection_is_made_good(house: House) -> None:
    def script(exchange: Exchange) -> None:
        if len(house.raw.exchanges) == 1:
            exchange.cut()
        else:
            exchange.answer(b'{"ok": true}', JSON)

    house.raw.script = script
    answer = house.http.get("/v1/files")
    assert (answer.json(), answer.headers["x-pointsman-attempts"]) == ({"ok": True}, "2")


def _recover(house: House) -> None:
    """Let the targets stand well again, so that none rests when the next test comes."""
    house.raw.script = lambda exchange: exchange.answer(b"{}", JSON)
    for model in ("raw", "opus"):
        assert house.http.get("/v1/files", headers={"x-pointsman-model": model}).status_code == 200
