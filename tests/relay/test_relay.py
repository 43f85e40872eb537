"""An answer on its way: its bytes, its pace, and clients that leave."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import httpx
import pytest

from tests.relay.wire import MESSAGES, SSE, Exchange, House
from tests.relay.wire import house as open_house

EVENTS = [b'data: {"n":1, "x": "\xc3\xa9"}\n\n', b": ping\n\n", b'data: {"n":2}\n\n', b"data: [DONE]\n\n"]
BOUND_S = 1.0  # 0.1 s is what is promised; a busy machine may be late


def _chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


BODY = b'{"id" :"chatcmpl-1",\r\n "big":12345678901234567890, "e":1e2, "text":"\\u00e9 \xf0\x9f\x9a\x80"}\n'
STREAM = b"".join(EVENTS)
CHUNKED = b"transfer-encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("headers", "sent", "arrives"),
    [
        pytest.param(b"content-length: %d\r\n" % len(BODY), BODY, BODY, id="length"),
        pytest.param(CHUNKED, _chunked([BODY[:9], BODY[9:]]), BODY, id="chunked"),
        pytest.param(b"connection: close\r\n", BODY, BODY, id="until-close"),
        pytest.param(b"content-length: 2097152\r\n", bytes(range(256)) * 8192, bytes(range(256)) * 8192, id="large"),
        pytest.param(b"content-type: text/event-stream\r\n" + CHUNKED, _chunked(EVENTS), STREAM, id="stream"),
        pytest.param(b"content-type: text/event-stream\r\n" + CHUNKED, _chunked([STREAM[i : i + 7] for i in range(0, len(STREAM), 7)]), STREAM, id="stream-in-sevens"),
        pytest.param(b"content-type: text/event-stream; charset=utf-8\r\ncontent-length: %d\r\n" % len(STREAM), STREAM, STREAM, id="stream-with-length"),
        pytest.param(b"content-type: text/event-stream\r\nconnection: close\r\n", STREAM[:-2], STREAM[:-2], id="stream-no-last-line"),
    ],
)  # fmt: skip
def test_an_answer_arrives_byte_for_byte(headers: bytes, sent: bytes, arrives: bytes, house: House) -> None:
    """Body and headers are the upstream's own; only ours, and those of the connection, differ."""
    fixed = b"Date: then\r\nServer: theirs\r\nX-Request-ID: req_1\r\nX-Twice: 1\r\nX-Twice: 2\r\n"

    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 201 Made\r\n" + fixed + headers + b"\r\n" + sent)
        if b"close" in headers:
            exchange.cut()

    house.raw.script = script
    request = {"model": "raw", "messages": MESSAGES}
    direct = httpx.post(f"http://127.0.0.1:{house.raw.port}/v1/chat/completions", json=request)
    answer = house.chat("raw")
    assert answer.status_code == direct.status_code == 201
    assert answer.content == direct.content == arrives

    def own(response: httpx.Response) -> list[tuple[bytes, bytes]]:
        framing: tuple[bytes, ...] = (b"connection", b"transfer-encoding")
        if b"event-stream" in headers:
            framing += (b"content-length",)  # a stream may have to say more at its end
        lower = [(name.lower(), value) for name, value in response.headers.raw]
        return [one for one in lower if one[0] not in framing and not one[0].startswith(b"x-pointsman-")]

    assert own(answer) == own(direct)


@pytest.mark.parametrize(
    "kind", [b"text/event-stream", b"Text/Event-Stream; charset=utf-8", b"text/html", b"text/plain", b""]
)
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"event: message\n"], ids=["data", "mark", "name"])
def test_events_arrive_as_they_are_sent(house: House, kind: bytes, before: bytes) -> None:
    """The upstream sends the next event only when the client has the one before, whatever it calls them."""
    events = [before + EVENTS[0], *EVENTS[1:]]
    confirmed = threading.Semaphore(0)

    def script(exchange: Exchange) -> None:
        exchange.send(
            SSE.replace(b"content-type: text/event-stream", b"content-type: " + kind if kind else b"x-no: kind")
        )
        for event in events:
            exchange.send(event)
            assert confirmed.acquire(timeout=3)
        exchange.cut()

    house.raw.script = script
    seen = []
    with house.http.stream(
        "POST", "/v1/chat/completions", json={"model": "raw", "messages": MESSAGES, "stream": True}
    ) as answer:
        for piece in answer.iter_raw():
            seen.append(piece)
            confirmed.release()
    assert seen == events


