"""What is not routed: where it goes, that it arrives as it was sent, and what does not pass."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest

from tests.endpoints.passing import FORM, JSON, ROUTES, form, house, passing, target
from tests.endpoints.raw_http import head, talk
from tests.relay.wire import Exchange, House
from tests.relay.wire import house as open_house

__all__ = ["house", "passing"]

SMALL = ROUTES.replace("server: {", "server: {max_body: 100000, ")
LARGE = bytes(300_000)


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
    for model in ("claude-x", "auto"):
        answer = house.http.post("/v1/messages/count_tokens", json={"model": model, "messages": []})
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
        pytest.param(
            rb'{"\ud83d":1, "input":"cut \ud83d", "mod\u0065l":"keyed"}',
            rb'{"\ud83d":1, "input":"cut \ud83d", "mod\u0065l":"k"}',
            id="beside-half-of-a-surrogate-pair",
        ),
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
    "headers",
    [
        pytest.param({}, id="not-labelled"),
        pytest.param({"content-type": "text/plain"}, id="text"),
        pytest.param({"content-type": "application/vnd.x+json"}, id="of-its-own-kind"),
        pytest.param({"content-type": "application/x-www-form-urlencoded"}, id="as-curl-does"),
        pytest.param({"content-type": "application/json", "content-encoding": "Identity"}, id="a-coding-that-is-none"),
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_json_goes_to_its_model_however_it_is_labelled(house: House, headers: dict[str, str], is_chunked: bool) -> None:
    body = b'\n {"input": "x", "model": "keyed"}'
    content: Any = (bytes([byte]) for byte in body) if is_chunked else body
    answer = house.http.post("/v1/embeddings", content=content, headers=headers)
    assert (target(answer), house.raw.last.body) == ("keyed/k", body.replace(b"keyed", b"k"))
    house.raw.script = Exchange.cut
    answer = house.http.post("/v1/embeddings", content=body, headers=headers)
    assert answer.headers["x-pointsman-attempts"] == "3"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"model": "keyed"}\n{"model": "keyed"}\n', id="lines-of-json"),
        pytest.param(b'{"model": "keyed", "x": "' + bytes(200_000) + b'"}', id="too-large-to-hold"),
        pytest.param(b'[{"model": "keyed"}]', id="a-list"),
        pytest.param(b" " * 2000, id="blanks"),
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_what_only_begins_as_json_passes_untouched(body: bytes, is_chunked: bool) -> None:
    with open_house(SMALL) as house:
        content: Any = (body[at : at + 50_000] for at in range(0, len(body), 50_000)) if is_chunked else body
        answer = house.http.post("/v1/files", content=content)
        assert (target(answer), house.raw.last.body) == ("raw/raw-model-with-a-name", body)


NAMELESS = b'--b0undary\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nsound\r\n--b0undary--\r\n'


@pytest.mark.parametrize(
    ("sent", "arrives", "where"),
    [
        pytest.param(form(b"raw"), form(b"raw-model-with-a-name"), "raw/raw-model-with-a-name", id="longer"),
        pytest.param(form(b"keyed"), form(b"k"), "keyed/k", id="shorter"),
        pytest.param(form(b"keyed", first=False), form(b"k", first=False), "keyed/k", id="after-the-file"),
        pytest.param(form(b"whisper-1"), form(b"whisper-1"), "raw/raw-model-with-a-name", id="unknown-here"),
        pytest.param(
            form(b"keyed", bytes(200_000), first=False), form(b"k", bytes(200_000), first=False),
            "keyed/k", id="after-a-large-file",
        ),
        pytest.param(NAMELESS, NAMELESS, "raw/raw-model-with-a-name", id="none"),
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


@pytest.mark.parametrize("path", ["audio/transcriptions", "audio/translations", "images/edits", "videos"])
def test_a_form_that_says_too_late_where_it_goes_goes_nowhere(path: str) -> None:
    with open_house(SMALL) as house:
        late = form(b"keyed", LARGE, first=False)
        answer = house.http.post(f"/v1/{path}", content=late, headers=FORM)
        told = answer.json()["error"]
        assert (answer.status_code, told["type"], told["param"]) == (400, "invalid_request_error", "model")
        assert "100,000 bytes" in told["message"]
        assert "x-pointsman-model" in told["message"]
        assert house.raw.exchanges == []
        pinned = house.http.post(f"/v1/{path}", content=late, headers={**FORM, "x-pointsman-model": "keyed"})
        assert (target(pinned), house.raw.last.body) == ("keyed/k", late)
        early = house.http.post(f"/v1/{path}", content=form(b"keyed", LARGE), headers=FORM)
        assert (target(early), house.raw.last.body) == ("keyed/k", form(b"k", LARGE))


def test_nor_is_a_model_looked_for_where_there_is_one_upstream_or_a_form_has_none() -> None:
    late = form(b"keyed", LARGE, first=False)
    with open_house(SMALL) as house:
        answer = house.http.post("/v1/files", content=late, headers=FORM)
        assert (target(answer), house.raw.last.body) == ("raw/raw-model-with-a-name", late)
    one = re.sub(r"(?m)^  (keyed|hasty|claude|opus|sim): .*\n", "", SMALL)
    with open_house(one) as house:
        answer = house.http.post("/v1/audio/transcriptions", content=late, headers=FORM)
        assert (target(answer), house.raw.last.body) == ("raw/raw-model-with-a-name", late)


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


@pytest.mark.parametrize("status", [101, 600, 999])
def test_a_status_that_ends_no_request_is_no_answer(house: House, status: int) -> None:
    house.raw.script = lambda exchange: exchange.answer(b"{}", JSON, status=b"%d Odd" % status)
    answer = house.http.get("/v1/files/file-1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_garbled")
    assert answer.headers["x-pointsman-attempts"] == "3"
    assert f'status="{status}"' not in house.http.get("/metrics").text


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


@pytest.mark.parametrize(
    "path",
    ["v1/chat/completions", "v1/responses", "engines/gpt/chat/completions", "openai/deployments/gpt/chat/completions", "v1;x/completions"],
)  # fmt: skip
def test_what_is_blocked_cannot_be_passed_where_a_base_url_has_no_version(path: str) -> None:
    """LiteLLM, llama.cpp and DeepSeek answer below / what they answer below /v1."""
    with open_house(
        """
