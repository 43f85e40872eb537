"""HTTP that no ordinary client sends: a clear answer, and the next request is served."""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from collections.abc import Iterator

import pytest

from tests.endpoints.raw_http import CHAT, head, post, receive, talk
from tests.relay.wire import ROUTES, House
from tests.relay.wire import house as open_house

PATHS = ["/v1/chat/completions", "/v1/route"]


@pytest.fixture(autouse=True)
def _the_next_request_is_served(house: House) -> Iterator[None]:
    yield
    assert house.chat("sim").status_code == 200
    house.wait_for_metric("pointsman_in_flight", 0)


def limited(limits: str) -> str:
    text, count = re.subn("^server: .*$", limits, ROUTES, flags=re.MULTILINE)
    assert count == 1
    return text


@pytest.fixture(scope="module")
def narrow() -> Iterator[House]:
    """One that takes bodies of two kilobytes and waits for them for 150 ms."""
    with open_house(limited("server: {body_timeout: 150ms, max_body: 2048}")) as house:
        yield house


@pytest.fixture(scope="module")
def patient() -> Iterator[House]:
    """One that waits for a body as long as it takes."""
    with open_house(limited("")) as house:
        yield house


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("size", "status"),
    [pytest.param(2048, 200, id="at-the-limit"), pytest.param(2049, 413, id="one-byte-over")],
)
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_a_body_is_bounded_to_the_byte(narrow: House, path: str, size: int, status: int, is_chunked: bool) -> None:
    body = CHAT[:-1] + b" " * (size - len(CHAT)) + b"}"
    if is_chunked:
        sent = head(f"POST {path} HTTP/1.1", b"Transfer-Encoding: chunked") + chunked(body[:1500], body[1500:])
    else:
        sent = post(body=body, path=path)
    answer = talk(narrow.port, sent)
    assert answer.status == status
    if status == 413:
        assert answer.error()["code"] == "body_too_large"
        assert "2,048" in answer.error()["message"]
        assert answer.headers[b"connection"] == b"close"
    assert narrow.chat("sim").status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_chunked_body_that_never_ends_is_stopped_at_the_limit(narrow: House, path: str) -> None:
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=5) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")  # and no last chunk
        answer = receive(connection)
    assert (answer.status, answer.error()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sent", [b"", b'{"model":'], ids=["nothing", "a-part"])
def test_a_body_that_does_not_come_is_a_408(narrow: House, path: str, sent: bytes) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=5) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n".encode() + sent)
        answer = receive(connection)
    assert (answer.status, answer.error()["code"]) == (408, "body_timeout")
    assert "0.15 s" in answer.error()["message"]
    assert 0.15 <= time.monotonic() - began < 2
    assert answer.headers[b"connection"] == b"close"
    assert narrow.chat("sim").status_code == 200


def test_a_client_that_leaves_in_the_body_is_counted_there(patient: House) -> None:
    before = patient.metric('pointsman_client_disconnects_total{phase="body"}')
    with socket.create_connection(("127.0.0.1", patient.port), timeout=5) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
        patient.wait_for_metric("pointsman_in_flight", 1)
    patient.wait_for_metric('pointsman_client_disconnects_total{phase="body"}', before + 1)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([b"Content-Length: abc"], id="length-in-letters"),
        pytest.param([b"Content-Length: -1"], id="length-below-zero"),
        pytest.param([b"Content-Length: +5"], id="length-with-a-sign"),
        pytest.param([b"Content-Length: 5", b"Content-Length: 6"], id="two-lengths"),
        pytest.param([b"Content-Length: " + b"9" * 40], id="length-past-all-numbers"),
        pytest.param([b"Content-Length: 3", b"Transfer-Encoding: chunked"], id="length-and-chunked"),
        pytest.param([b"Bad Header: 1"], id="a-space-in-a-name"),
        pytest.param([b": 1"], id="no-name"),
        pytest.param([b"x: a\0b"], id="a-nul-in-a-value"),
    ],
)
def test_a_head_that_is_not_http_is_a_400(house: House, path: str, headers: list[bytes]) -> None:
    answer = talk(house.port, head(f"POST {path} HTTP/1.1", *headers) + b"{}")
    assert answer.status == 400
    assert answer.body


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"zz\r\nabc\r\n", id="no-number"),
        pytest.param(b"-5\r\nabc\r\n", id="below-zero"),
        pytest.param(b"\r\n", id="empty"),
        pytest.param(b"f" * 40 + b"\r\n", id="past-all-numbers"),
        pytest.param(b"3\r\nabcdef\r\n0\r\n\r\n", id="longer-than-it-says"),
        pytest.param(chunked(CHAT[:9])[:-5] + b"zz\r\n", id="bad-after-good"),
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_a_chunk_of_no_size_is_a_400(house: House, path: str, body: bytes) -> None:
    assert talk(house.port, head(f"POST {path} HTTP/1.1", b"Transfer-Encoding: chunked") + body).status == 400


