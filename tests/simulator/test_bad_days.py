"""Faults on request, by header, by model name and by script."""

import json
import time

import httpx
import pytest

from proxy.simulator import Knobs
from tests.simulator.conftest import Upstream

CHAT = "/east/v1/chat/completions"


def body(model: str = "m", *, stream: bool = True) -> dict[str, object]:
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hello there"}]}


def events_before_the_end(upstream: Upstream, headers: dict[str, str], model: str = "m") -> tuple[int, bool]:
    """How many whole events arrived, and whether the body was cut."""
    received = b""
    try:
        with upstream.http.stream("POST", CHAT, json=body(model), headers=headers) as answer:
            for chunk in answer.iter_raw():
                received += chunk
    except httpx.RemoteProtocolError:
        return received.count(b"\n\n"), True
    return received.count(b"\n\n"), False


@pytest.mark.parametrize("events", [0, 1, 3])
def test_cut(upstream: Upstream, events: int) -> None:
    assert events_before_the_end(upstream, {"x-simulate-cut": str(events)}) == (events, True)
    entry = upstream.simulator.log.wait_for(lambda entry: entry.ended_at is not None)
    assert (entry.complete, entry.events, entry.disconnected_at) == (False, events, None)


def test_cut_by_model_name(upstream: Upstream) -> None:
    assert events_before_the_end(upstream, {}, "gpt-4o+cut-2") == (2, True)


def test_a_cut_beyond_the_end_is_none(upstream: Upstream) -> None:
    assert events_before_the_end(upstream, {"x-simulate-cut": "9", "x-simulate-tokens": "2"}) == (5, False)


def test_cut_of_a_whole_answer(upstream: Upstream) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        upstream.chat(headers={"x-simulate-cut": "1"})


def test_cut_before_the_headers(upstream: Upstream) -> None:
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        upstream.chat(headers={"x-simulate-cut": "headers"})
    entry = upstream.simulator.log.wait_for(lambda entry: entry.ended_at is not None)
    assert (entry.status, entry.complete, entry.disconnected_at) == (None, False, None)


