"""What a client is told when an upstream fails."""

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.relay.wire import Exchange, House
from tests.relay.wire import house as open_house

ANSWER = b'{"choices": [{"message": {"role": "assistant", "content": "hi"}}]}'
EVENT = b'data: {"n":1}\n\n'


@pytest.mark.parametrize(
    ("model", "sent", "status", "code"),
    [
        pytest.param("dead", None, 502, "upstream_unavailable", id="refused"),
        pytest.param("deaf", None, 504, "connect_timeout", id="connect"),
        pytest.param("raw", b"", 502, "upstream_unavailable", id="cut-before-the-headers"),
        pytest.param("raw", b"hello\r\n\r\n", 502, "upstream_garbled", id="not-http"),
        pytest.param("raw", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", 502, "upstream_unavailable", id="half"),
        pytest.param("hasty", None, 504, "whole_answer_timeout", id="silent"),
        pytest.param("hurried", None, 504, "total_timeout", id="total"),
    ],
)
def test_before_the_answer(model: str, sent: bytes | None, status: int, code: str, house: House) -> None:
    def script(exchange: Exchange) -> None:
        if sent is None:
            exchange.wait_until_left()
        else:
            exchange.send(sent)
            exchange.cut()

    house.raw.script = script
    answer = house.chat(model)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert house.chat("sim").status_code == 200


@pytest.mark.parametrize(
    ("model", "sent", "code"),
    [
        pytest.param("raw", b"", "upstream_cut", id="cut-between-events"),
        pytest.param("raw", b'data: {"n"', "upstream_cut", id="cut-in-an-event"),
        pytest.param("restless", b"", "idle_timeout", id="idle"),
    ],
)
def test_in_a_stream(model: str, sent: bytes, code: str, house: House) -> None:
    """Whole events, one that tells the error, and the end; no `[DONE]`."""

    def script(exchange: Exchange) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        piece = EVENT + sent
        exchange.send(head + b"%x\r\n%s\r\n" % (len(piece), piece))
        if model == "raw":
            exchange.cut()
        else:
            exchange.wait_until_left()

    house.raw.script = script
    answer = house.chat(model, stream=True)
    assert answer.status_code == 200
    first, error, end = answer.content.split(b"\n\n")
    assert (first + b"\n\n", end) == (EVENT, b"")
    assert json.loads(error.removeprefix(b"data: "))["error"]["code"] == code


@pytest.mark.parametrize("model", ["raw", "restless"])
def test_a_stream_that_ends_too_early_is_held_against_its_target(model: str) -> None:
    """Else a target whose every answer breaks off, or falls silent, would be sent each next request."""

    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        exchange.send(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
        exchange.cut() if model == "raw" else exchange.wait_until_left()

    with open_house() as house:
        house.raw.script = script
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(house.chat, model, stream=True) for _ in range(6)]
        assert {answer.result().status_code for answer in asked} == {200}
        house.wait_for_metric(f'pointsman_target_state{{target="{model}/raw-model"}}', 2)


def test_the_first_token_of_a_whole_answer_is_not_waited_for(house: House) -> None:
    """Most upstreams send nothing of one before it is complete."""

    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        time.sleep(0.3)  # twice what may pass before a first token
        exchange.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(ANSWER), ANSWER))

    house.raw.script = script
    answer = house.chat("patient")
    assert (answer.status_code, answer.content) == (200, ANSWER)
    assert house.chat("patient", stream=True).json()["error"]["code"] == "first_token_timeout"


