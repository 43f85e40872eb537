"""What OpenAI says to bad requests, and the official client's exceptions."""

from typing import Any

import httpx
import openai
import pytest

from proxy.simulator import build_simulator
from tests.serving import serving
from tests.simulator.conftest import Upstream

USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("fields", "param", "code", "message"),
    [
        pytest.param({"messages": [USER]}, None, None, "you must provide a model parameter", id="no-model"),
        pytest.param({"model": 3, "messages": [USER]}, "model", "invalid_type", "expected a string", id="model-type"),
        pytest.param({"model": "m"}, "messages", "missing_required_parameter", "Missing required", id="no-messages"),
        pytest.param({"model": "m", "messages": []}, "messages", "empty_array", "empty array", id="empty-messages"),
        pytest.param({"model": "m", "messages": "hi"}, "messages", "invalid_type", "got a string", id="messages-type"),
        pytest.param({"model": "m", "messages": ["hi"]}, "messages[0]", "invalid_type", "an object", id="message-type"),
        pytest.param(
            {"model": "m", "messages": [USER, {"role": "robot", "content": ""}]},
            *("messages[1].role", "invalid_value", "Supported values are: 'system', 'assistant'"),
            id="role",
        ),
        pytest.param(
            {"model": "m", "messages": [{"content": "hi"}]},
            *("messages[0].role", "missing_required_parameter", "Missing required"),
            id="no-role",
        ),
        pytest.param(
            {"model": "m", "messages": [{"role": "user"}]},
            *("messages.[0].content", None, "expected a string, got null"),
            id="no-content",
        ),
        pytest.param(
            {"model": "m", "messages": [USER, {"role": "tool", "content": "x", "tool_call_id": "c"}]},
            *("messages.[1].role", None, "must be a response to a preceeding message"),
            id="tool-without-a-call",
        ),
        pytest.param({"model": "m", "messages": [USER], "n": 0}, "n", "integer_below_min_value", ">= 1", id="n"),
        pytest.param(
            {"model": "m", "messages": [USER], "max_tokens": "9"},
            *("max_tokens", "invalid_type", "expected an integer, but got a string"),
            id="max-tokens",
        ),
        pytest.param(
            {"model": "m", "messages": [USER], "temperature": "hot"},
            *("temperature", "invalid_type", "expected a decimal"),
            id="temperature",
        ),
        pytest.param(
            {"model": "m", "messages": [USER], "stream_options": {"include_usage": True}},
            *("stream_options", None, "only allowed when 'stream' is enabled"),
            id="stream-options",
        ),
        pytest.param(
            {"model": "m", "messages": [USER], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            *("tool_choice", None, "not found in 'tools'"),
            id="tool-choice",
        ),
    ],
)
def test_bad_fields(
    upstream: Upstream, fields: dict[str, Any], param: str | None, code: str | None, message: str
) -> None:
    answer = upstream.http.post("/v1/chat/completions", json=fields)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert message in error.pop("message")
    assert error == {"type": "invalid_request_error", "param": param, "code": code}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff", b'{"model":"\\ud800"}', b"[" * 100_000],
    ids=["empty", "cut", "array", "not-utf-8", "lone-surrogate", "nested"],
)
def test_bad_json(upstream: Upstream, body: bytes) -> None:
    answer = upstream.http.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert "could not parse the JSON body" in answer.json()["error"]["message"]


def test_unknown_url_and_method(upstream: Upstream) -> None:
    unknown = upstream.http.post("/east/v1/poems", json={})
    assert unknown.status_code == 404
    assert unknown.json()["error"]["message"] == "Invalid URL (POST /east/v1/poems)"
    assert upstream.http.get("/").status_code == 404
    wrong = upstream.http.get("/v1/chat/completions")
    assert wrong.status_code == 405
    assert wrong.json()["error"]["code"] == "method_not_supported"


@pytest.mark.parametrize(
    ("status", "exception", "code"),
    [
        (400, openai.BadRequestError, None),
        (401, openai.AuthenticationError, "invalid_api_key"),
        (403, openai.PermissionDeniedError, "unsupported_country_region_territory"),
        (404, openai.NotFoundError, "model_not_found"),
        (409, openai.ConflictError, "conflict"),
        (422, openai.UnprocessableEntityError, "unprocessable_entity"),
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, None),
        (502, openai.InternalServerError, "bad_gateway"),
        (503, openai.InternalServerError, "slow_down"),
        (504, openai.InternalServerError, "gateway_timeout"),
        (529, openai.InternalServerError, "overloaded"),
    ],
)
@pytest.mark.parametrize("by", ["header", "model"])
def test_status_on_request(
    upstream: Upstream, status: int, exception: type[openai.APIStatusError], code: str | None, by: str
) -> None:
    """The official client raises what it raises for the real thing."""
    model, headers = ("m", {"x-simulate-status": str(status)}) if by == "header" else (f"error-{status}", {})
    with pytest.raises(exception) as caught:
        upstream.openai.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hi"}], extra_headers=headers
        )
    assert caught.value.status_code == status
    assert caught.value.code == code
    assert caught.value.request_id is not None


def test_a_key_can_be_asked_for() -> None:
    with serving(build_simulator(pace=0, api_key="sk-right")) as served, httpx.Client(base_url=served.url) as client:
        assert client.get("/v1/models", headers={"authorization": "Bearer sk-right"}).status_code == 200
        wrong = client.get("/v1/models", headers={"authorization": "Bearer sk-very-wrong"})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_api_key")
        assert "sk-******rong" in wrong.json()["error"]["message"]
        assert "didn't provide an API key" in client.get("/v1/models").json()["error"]["message"]