def test_a_chunked_body_is_as_good_as_any(house: House) -> None:
    sent = head("POST /v1/chat/completions HTTP/1.1", b"Transfer-Encoding: chunked")
    assert talk(house.port, sent + chunked(CHAT[:7], CHAT[7:8], CHAT[8:])).status == 200
    assert json.loads(house.simulator.log.entries()[-1].body)["model"] == "gpt-4o-mini"


def test_a_client_that_waits_to_be_told_to_continue_is_told(patient: House) -> None:
    with socket.create_connection(("127.0.0.1", patient.port), timeout=5) as connection:
        connection.sendall(
            head("POST /v1/chat/completions HTTP/1.1", b"Expect: 100-continue", b"Content-Length: %d" % len(CHAT))
        )
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(CHAT)
        assert receive(connection).status == 200
    assert patient.simulator.log.entries()[-1].header("expect") is None


@pytest.mark.parametrize("stream", [b"false", b"true"])
def test_http_1_0_is_served_and_closed(house: House, stream: bytes) -> None:
    body = CHAT[:-1] + b',"stream":' + stream + b"}"
    sent = b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    answer = talk(house.port, sent)
    assert answer.status == 200
    assert (b"data: [DONE]" in answer.body) == (stream == b"true")


def test_two_requests_at_once_on_one_connection_are_both_answered(house: House) -> None:
    first = post().replace(b"Connection: close\r\n", b"")
    assert talk(house.port, first + post(path="/v1/route")).body.count(b"HTTP/1.1 200 OK") == 1


@pytest.mark.parametrize("path", PATHS)
def test_a_compressed_body_is_a_400_that_says_what_is_wrong(house: House, path: str) -> None:
    answer = talk(house.port, post(b"Content-Encoding: gzip", body=gzip.compress(CHAT), path=path))
    assert answer.status in (400, 415)
    assert answer.error()["type"] == "invalid_request_error"
    assert house.simulator.log.entries() == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([b"x-%d: %d" % (number, number) for number in range(240)], id="as-many-as-may-be"),
        pytest.param([b"x-same: a"] * 200, id="two-hundred-of-one-name"),
        pytest.param([b"x-long: " + b"v" * 60_000], id="60-kilobytes"),
        pytest.param([b"x-empty:"], id="empty-value"),
        pytest.param([b"authorization:", b"content-type:", b"user-agent:"], id="empty-known-ones"),
        pytest.param(
            [b"x-latin: caf\xe9", b"x-utf: caf\xc3\xa9", b"x-none: \xff\xfe\x80"], id="bytes-that-are-no-ascii"
        ),
        pytest.param([b"content-type: \xff; charset=no-such"], id="a-content-type-of-no-kind"),
        pytest.param([b"accept-encoding: br, gzip", b"te: trailers", b"cookie: a=b"], id="what-browsers-say"),
        pytest.param([b"x-pointsman-id: mine", b"x-pointsman-route: mine"], id="our-own-names"),
        pytest.param([b"traceparent: nonsense", b"x-forwarded-for: <script>"], id="nonsense-in-known-ones"),
    ],
)
def test_odd_headers_are_no_reason_to_fail(house: House, path: str, headers: list[bytes]) -> None:
    answer = talk(house.port, post(*headers, path=path))
    assert answer.status == 200, answer.body
    assert answer.headers.get(b"x-pointsman-route", b"") in (b"", b"pinned")


@pytest.mark.parametrize(
    ("headers", "given"),
    [
        pytest.param([b"x-request-id: mine"], b"mine", id="one"),
        pytest.param([b"X-Request-ID: a", b"x-request-id: b"], b"a, b", id="two"),
        pytest.param([b"x-request-id: caf\xe9 \xc3\xa9"], b"caf\xe9 \xc3\xa9", id="not-ascii"),
        pytest.param([b"x-request-id: " + b"i" * 8000], b"i" * 8000, id="long"),
    ],
)
@pytest.mark.parametrize("body", [CHAT, b"{}"], ids=["served", "refused"])
def test_the_callers_request_id_comes_back_as_it_came(
    house: House, headers: list[bytes], given: bytes, body: bytes
) -> None:
    answer = talk(house.port, post(*headers, body=body))
    assert answer.status == (200 if body == CHAT else 400)
    assert answer.headers[b"x-request-id"] == given


@pytest.mark.parametrize("headers", [[], [b"x-request-id:"], [b"x-request-id: "]], ids=["none", "empty", "blank"])
def test_without_a_request_id_the_answer_still_has_one(house: House, headers: list[bytes]) -> None:
    refused = talk(house.port, post(*headers, body=b"{}"))
    assert refused.headers[b"x-request-id"] == refused.headers[b"x-pointsman-id"]
    assert talk(house.port, post(*headers)).headers[b"x-request-id"]
    house.raw.script = lambda exchange: exchange.answer(b"{}", b"x-request-id: theirs")
    named = talk(house.port, post(*headers, body=CHAT.replace(b"sim", b"raw")))
    assert named.headers[b"x-request-id"] == b"theirs"
