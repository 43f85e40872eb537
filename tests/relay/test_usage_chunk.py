"""Asking a stream for its usage, and taking the chunk out again."""

from __future__ import annotations

import json

import pytest

from proxy.relay.usage_chunk import ask_for_usage, without_usage_chunk

USAGE = b'{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}'
TEXT = b'data: {"choices":[{"delta":{"content":"the \\"usage\\""}}],"usage":null}\n\n'
CHUNK = b'data: {"choices":[],"usage":' + USAGE + b"}\n\n"
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("body", "asking"),
    [
        pytest.param(
            b'{"model": "m",  "stream":true}',
            b'{"model": "m",  "stream":true,"stream_options":{"include_usage":true}}',
            id="absent",
        ),
        pytest.param(
            b'{"stream_options":null,"stream":true}',
            b'{"stream_options":{"include_usage":true},"stream":true}',
            id="null",
        ),
        pytest.param(
            b'{"stream_options":{"include_usage":false,"x":[1.50]},"stream":true}',
            b'{"stream_options":{"include_usage":true,"x":[1.5]},"stream":true}',
            id="refused",
        ),
        pytest.param(b'{"stream_options":{"include_usage":true}}', None, id="asked-already"),
        pytest.param(b'{"stream_options":"yes"}', None, id="of-another-kind"),
    ],
)
def test_asking(body: bytes, asking: bytes | None) -> None:
    asked = ask_for_usage(body)
    assert (asked is None) == (asking is None)
    if asked is not None and asking is not None:
        assert json.loads(asked) == json.loads(asking)
        assert asked.startswith(body[: body.index(b"stream")])


@pytest.mark.parametrize(
    ("events", "left"),
    [
        pytest.param(TEXT + CHUNK + DONE, TEXT + DONE, id="chunk"),
        pytest.param(CHUNK.replace(b"\n", b"\r\n") + DONE, DONE, id="crlf"),
        pytest.param(CHUNK[:-2], b"", id="without-its-end"),
        pytest.param(b": hi\nid: 1\n" + CHUNK + DONE, DONE, id="with-an-id"),
        pytest.param(TEXT + DONE, TEXT + DONE, id="none"),
        pytest.param(b"", b"", id="nothing"),
    ],
)
def test_taking_it_out(events: bytes, left: bytes) -> None:
    assert without_usage_chunk(events) == left


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(b'data: {"choices":[{"delta":{}}],"usage":' + USAGE + b"}\n\n", id="beside-a-choice"),
        pytest.param(
            b'data: {"choices":[],"usage":null,"prompt_filter_results":[]}\n\n', id="no-choice-for-another-reason"
        ),
        pytest.param(b'data: {"choices":[],"usage":{}}\n\n', id="empty"),
        pytest.param(b'data: {"usage":' + USAGE + b"}\n\n", id="no-choices-at-all"),
        pytest.param(b'data: {"choices":[],"usage":"much"}\n\n', id="of-another-kind"),
        pytest.param(b'data: "usage" {\n\n', id="no-json"),
        pytest.param(b': "usage"\n\n', id="comment"),
        pytest.param(b'data: {"usage":"\xff","choices":[]}\n\n', id="not-utf-8"),
    ],
)
def test_what_is_another_thing_stays(event: bytes) -> None:
    assert without_usage_chunk(TEXT + event + DONE) == TEXT + event + DONE
