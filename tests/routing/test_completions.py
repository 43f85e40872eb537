"""What is read of a request to `/completions`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.config import Text
from proxy.errors import BadRequest
from proxy.routing.completions import read_completion
from proxy.routing.facts import Facts


def facts(prompt: Any, **fields: Any) -> Facts:
    return read_completion(json.dumps({"model": "auto", "prompt": prompt, **fields}).encode(), {})


@pytest.mark.parametrize(
    ("prompt", "text", "tokens"),
    [
        pytest.param("Once upon", "Once upon", 6, id="text"),
        pytest.param(["one", "two"], "one\ntwo", 5, id="texts"),
        pytest.param([1, 2, 3, 4], "", 8, id="tokens"),
        pytest.param([[1, 2, 3], [4, 5]], "", 9, id="lists-of-tokens"),
        pytest.param(["one", [1, 2, 3]], "one", 7, id="both"),
        pytest.param([], "", 4, id="nothing"),
        pytest.param([None, 1.5, {}], "", 4, id="another-thing"),
    ],
)
def test_the_text_and_the_size(prompt: Any, text: str, tokens: int) -> None:
    read = facts(prompt, max_tokens=100)
    assert (read.text(Text()), read.tokens, read.tokens_needed) == (text, tokens, tokens + 100)
    assert (read.turns(Text()), read.is_bound(Text()), read.starts_conversation, read.protocol) == (
        1,
        False,
        True,
        "openai",
    )


def test_features() -> None:
    assert facts("x", stream=True).features == {"stream"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"prompt":"x"}', "model"),
        (b'{"model":"m"}', "prompt"),
        (b'{"model":"m","prompt":3}', "prompt"),
        (b'{"model":"m","prompt":{}}', "prompt"),
        (b'{"model":"m","prompt":null}', "prompt"),
        (b"3", None),
    ],
)
def test_what_must_be_there(body: bytes, param: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        read_completion(body, {})
    assert caught.value.param == param