version: 1
upstreams: {bare: {base_url: "${RAW}"}}
models: {gpt: {target: {upstream: bare, name: gpt}}}
default: gpt
routes: [{name: no-secrets, when: {text: {contains: SECRET}}, block: {status: 403, message: Not here.}}]
"""
    ) as house:
        body = {"model": "gpt", "input": "SECRET", "messages": [{"role": "user", "content": "SECRET"}]}
        assert house.http.post("/v1/chat/completions", json=body).status_code == 403
        answer = house.http.post(f"/v1/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")
        assert house.raw.exchanges == []
        assert house.http.post("/v1/threads/thread_1/messages", json=body).status_code == 200


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


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/targets", "/v1/models/x/y", "/v1/policy", "/v1/route", "/v1/feedback"]
)
def test_what_is_answered_here_is_never_passed(house: House, path: str) -> None:
    for method in ("GET", "POST", "PUT", *(() if "x/y" in path else ("DELETE",))):
        house.http.request(method, path, json={})
    assert house.raw.exchanges == []


@pytest.mark.parametrize(
    ("headers", "where"),
    [({}, "raw/raw-model-with-a-name"), ({"x-pointsman-model": "keyed"}, "keyed/k")],
    ids=["the-default", "by-header"],
)
@pytest.mark.parametrize("name", ["ft:gpt-4o:me::1", "x/y", "raw"])
def test_a_model_is_deleted_by_its_upstream(house: House, name: str, headers: dict[str, str], where: str) -> None:
    answer = house.http.delete(f"/v1/models/{name}", headers=headers)
    assert (answer.status_code, target(answer)) == (200, where)
    assert house.raw.last.line == f"DELETE /v1/models/{name} HTTP/1.1".encode()


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
