"""What is not routed: where it goes, that it arrives as it was sent, and how it ends."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.endpoints.raw_http import head, receive, talk
from tests.relay.wire import Exchange, House
from tests.relay.wire import house as open_house

ROUTES = """
version: 1
upstreams:
  raw: {base_url: "${RAW}/v1"}
  keyed: {base_url: "${RAW}/v1", api_key: "${KEY}"}
  hasty: {base_url: "${RAW}/v1", timeouts: {first_token: 300ms, idle: 1s}}
  claude: {base_url: "${RAW}/claude/v1", protocol: anthropic, api_key: "${KEY}"}
  sim: {base_url: "${SIM}/east/v1"}
models:
  raw: {target: {upstream: raw, name: raw-model-with-a-name}, price: {input: 1, output: 2}}
  keyed: {target: {upstream: keyed, name: k}}
  hasty: {target: {upstream: hasty, name: hasty-model}}
  opus: {target: {upstream: claude, name: claude-opus}}
  sim: {target: {upstream: sim, name: gpt-4o-mini}}
rewrite: []
default: raw
retry: {free: 1000}
server: {body_timeout: 500ms}
"""
JSON = b"content-type: application/json"
BOUNDARY = b"b0undary"
FORM = {"content-type": "multipart/form-data; boundary=b0undary"}


def form(model: bytes, file: bytes = b"\x00\xff\r\nsound", *, first: bool = True) -> bytes:
    parts = [
        b'Content-Disposition: form-data; name="model"\r\n\r\n' + model,
        b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n' + file,
    ]
    ordered = parts if first else parts[::-1]
    return b"".join(b"--" + BOUNDARY + b"\r\n" + part + b"\r\n" for part in ordered) + b"--" + BOUNDARY + b"--\r\n"


@pytest.fixture(scope="module")
def passing() -> Iterator[House]:
    with open_house(ROUTES) as house:
        yield house


@pytest.fixture
def house(passing: House) -> Iterator[House]:
    """Its upstream plain at first; at the end no request is left."""
    passing.raw.exchanges.clear()
    passing.raw.script = lambda exchange: exchange.answer(b'{"ok": true}', JSON)
    passing.raw.holds_bodies = True
    yield passing
    passing.wait_for_metric("pointsman_in_flight", 0)


def target(answer: httpx.Response) -> str:
    return str(answer.headers["x-pointsman-target"])


# Where it goes


@pytest.mark.parametrize(
    ("body", "headers", "where", "named"),
    [
        pytest.param({"model": "keyed"}, {}, "keyed/k", "keyed", id="by-the-body"),
        pytest.param({"model": "auto"}, {}, "raw/raw-model-with-a-name", "raw", id="auto-is-the-default"),
        pytest.param({"model": "tts-1"}, {}, "raw/raw-model-with-a-name", None, id="unknown-here"),
        pytest.param({"input": "x"}, {}, "raw/raw-model-with-a-name", None, id="none"),
        pytest.param({"model": 3}, {}, "raw/raw-model-with-a-name", None, id="no-name"),
        pytest.param({"model": "tts-1"}, {"x-pointsman-model": "keyed"}, "keyed/k", "keyed", id="by-header"),
        pytest.param({"model": "raw"}, {"x-pointsman-model": "keyed"}, "keyed/k", "keyed", id="the-header-insists"),
    ],
)
def test_a_body_goes_to_the_model_that_it_names(
    house: House, body: Any, headers: dict[str, str], where: str, named: str | None
) -> None:
    answer = house.http.post("/v1/embeddings", json=body, headers=headers)
    assert (answer.json(), target(answer), answer.headers.get("x-pointsman-model")) == ({"ok": True}, where, named)
    assert (answer.headers["x-pointsman-route"], answer.headers["x-pointsman-attempts"]) == ("passthrough", "1")
    assert not any(name in answer.headers for name in ("x-pointsman-reason", "x-pointsman-decision-ms"))
    assert house.raw.last.line == b"POST /v1/embeddings HTTP/1.1"


@pytest.mark.parametrize(
    ("headers", "where"),
    [
        pytest.param({}, "raw/raw-model-with-a-name", id="the-default"),
        pytest.param({"x-pointsman-model": "keyed"}, "keyed/k", id="by-header"),
        pytest.param({"anthropic-version": "2023-06-01"}, "claude/claude-opus", id="anthropics"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "POST"])
def test_what_has_no_body(house: House, method: str, headers: dict[str, str], where: str) -> None:
    answer = house.http.request(method, "/v1/files/file-1", headers=headers)
    assert (answer.status_code, target(answer)) == (200, where)
    assert house.raw.last.line.startswith(f"{method} ".encode())
    assert house.raw.last.line.endswith(b"/v1/files/file-1 HTTP/1.1")


def test_a_model_in_the_header_that_is_not_there(house: House) -> None:
    answer = house.http.get("/v1/files", headers={"x-pointsman-model": "nobody"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert house.raw.exchanges == []


def test_anthropics_paths_speak_its_protocol(house: House) -> None:
    answer = house.http.post("/v1/messages/count_tokens", json={"model": "claude-x", "messages": []})
    assert target(answer) == "claude/claude-opus"
    assert house.raw.last.line == b"POST /claude/v1/messages/count_tokens HTTP/1.1"
    house.raw.script = Exchange.cut
    told = house.http.post("/v1/messages/batches", json={}).json()
    assert (told["type"], told["error"]["type"]) == ("error", "api_error")


# As it was sent


@pytest.mark.parametrize(
    ("body", "arrives"),
    [
        pytest.param(
            b'{ "seed":12345678901234567890,\r\n"model" : "keyed" ,"x":1.50,"y":"\\u00e9" }\n',
            b'{ "seed":12345678901234567890,\r\n"model" : "k" ,"x":1.50,"y":"\\u00e9" }\n',
            id="replaced",
        ),
        pytest.param(
            b'{"a":{"model":"keyed"},"model":"keyed"}', b'{"a":{"model":"keyed"},"model":"k"}', id="at-the-top"
        ),
        pytest.param(b'{"model":"tts-1" , "x":[1,  2]}', b'{"model":"tts-1" , "x":[1,  2]}', id="unknown-here"),
        pytest.param(b'{"model": "keyed"', b'{"model": "keyed"', id="no-json"),
        pytest.param(b'[{"model": "keyed"}]', b'[{"model": "keyed"}]', id="a-list"),
        pytest.param(b"\xff\xfe", b"\xff\xfe", id="no-text"),
    ],
)
def test_of_a_json_body_the_model_is_replaced_and_nothing_else(house: House, body: bytes, arrives: bytes) -> None:
    answer = house.http.post(
        "/v1/embeddings", content=body, headers={"content-type": "application/json; charset=utf-8"}
    )
    assert answer.status_code == 200
    assert house.raw.last.body == arrives
    assert house.raw.last.values(b"content-length") == [b"%d" % len(arrives)]


@pytest.mark.parametrize(
    ("sent", "arrives", "where"),
    [
        pytest.param(form(b"raw"), form(b"raw-model-with-a-name"), "raw/raw-model-with-a-name", id="longer"),
        pytest.param(form(b"keyed"), form(b"k"), "keyed/k", id="shorter"),
        pytest.param(form(b"keyed", first=False), form(b"k", first=False), "keyed/k", id="after-the-file"),
        pytest.param(form(b"whisper-1"), form(b"whisper-1"), "raw/raw-model-with-a-name", id="unknown-here"),
        pytest.param(
            form(b"keyed", bytes(200_000), first=False), form(b"keyed", bytes(200_000), first=False),
            "raw/raw-model-with-a-name", id="after-a-large-file-nobody-looks",
        ),
        pytest.param(form(b"x", form(b"keyed")), form(b"x", form(b"keyed")), "raw/raw-model-with-a-name", id="in-a-file"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_of_a_form_the_model_is_replaced_and_nothing_else(
    house: House, sent: bytes, arrives: bytes, where: str, is_chunked: bool
) -> None:
    content: Any = (sent[at : at + 50_000] for at in range(0, len(sent), 50_000)) if is_chunked else sent
    answer = house.http.post("/v1/audio/transcriptions", content=content, headers=FORM)
    assert (answer.status_code, target(answer)) == (200, where)
    assert house.raw.last.body == arrives
    assert house.raw.last.values(b"content-type") == [FORM["content-type"].encode()]
    assert house.raw.last.values(b"content-length") == ([] if is_chunked else [b"%d" % len(arrives)])


def test_a_form_goes_where_the_header_says_and_says_so_itself(house: House) -> None:
    headers = {**FORM, "x-pointsman-model": "keyed"}
    answer = house.http.post("/v1/audio/transcriptions", content=form(b"whisper-1"), headers=headers)
    assert (target(answer), house.raw.last.body) == ("keyed/k", form(b"k"))


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"content-type": "application/octet-stream"}, id="bytes"),
        pytest.param({"content-type": "application/json", "content-encoding": "gzip"}, id="compressed"),
        pytest.param({}, id="of-no-kind"),
        pytest.param({"content-type": "multipart/form-data"}, id="a-form-without-boundary"),
    ],
)
def test_a_body_of_another_kind_passes_untouched(house: House, headers: dict[str, str]) -> None:
    body = b'{"model": "keyed"}' + bytes(range(256))
    answer = house.http.put("/v1/uploads/1", content=body, headers=headers)
    assert (answer.status_code, house.raw.last.body) == (200, body)
    assert house.raw.last.values(b"content-encoding") == [
        value.encode() for name, value in headers.items() if name == "content-encoding"
    ]


@pytest.mark.parametrize(
    "query", ["?limit=2&after=file-1", "?a=1&a=2&b=", "?x=%2F..%2F&y=%20+", "?q=caf%C3%A9", "?include%5B%5D=a"]
)
def test_queries_pass(house: House, query: str) -> None:
    assert house.http.get(f"{house.url}/v1/files{query}").status_code == 200
    assert house.raw.last.line == f"GET /v1/files{query} HTTP/1.1".encode()


def test_what_is_escaped_in_a_path_stays_so(house: House) -> None:
    answer = talk(house.port, head("GET /v1/files/a%20b%2Bc~d HTTP/1.1"))
    assert (answer.status, house.raw.last.line) == (200, b"GET /v1/files/a%20b%2Bc~d HTTP/1.1")


def test_the_head_alone(house: House) -> None:
    house.raw.script = lambda exchange: exchange.send(
        b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\ncontent-type: application/json\r\netag: x\r\n\r\n"
    )
    answer = house.http.head("/v1/files/file-1")
    assert (answer.status_code, answer.content) == (200, b"")
    assert (answer.headers["content-length"], answer.headers["etag"]) == ("1234", "x")


@pytest.mark.parametrize("status", [200, 201, 204, 302, 304, 400, 404, 418])
def test_the_answer_is_the_upstreams(house: House, status: int) -> None:
    body = b"" if status in (204, 304) else b" {}\n"
    length = b"content-length: %d\r\n" % len(body) if body else b""
    house.raw.script = lambda exchange: exchange.send(
        b"HTTP/1.1 %d Theirs\r\nx-theirs: a\r\nlocation: /elsewhere\r\n%b\r\n%b" % (status, length, body)
    )
    answer = house.http.get("/v1/files/file-1")
    assert (answer.status_code, answer.content) == (status, body)
    assert (answer.headers["x-theirs"], answer.headers["location"]) == ("a", "/elsewhere")


def test_an_upstreams_key_takes_the_place_of_the_clients(house: House) -> None:
    sent = {"authorization": "Bearer sk-client", "x-api-key": "sk-client", "api-key": "sk-client"}

    def arrived(model: str) -> tuple[list[bytes], list[bytes], list[bytes]]:
        assert house.http.get("/v1/files", headers={**sent, "x-pointsman-model": model}).status_code == 200
        exchange = house.raw.last
        assert not any(name.startswith(b"x-pointsman") for name, _ in exchange.headers)
        return exchange.values(b"authorization"), exchange.values(b"x-api-key"), exchange.values(b"api-key")

    assert arrived("keyed") == ([b"Bearer sk-operator"], [], [])
    assert arrived("opus") == ([], [b"sk-operator"], [])
    assert arrived("raw") == ([b"Bearer sk-client"], [b"sk-client"], [b"sk-client"])


# As it arrives


def test_an_upload_streams(house: House) -> None:
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
        yield b"x" * 100_000
        assert arrived.wait(3)
        yield b"y" * 100_000

    answer = house.http.post("/v1/files", content=content(), headers={"content-type": "application/octet-stream"})
    assert answer.json() == {"bytes": 200_000}


def test_a_form_streams_once_its_beginning_is_here(house: House) -> None:
    arrived = threading.Event()
    sent = form(b"keyed", b"z" * 300_000)
    got: list[bytes] = []

    def script(exchange: Exchange) -> None:
        for piece in exchange.pieces():
            got.append(piece)
            arrived.set()
        exchange.answer(b"{}", JSON)

    house.raw.script, house.raw.holds_bodies = script, False

    def content() -> Iterator[bytes]:
        yield sent[:70_000]
        assert arrived.wait(3)
        yield sent[70_000:]

    headers = {**FORM, "content-length": str(len(sent))}
    assert house.http.post("/v1/audio/transcriptions", content=content(), headers=headers).status_code == 200
    assert b"".join(got) == form(b"k", b"z" * 300_000)


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
    arrived, left = threading.Event(), threading.Event()

    def script(exchange: Exchange) -> None:
        for _ in exchange.pieces():
            arrived.set()
        left.set()
        exchange.cut()

    house.raw.script, house.raw.holds_bodies = script, False
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
        client.sendall(form(b"keyed")[:100])
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
    arrived, left = threading.Event(), threading.Event()

    def script(exchange: Exchange) -> None:
        for _ in exchange.pieces():
            arrived.set()
        left.set()
        exchange.cut()

    house.raw.script, house.raw.holds_bodies = script, False
    with socket.create_connection(("127.0.0.1", house.port), timeout=5) as client:
        client.sendall(head("POST /v1/files HTTP/1.1", b"content-length: 1000000"))
        client.sendall(b"x" * 100_000)
        assert arrived.wait(3)
        answer = receive(client)
    assert (answer.status, answer.error()["code"]) == (408, "body_timeout")
    assert answer.headers[b"connection"] == b"close"
    assert left.wait(3), "the upstream is not left waiting"


def test_a_form_that_falls_silent_before_it_is_understood_is_a_408(house: House) -> None:
    with socket.create_connection(("127.0.0.1", house.port), timeout=5) as client:
        client.sendall(
            head(
                "POST /v1/files HTTP/1.1", b"content-length: 1000000", b"content-type: " + FORM["content-type"].encode()
            )
        )
        client.sendall(form(b"keyed")[:100])
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
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "first_token_timeout")
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
        ("POST", "/v1/messages/count_tokens", 3),
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


# What is not passed


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin", "/v1/files/../../admin", "/v1/files/%2e%2e/%2e%2e/admin", "/v1/files/..%2f..%2fadmin",
        "/v1/files/..%5c..%5cadmin", "/v1/files\\..\\admin", "/v1/./files", "/v1//files", "/v1/files//1", "/v1/files/",
        "/v1/%2e%2e", "/v1/files/%00", "/v1/files/%0d%0aHost:%20x", "/v1/files/%7f", "/v1/files/\xe9",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_leads_out_is_not_there(house: House, method: str, path: str) -> None:
    line = f"{method} {path} HTTP/1.1".encode("latin-1")
    data = b"\r\n".join([line, b"Host: a", b"Connection: close", b"Content-Length: 2", JSON]) + b"\r\n\r\n{}"
    answer = talk(house.port, data)
    assert answer.status in (400, 404)
    assert house.raw.exchanges == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/Chat/Completions", "/v1/chat/COMPLETIONS", "/v1/chat/completions;x",
        "/v1/chat%2Fcompletions/", "/v1/chat/completions/", "/v1/%63hat/completions%3Bx", "/v1/Completions",
        "/v1/RESPONSES", "/v1/responses;a=b", "/v1/Messages", "/v1/messages/",
    ],
)  # fmt: skip
def test_what_is_routed_cannot_be_passed_under_another_spelling(house: House, path: str) -> None:
    """An upstream that is lenient about paths would answer it past all rules."""
    body = b'{"model":"keyed","messages":[]}'
    answer = talk(house.port, head(f"POST {path} HTTP/1.1", JSON, b"content-length: %d" % len(body)) + body)
    assert answer.status == 404
    assert house.raw.exchanges == []


@pytest.mark.parametrize("path", ["/v1/chat%2fcompletions", "/v1/%63hat/completions"])
def test_what_is_routed_is_routed_however_it_is_escaped(house: House, path: str) -> None:
    body = b'{"model":"keyed","messages":[]}'
    answer = talk(house.port, head(f"POST {path} HTTP/1.1", JSON, b"content-length: %d" % len(body)) + body)
    assert (answer.status, answer.headers[b"x-pointsman-reason"]) == (200, b"pinned")
    assert house.raw.last.line == b"POST /v1/chat/completions HTTP/1.1"


def test_another_method_on_a_routed_path_is_passed(house: House) -> None:
    assert house.http.get("/v1/chat/completions").status_code == 200
    assert house.raw.last.line == b"GET /v1/chat/completions HTTP/1.1"
    for path in ("/v1/chat/completions/chatcmpl-1", "/v1/responses/resp_1", "/v1/responses/resp_1/input_items"):
        assert house.http.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/v1/targets", "/v1/models/x/y", "/v1/route", "/v1/feedback"])
def test_what_is_answered_here_is_never_passed(house: House, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "PUT"):
        house.http.request(method, path, json={})
    assert house.raw.exchanges == []


@pytest.mark.parametrize(
    ("globs", "passed"),
    [
        pytest.param("[]", set(), id="nothing"),
        pytest.param('["audio/*"]', {"audio/speech"}, id="one"),
        pytest.param('["files*", embeddings]', {"files", "files/1/content", "embeddings"}, id="some"),
    ],
)
def test_only_what_routes_yaml_lists_is_passed(globs: str, passed: set[str]) -> None:
    with open_house(f"{ROUTES}passthrough: {globs}\n") as house:
        house.raw.script = lambda exchange: exchange.answer(b"{}", JSON)
        for path in ("audio/speech", "files", "files/1/content", "embeddings", "Files", "batches"):
            answer = house.http.post(f"/v1/{path}", json={})
            assert answer.status_code == (200 if path in passed else 404), path
            if path not in passed:
                assert answer.json()["error"]["code"] == "unknown_url"
        assert len(house.raw.exchanges) == len(passed)
        assert house.chat("sim").status_code == 200


def test_nobody_speaks_anthropics_protocol() -> None:
    text = re.sub(r"(?m)^  (claude|opus): .*\n", "", ROUTES)
    with open_house(text) as house:
        answer = house.http.get("/v1/files", headers={"anthropic-version": "2023-06-01"})
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")
        assert house.raw.exchanges == []


# What is known of it afterwards


def test_metrics_and_the_log_line(house: House, caplog: pytest.LogCaptureFixture) -> None:
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    house.raw.script = lambda exchange: exchange.answer(json.dumps({"usage": usage}).encode(), JSON)
    requests = 'pointsman_requests_total{model="raw",route="passthrough",status="200"}'
    unnamed = 'pointsman_requests_total{model="-",route="passthrough",status="200"}'
    attempts = 'pointsman_attempts_total{outcome="ok",target="raw/raw-model-with-a-name"}'
    tokens = 'pointsman_tokens_total{kind="prompt",model="raw"}'
    series = (requests, unnamed, attempts, tokens, 'pointsman_first_token_seconds_count{model="raw"}')
    before = [house.metric(name) for name in series]
    with caplog.at_level(logging.INFO, "pointsman.request"):
        assert house.http.post("/v1/embeddings", json={"model": "raw", "input": "a secret"}).status_code == 200
        assert house.http.get("/v1/files?after=a-secret").status_code == 200
        house.wait_for_metric(unnamed, before[1] + 1)
    after = [house.metric(name) for name in series]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 2, 7, 0]
    assert "pointsman_decisions_total" not in {
        line.split("{")[0] for line in house.http.get("/metrics").text.splitlines() if 'route="passthrough"' in line
    }
    named, plain = (record.__dict__["fields"] for record in caplog.records if record.getMessage() == "request")
    assert (named["path"], named["requested"], named["model"]) == ("/v1/embeddings", "raw", "raw")
    assert (named["route"], named["outcome"], named["status"]) == ("passthrough", "ok", 200)
    assert (named["tokens"]["prompt"], named["cost_usd"]) == (7, 7e-6)
    assert (plain["path"], plain["target"]) == ("/v1/files", "raw/raw-model-with-a-name")
    assert "model" not in plain
    assert "secret" not in json.dumps([named, plain])