@pytest.mark.parametrize("events", [0, 2])
def test_error_event(upstream: Upstream, events: int) -> None:
    answer = upstream.http.post(CHAT, json=body(), headers={"x-simulate-error-event": str(events)})
    assert answer.status_code == 200
    *before, last, empty = answer.text.split("\n\n")
    assert (len(before), empty) == (events, "")
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "server_error"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("headers", "status"),
    [({"x-simulate-stall": "2"}, 200), ({"x-simulate-stall": "0"}, 200), ({"x-simulate-stall-headers": "1"}, None)],
    ids=["after-2", "after-0", "headers"],
)
def test_stall_until_the_client_leaves(
    upstream: Upstream, headers: dict[str, str], status: int | None, stream: bool
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        upstream.http.post(CHAT, json=body(stream=stream), headers=headers, timeout=0.05)
    entry = upstream.simulator.log.wait_for(lambda entry: entry.ended_at is not None)
    assert entry.status == status
    assert not entry.complete
    assert entry.disconnected_at is not None
    assert entry.events == (int(headers.get("x-simulate-stall", 0)) if stream else 0)


def test_silence_before_the_headers(upstream: Upstream) -> None:
    started = time.monotonic()
    request = upstream.http.build_request("POST", CHAT, json=body(), headers={"x-simulate-headers-ms": "80"})
    answer = upstream.http.send(request, stream=True)
    assert time.monotonic() - started >= 0.08
    assert int(answer.headers["openai-processing-ms"]) >= 79
    answer.close()


def test_headers_come_before_the_first_token(upstream: Upstream) -> None:
    request = upstream.http.build_request("POST", CHAT, json=body(), headers={"x-simulate-first-token-ms": "4000"})
    started = time.monotonic()
    upstream.http.send(request, stream=True).close()
    assert time.monotonic() - started < 1


def test_retry_after(upstream: Upstream) -> None:
    answer = upstream.chat(headers={"x-simulate-status": "429", "x-simulate-retry-after": "7"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert upstream.chat(model="m+status-503+retry-after-2").headers["retry-after"] == "2"
    assert "retry-after" not in upstream.chat(model="error-429").headers


def test_html(upstream: Upstream) -> None:
    answer = upstream.chat(headers={"x-simulate-html": "1", "x-simulate-status": "502"})
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html; charset=UTF-8")
    assert upstream.chat(model="m+html").text.startswith("<html>")


def test_text_and_tokens(upstream: Upstream) -> None:
    answer = upstream.chat(headers={"x-simulate-text": "caf%C3%A9 au lait"}).json()
    assert answer["choices"][0]["message"]["content"] == "café au lait"
    for count in (0, 1, 700):
        answer = upstream.chat(headers={"x-simulate-tokens": str(count)}).json()
        assert answer["usage"]["completion_tokens"] == count
        assert len(answer["choices"][0]["message"]["content"].split()) == count


def test_cached_tokens(upstream: Upstream) -> None:
    usage = upstream.chat("x" * 400, headers={"x-simulate-cached-tokens": "64"}).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 64


def test_context(upstream: Upstream) -> None:
    error = upstream.chat("x" * 400, headers={"x-simulate-context": "50"}).json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert "maximum context length is 50 tokens" in error["message"]
    assert upstream.chat("x" * 200_000, model="a-coder").json()["error"]["code"] == "context_length_exceeded"


def test_odd_chunks_carry_the_same_bytes(upstream: Upstream) -> None:
    headers = {"x-simulate-seed": "1"}
    whole = upstream.http.post(CHAT, json=body(), headers=headers).content
    with upstream.http.stream("POST", CHAT, json=body(), headers=headers | {"x-simulate-chunk-bytes": "50"}) as answer:
        pieces = list(answer.iter_raw())
    assert b"".join(pieces) == whole
    assert max(map(len, pieces)) <= 50


def test_only_some_upstreams_or_models_have_the_bad_day(upstream: Upstream) -> None:
    headers = {"x-simulate-status": "503", "x-simulate-only": "west, tiny"}
    assert upstream.chat(headers=headers).status_code == 200
    assert upstream.chat(model="tiny", headers=headers).status_code == 503
    assert upstream.http.post("/west/v1/chat/completions", json=body(), headers=headers).status_code == 503
    assert upstream.chat(model="error-500", headers=headers).status_code == 500  # what a name says, stays


def test_a_header_wins_over_the_name(upstream: Upstream) -> None:
    assert upstream.chat(model="error-500", headers={"x-simulate-status": "429"}).status_code == 429


@pytest.mark.parametrize(
    "headers",
    [{"x-simulate-statsu": "429"}, {"x-simulate-cut": "soon"}, {"x-simulate-tokens": "-1"}],
    ids=["unknown", "no-number", "negative"],
)
def test_a_typo_is_no_good_day(upstream: Upstream, headers: dict[str, str]) -> None:
    answer = upstream.chat(headers=headers)
    assert answer.status_code == 400
    assert next(iter(headers)) in answer.json()["error"]["message"]


def test_plus_signs_in_real_names_mean_nothing(upstream: Upstream) -> None:
    assert upstream.chat(model="command-r+").json()["model"] == "command-r+"


def test_script(upstream: Upstream) -> None:
    """First the bad days, in order, each for one request; then what was asked."""
    upstream.simulator.script(Knobs(status=503), Knobs(), at="east")
    assert upstream.http.post("/west/v1/chat/completions", json=body()).status_code == 200
    assert [upstream.chat(model="m").status_code for _ in range(3)] == [503, 200, 200]
    upstream.simulator.script(Knobs())
    assert [upstream.chat(model="error-500").status_code for _ in range(2)] == [200, 500]