@contextmanager
def _calling(
    house: House, *, is_stream: bool, path: str = "chat/completions", model: str = "raw"
) -> Iterator[socket.socket]:
    """A client that has sent its request, and leaves at the end of the block."""
    body = json.dumps({"model": model, "messages": MESSAGES, "stream": is_stream}).encode()
    with socket.create_connection(("127.0.0.1", house.port), timeout=3) as connection:
        head = b"POST /v1/%s HTTP/1.1\r\nhost: test\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(body))
        connection.sendall(head + body)
        yield connection


def _left(phase: str) -> str:
    return f'pointsman_client_disconnects_total{{phase="{phase}"}}'


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", SSE], ids=["a", "half", "sse"]
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_client_that_leaves_before_the_answer(
    sent: bytes, is_stream: bool, house: House, record_property: Callable[[str, object], None]
) -> None:
    """The upstream is freed while nothing, or nothing that could be passed on, has come from it."""
    arrived, left = threading.Event(), threading.Event()
    times = []

    def script(exchange: Exchange) -> None:
        exchange.send(sent)
        arrived.set()
        times.append(exchange.wait_until_left())
        left.set()

    house.raw.script = script
    before = house.metric(_left("upstream"))
    with _calling(house, is_stream=is_stream):
        assert arrived.wait(3)
        began = time.monotonic()
    assert left.wait(3)
    record_property("freed_s", times[0] - began)
    assert times[0] - began < BOUND_S
    house.wait_for_metric(_left("upstream"), before + 1)


def test_a_client_that_leaves_between_events(house: House, record_property: Callable[[str, object], None]) -> None:
    left = threading.Event()
    times = []

    def script(exchange: Exchange) -> None:
        exchange.send(SSE + EVENTS[0])
        times.append(exchange.wait_until_left())
        left.set()

    house.raw.script = script
    before = house.metric(_left("answer"))
    with _calling(house, is_stream=True) as connection:
        seen = b""
        while EVENTS[0] not in seen:
            seen += connection.recv(65536)
        began = time.monotonic()
    assert left.wait(3)
    record_property("freed_s", times[0] - began)
    assert times[0] - began < BOUND_S
    house.wait_for_metric(_left("answer"), before + 1)