@pytest.mark.parametrize(
    ("is_slow", "whole_answer", "state"),
    [pytest.param(True, "1800ms", "closed", id="slow"), pytest.param(False, "10s", "open", id="quick")],
)
def test_the_time_that_others_took_is_not_held_against_the_last_one(
    is_slow: bool, whole_answer: str, state: str
) -> None:
    """Five requests whose first attempt takes most of the time that there is for all, or nearly none of it."""
    text = """
version: 1
upstreams: {u: {base_url: "${RAW}/v1", timeouts: {whole_answer: LONGEST, total: 2s}}}
models: {m: {target: {upstream: u, name: first}, fallbacks: [last]}, last: {target: {upstream: u, name: last}}}
default: m
"""

    def script(exchange: Exchange) -> None:
        if is_slow or b"last" in exchange.body:
            exchange.wait_until_left()
        else:
            exchange.answer(b"{}", status=b"503 Later")

    with open_house(text.replace("LONGEST", whole_answer)) as house:
        house.raw.script = script
        with ThreadPoolExecutor(5) as pool:
            answers = [answer.result() for answer in [pool.submit(house.chat, "m") for _ in range(5)]]
        for answer in answers:
            assert (answer.status_code, answer.headers["x-pointsman-target"]) == (504, "u/last")
            assert answer.json()["error"]["message"] == "The request was not over within 2 s."
        (last,) = house.http.get("/v1/targets").json()["models"][1]["targets"]
        assert (last["target"], last["state"]) == ("u/last", state)
        house.wait_for_metric('pointsman_attempts_total{outcome="total",target="u/last"}', 5)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param({"error": {"message": "no", "code": "context_length_exceeded"}}, id="openai"),
        pytest.param({"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}}, id="anthropic"),
        pytest.param(
            {"error": {"message": "input length and `max_tokens` exceed context limit: 5 + 4 > 8"}}, id="anthropic-both"
        ),
        pytest.param({"error": {"message": "prompt is too long: 'cut \ud83d'"}}, id="half-of-a-pair"),
        pytest.param({"code": "No", "error": "This model's maximum prompt length is 8 but 9 were sent."}, id="xai"),
        pytest.param({"object": "error", "message": "This model's maximum context length is 8 tokens."}, id="vllm"),
        pytest.param(
            {
                "object": "error",
                "message": "The input (9 tokens) is longer than the model's context length (8 tokens).",
            },
            id="sglang",
        ),
        pytest.param(
            {"error": {"code": 400, "message": "the request exceeds the available context size", "type": "x"}},
            id="llama.cpp",
        ),
        pytest.param(
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (9) exceeds the maximum number of tokens allowed.",
                }
            },
            id="gemini",
        ),
    ],
)
def test_a_prompt_that_is_too_long_goes_on_to_a_model_that_takes_more(error: dict[str, Any], house: House) -> None:
    body = json.dumps(error).encode()
    house.raw.script = lambda exchange: exchange.answer(body, b"content-type: application/json", status=b"400 No")
    answer = house.chat("narrow")
    assert (answer.status_code, answer.headers["x-pointsman-model"]) == (200, "roomy")


@pytest.mark.parametrize(
    ("limits", "model"),
    [
        pytest.param(("context: 2000", "context: 1000", "context: 3000"), "third", id="a-larger-one"),
        pytest.param(("context: 2000", "context: 2000", "context: 3000"), "third", id="not-one-that-takes-as-much"),
        pytest.param(("context: 2000", "", "context: 1000"), "second", id="one-without"),
        pytest.param(("context: 2000", "context: 1000", ""), "third", id="a-later-one-without"),
        pytest.param(("", "context: 1000", "context: 2000"), "first", id="none-takes-more"),
        pytest.param(("", "context: 1000", ""), "third", id="none-is-known-to-take-more"),
    ],
)
def test_which_model_takes_more_is_told_by_its_context(limits: tuple[str, str, str], model: str) -> None:
    first, second, third = limits
    text = f"""
version: 1
upstreams: {{raw: {{base_url: "${{RAW}}/v1"}}, sim: {{base_url: "${{SIM}}/one/v1"}}}}
models:
  first:
    {{targets: [{{upstream: raw, name: r}}, {{upstream: raw, name: same}}], fallbacks: [second, third], {first}}}
  second: {{target: {{upstream: sim, name: gpt-4o}}, {second}}}
  third: {{target: {{upstream: sim, name: o3-mini}}, {third}}}
default: first
"""
    with open_house(text) as house:
        body = b'{"error": {"message": "no", "code": "context_length_exceeded"}}'
        house.raw.script = lambda exchange: exchange.answer(body, b"content-type: application/json", status=b"400 No")
        assert house.chat("auto").headers["x-pointsman-model"] == model
        assert len(house.raw.exchanges) == 1, "the same model takes no more elsewhere"


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500, 503])
def test_an_upstream_s_own_error_passes_unchanged(status: int, house: House) -> None:
    body = b'{ "error":{"message":"theirs"} }\n'
    house.raw.script = lambda exchange: exchange.answer(body, b"retry-after: 2", status=b"%d Theirs" % status)
    answer = house.chat("raw")
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (status, body, "2")


def test_a_client_that_hangs_up_on_the_last_event_had_its_answer(house: House) -> None:
    """As many do; else each of their requests would count as one that was not waited for."""

    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        events = EVENT + b"data: [DONE]\n\n"
        exchange.send(b"%x\r\n%s\r\n" % (len(events), events))
        exchange.wait_until_left()

    house.raw.script = script
    ended = {
        outcome: f'pointsman_attempts_total{{outcome="{outcome}",target="raw/raw-model"}}'
        for outcome in ("ok", "client_left")
    }
    before = {outcome: house.metric(name) for outcome, name in ended.items()}
    body = {"model": "raw", "messages": [], "stream": True}
    with house.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        got = b""
        for piece in answer.iter_raw():
            got += piece
            if got.endswith(b"[DONE]\n\n"):
                break
    house.wait_for_metric(ended["ok"], before["ok"] + 1)
    assert house.metric(ended["client_left"]) == before["client_left"]


