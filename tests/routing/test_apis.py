"""Which API a body is for, where only the body tells."""

from __future__ import annotations

import pytest

from proxy.routing.apis import APIS, CHAT, COMPLETIONS, MESSAGES, RESPONSES, Api, api_of

VERSION = {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    ("body", "headers", "api"),
    [
        pytest.param(b'{"messages":[]}', {}, CHAT, id="messages"),
        pytest.param(b'{"input":"x"}', {}, RESPONSES, id="input"),
        pytest.param(b'{"prompt":"x"}', {}, COMPLETIONS, id="prompt"),
        pytest.param(b'{"prompt":["x"]}', {}, COMPLETIONS, id="prompts"),
        pytest.param(b'{"prompt":{"id":"p"},"model":"m"}', {}, RESPONSES, id="a-stored-prompt-alone"),
        pytest.param(b'{"prompt":{"id":"p"},"input":[]}', {}, RESPONSES, id="a-stored-prompt-and-input"),
        pytest.param(b'{"messages":[],"input":"x","prompt":"x"}', {}, CHAT, id="all"),
        pytest.param(b'{"messages":[]}', VERSION, MESSAGES, id="anthropics"),
        pytest.param(b"{}", {}, CHAT, id="nothing"),
        pytest.param(b"[]", {}, CHAT, id="a-list"),
        pytest.param(b"{", {}, CHAT, id="no-json"),
        pytest.param(b"\xff", {}, CHAT, id="no-text"),
        pytest.param(b'{"a":' + b"[" * 100_000, {}, CHAT, id="nested"),
    ],
)
def test_a_body_tells_its_api(body: bytes, headers: dict[str, str], api: Api) -> None:
    assert api_of(body, headers) is api


def test_each_has_a_path_of_its_own() -> None:
    assert [api.path for api in APIS] == ["/chat/completions", "/completions", "/responses", "/messages"]