@pytest.mark.parametrize("is_cut", [False, True], ids=["whole", "cut"])
def test_a_compressed_stream_passes_as_it_comes(house: House, is_cut: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of it is held back, nor anything added to it: where it breaks off, so does the client's."""
    arrived = threading.Event()
    packed = gzip.compress(STREAM)

    def script(exchange: Exchange) -> None:
        exchange.send(SSE.replace(b"connection: close", b"content-encoding: gzip\r\n" + CHUNKED.strip()))
        for piece in (packed[:20], packed[20:30]):
            exchange.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            assert arrived.wait(3)
        if is_cut:
            exchange.cut()
        else:
            exchange.send(_chunked([packed[30:]]))

    house.raw.script = script
    counted = f'pointsman_attempts_total{{outcome="{"cut" if is_cut else "ok"}",target="raw/raw-model"}}'
    before = house.metric(counted)
    body = {"model": "raw", "messages": MESSAGES, "stream": True}
    got = b""
    with house.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        with pytest.raises(httpx.RemoteProtocolError) if is_cut else nullcontext():
            for piece in answer.iter_raw():
                got += piece
                arrived.set()
    assert got == (packed[:30] if is_cut else packed)
    house.wait_for_metric(counted, before + 1)
    assert [record.msg for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_a_client_that_leaves_with_its_body_half_sent(house: House) -> None:
    before = house.metric(_left("body"))
    with socket.create_connection(("127.0.0.1", house.port), timeout=3) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\ncontent-length: 99\r\n\r\n{")
    house.wait_for_metric(_left("body"), before + 1)
    assert house.raw.exchanges == []


LASTS = pytest.mark.parametrize(
    ("path", "model", "last"),
    [
        pytest.param("chat/completions", "raw", b"data: [DONE]", id="done"),
        *(
            pytest.param(
                "responses",
                "raw",
                b'event: response.%s\ndata: {"type":"response.%s","response":{"id":"resp_1","output":[{"type":"message"}]}}'
                % (end, end),
                id=end.decode(),
            )
            for end in (b"completed", b"incomplete", b"failed")
        ),
        pytest.param(
            "messages",
            "claude",
            b'event: message_stop\ndata: {"type":"message_stop"                              }',
            id="message-stop",
        ),
    ],
)


@pytest.fixture(scope="module")
def speaking() -> Iterator[House]:
    """In front of one upstream that speaks both protocols, as raw bytes."""
    upstreams = '{a: {base_url: "${RAW}/v1"}, b: {base_url: "${RAW}/v1", protocol: anthropic}}'
    targets = {"raw": "target: {upstream: a, name: raw-model}", "claude": "target: {upstream: b, name: raw-model}"}
    hasty = "timeouts: {idle: 150ms}"
    models = ", ".join(f"{name}: {{{at}}}, hasty-{name}: {{{at}, {hasty}}}" for name, at in targets.items())
    with open_house(f"version: 1\nupstreams: {upstreams}\nmodels: {{{models}}}\ndefault: raw\n") as house:
        yield house


@LASTS
def test_a_client_that_leaves_on_the_last_event_has_its_whole_answer(
    speaking: House, path: str, model: str, last: bytes
) -> None:
    """Many clients hang up there, before the stream's end: that is no disconnect, and its tokens count."""
    house = speaking
    left = threading.Event()
    usage = b'data: {"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n'

    def script(exchange: Exchange) -> None:
        exchange.send(SSE + usage + last + b"\n\n")
        exchange.wait_until_left()
        left.set()

    house.raw.script = script
    answered, tokens = _left("answer"), f'pointsman_tokens_total{{kind="completion",model="{model}"}}'
    before, counted = house.metric(answered), house.metric(tokens)
    with _calling(house, is_stream=True, path=path, model=model) as connection:
        seen = b""
        while last + b"\n\n" not in seen:
            seen += connection.recv(65536)
    assert left.wait(3)
    house.wait_for_metric(tokens, counted + 7)
    assert house.metric(answered) == before


@LASTS
@pytest.mark.parametrize("is_cut", [True, False], ids=["cut", "silent"])
def test_a_stream_whose_last_event_is_out_is_whole(
    speaking: House, path: str, model: str, last: bytes, is_cut: bool
) -> None:
    """However its upstream ends it: no error stands behind it, and the target is not blamed."""
    house = speaking
    events = b'data: {"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n' + last + b"\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

    def script(exchange: Exchange) -> None:
        exchange.send(head + b"%x\r\n%b\r\n" % (len(events), events))
        if is_cut:
            exchange.cut()
        else:
            exchange.wait_until_left()

    house.raw.script = script
    well = f'pointsman_attempts_total{{outcome="ok",target="{"b" if model == "claude" else "a"}/raw-model"}}'
    before = house.metric(well)
    sent = {"model": model, "messages": MESSAGES, "input": "hello there", "stream": True}
    answer = house.http.post(f"/v1/{path}", json=sent, headers={"x-pointsman-model": f"hasty-{model}"})
    assert (answer.status_code, answer.content) == (200, events)
    house.wait_for_metric(well, before + 1)


def test_a_client_that_stays_after_a_disconnect_of_another_is_served(house: House) -> None:
    assert house.chat("sim").status_code == 200
    assert house.chat("sim", stream=True).content.endswith(b"data: [DONE]\n\n")
    house.wait_for_metric("pointsman_in_flight", 0)