def test_a_mistake_of_ours_leaves_no_request_under_way(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pointsman.request")

    def broken(*_: object) -> float:
        raise RuntimeError

    monkeypatch.setattr("proxy.relay.attempts.retry_after_s", broken)
    house.raw.script = lambda exchange: exchange.answer(b"{}", status=b"429 Later")
    assert house.chat("raw").status_code == 500
    targets = [target for model in house.http.get("/v1/targets").json()["models"] for target in model["targets"]]
    assert {target["in_flight"] for target in targets} == {0}
    house.wait_for_metric("pointsman_in_flight", 0)
    told = [vars(record)["fields"]["error"] for record in caplog.records if record.name == "pointsman.request"]
    assert told == ["RuntimeError"], "by which it is found in the log"


def test_a_rest_that_is_over_is_told_though_nobody_comes(house: House) -> None:
    house.raw.script = lambda exchange: exchange.answer(b"{}", b"retry-after-ms: 10", status=b"429 Later")
    assert house.chat("restless").status_code == 429
    house.wait_for_metric('pointsman_target_state{target="restless/raw-model"}', 1)


@pytest.mark.parametrize(
    ("kind", "status", "outcome"),
    [
        pytest.param(b"application/json", b"200 OK", "ok", id="whole"),
        pytest.param(b"text/event-stream", b"400 No", "rejected", id="refused-as-a-stream"),
    ],
)
def test_what_is_asked_for_as_a_stream_and_comes_otherwise_has_no_first_token(
    kind: bytes, status: bytes, outcome: str, house: House
) -> None:
    house.raw.script = lambda exchange: exchange.answer(ANSWER, b"content-type: " + kind, status=status)
    served = f'pointsman_attempts_total{{outcome="{outcome}",target="restless/raw-model"}}'
    first = 'pointsman_first_token_seconds_count{model="restless"}'
    before = house.metric(served), house.metric(first)
    assert house.chat("restless", stream=True).content == ANSWER
    house.wait_for_metric(served, before[0] + 1)
    assert house.metric(first) == before[1]


def test_what_others_took_before_is_no_part_of_the_first_token(house: House) -> None:
    def silence(exchange: Exchange) -> None:
        exchange.wait_until_left()

    house.raw.script = silence
    count, total = (f'pointsman_first_token_seconds_{of}{{model="other"}}' for of in ("count", "sum"))
    before = house.metric(count), house.metric(total)
    answer = house.chat("silent", stream=True)
    assert (answer.headers["x-pointsman-model"], answer.headers["x-pointsman-attempts"]) == ("other", "2")
    house.wait_for_metric(count, before[0] + 1)
    assert house.metric(total) - before[1] < 0.15, "for so long nothing came of the first"


def test_where_all_fail_the_headers_tell_of_the_last_one(house: House) -> None:
    answer = house.chat("forlorn")
    told = [answer.headers[f"x-pointsman-{name}"] for name in ("model", "target")]
    assert (answer.status_code, told) == (502, ["dead", "dead/nobody"])


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        pytest.param(b"a secret\r\n\r\n", "ClientResponseError: BadStatusLine", id="status"),
        pytest.param(b"HTTP/1.1 200 OK\r\na secret\r\n\r\n", "ClientResponseError: BadHttpMessage", id="header"),
        pytest.param(CHUNKED + b"a secret\r\n", "ClientResponseError: BadHttpMessage", id="chunk"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{a secret", "ClientResponseError: BadStatusLine", id="length"
        ),
        pytest.param(CHUNKED + b"5\r\n", "ClientPayloadError: TransferEncodingError", id="cut"),
        pytest.param(b"", "ServerDisconnectedError", id="nothing"),
    ],
)
def test_the_log_says_why_and_quotes_nothing_of_what_came(
    sent: bytes, why: str, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(sent)
        exchange.cut()

    house.raw.script = script
    with caplog.at_level(logging.DEBUG):
        house.chat("raw", stream=True)
        house.chat("sim")
    events = ("upstream unavailable", "upstream cut", "upstream garbled")
    told = [record for record in caplog.records if record.getMessage() in events]
    assert {record.__dict__["error"] for record in told} == {why}
    assert "secret" not in caplog.text + "".join(str(record.__dict__) for record in caplog.records)


def test_nor_does_it_once_an_answer_has_begun(house: House, caplog: pytest.LogCaptureFixture) -> None:
    has_begun = threading.Event()

    def script(exchange: Exchange) -> None:
        exchange.send(CHUNKED + b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
        assert has_begun.wait(5)
        exchange.send(b"a secret\r\n")
        exchange.cut()

    house.raw.script = script
    body = {"model": "raw", "messages": [], "stream": True}
    with caplog.at_level(logging.DEBUG), house.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        for _ in answer.iter_raw():
            has_begun.set()
    (told,) = [record for record in caplog.records if record.getMessage() == "upstream cut"]
    assert told.__dict__["error"] == "ClientPayloadError: BadHttpMessage"
    assert "secret" not in caplog.text + "".join(str(record.__dict__) for record in caplog.records)


RESPONSE = {"id": "resp_1", "object": "response", "status": "in_progress", "error": None}
PREPARED = [{"type": f"response.{kind}", "response": RESPONSE} for kind in ("created", "in_progress")]
LONG = {"type": "invalid_request_error", "code": "context_length_exceeded", "message": "a secret"}
FLAGGED = {"code": "invalid_prompt", "message": "a secret"}
FAILED: dict[str, Any] = {**RESPONSE, "status": "failed", "output": []}


def ask_for_a_response(house: House, model: str, told: list[Any] | dict[str, Any]) -> tuple[httpx.Response, bytes]:
    """The answer, and what the upstream sent: events of a stream, or a whole."""
    sent, is_stream = json.dumps(told).encode(), isinstance(told, list)
    if isinstance(told, list):
        sent = b"".join(
            b"event: %s\ndata: %s\n\n" % (each["type"].encode(), json.dumps(each).encode()) for each in told
        )
    kind = b"content-type: " + (b"text/event-stream" if is_stream else b"application/json")
    house.raw.script = lambda exchange: exchange.answer(sent, kind)
    body = {"model": model, "input": "hello", "stream": is_stream}
    return house.http.post("/v1/responses", json=body), sent


@pytest.mark.parametrize(
    ("told", "code"),
    [
        pytest.param([*PREPARED, {"type": "error", "error": LONG}], "context_length_exceeded", id="event"),
        pytest.param([*PREPARED, {**LONG, "type": "error"}], "context_length_exceeded", id="flat-event"),
        pytest.param([*PREPARED, {"type": "response.failed", "response": {**FAILED, "error": FLAGGED}}], "invalid_prompt", id="failed"),
        pytest.param([{"type": "error", "error": {"type": "invalid_request_error"}}], "invalid_request_error", id="type"),
        pytest.param({**FAILED, "error": FLAGGED}, "invalid_prompt", id="whole"),
    ],
)  # fmt: skip
def test_a_client_s_own_mistake_under_a_good_status_passes_and_is_not_the_upstream_s(
    told: list[Any] | dict[str, Any], code: str, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = len(house.raw.exchanges)
    for _ in range(6):
        answer, sent = ask_for_a_response(house, "rawkeyed", told)
        assert (answer.status_code, answer.content) == (200, sent)
    assert len(house.raw.exchanges) == before + 6
    house.wait_for_metric('pointsman_target_state{target="rawkeyed/raw-model"}', 0)
    lines = [record.__dict__ for record in caplog.records if record.getMessage() == "upstream rejected"]
    assert [line["error"] for line in lines] == [code] * 6
    requests = [record.__dict__["fields"] for record in caplog.records if record.name == "pointsman.request"]
    assert {request["outcome"] for request in requests} == {"rejected"}
    assert "a secret" not in "".join(str(record.__dict__) for record in caplog.records)


def test_a_prompt_that_a_stream_says_is_too_long_goes_on_to_a_model_that_takes_more(house: House) -> None:
    series = 'pointsman_fallbacks_total{cause="context",from="narrow",to="roomy"}'
    before = house.metric(series)
    answer, _ = ask_for_a_response(house, "narrow", [*PREPARED, {"type": "error", "error": LONG}])
    assert (answer.status_code, answer.headers["x-pointsman-model"]) == (200, "roomy")
    house.wait_for_metric(series, before + 1)


def test_an_error_of_the_upstream_s_own_is_told_by_its_code(house: House, caplog: pytest.LogCaptureFixture) -> None:
    told = [{"type": "error", "error": {"type": "server_error", "code": "secret words", "message": "a secret"}}]
    answer, _ = ask_for_a_response(house, "raw", told)
    assert answer.json()["error"]["code"] == "upstream_garbled"
    lines = [record.__dict__ for record in caplog.records if record.getMessage() == "upstream garbled"]
    assert {line["code"] for line in lines} == {"server_error"}
    assert "secret" not in str(lines)


@pytest.mark.parametrize("code", ["invalid_api_key", "model_not_found", 429])
def test_what_is_wrong_with_the_operators_key_or_model_is_no_clients_mistake(code: str | int, house: House) -> None:
    """Though OpenAI has one type for all of them: a fallback answers, and the client learns nothing of the key."""
    told = {"type": "error", "error": {"type": "invalid_request_error", "code": code, "message": "key sk-abc***xyz"}}
    answer, _ = ask_for_a_response(house, "narrow", [*PREPARED, told])
    assert (answer.status_code, answer.headers["x-pointsman-model"]) == (200, "roomy")
    assert "sk-abc" not in answer.text
