import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.relay.usage import StreamUsage, Usage, usage_of_json

PLAIN = b'{"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
FULL = (
    b'{"id":"x","usage":{"prompt_tokens":30,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":10,'
    b'"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":15}}}'
)
NULLS = b'{"usage":{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":null,"completion_tokens_details":{"reasoning_tokens":null}}}'


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        pytest.param(PLAIN, Usage(prompt=3, completion=2), id="plain"),
        pytest.param(FULL, Usage(prompt=30, cached=10, completion=20, reasoning=15), id="details"),
        pytest.param(NULLS, Usage(prompt=3, completion=2), id="null-details"),
        pytest.param(b'{"usage":{"prompt_tokens":7}}', Usage(prompt=7), id="prompt-only"),
        pytest.param(b'{"usage":null}', None, id="null"),
        pytest.param(b"{}", None, id="absent"),
        pytest.param(b'{"usage":"much"}', None, id="of-another-type"),
        pytest.param(b'{"usage":{"prompt_tokens":"3"}}', None, id="number-as-text"),
        pytest.param(b"<html>", None, id="html"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b'{"a":' + b"[" * 100_000, None, id="nested"),
        pytest.param(b'{"usage":{"prompt_tokens":3,"x":"\xff"}}', Usage(prompt=3), id="not-utf-8"),
    ],
)
def test_usage_of_json(body: bytes, usage: Usage | None) -> None:
    assert usage_of_json(body) == usage


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@given(sizes=st.lists(st.integers(1, 9000), min_size=1), filler=st.integers(0, 600), space=st.sampled_from([b"", b" "]))
def test_usage_of_a_stream(ending: bytes, sizes: list[int], filler: int, space: bytes) -> None:
    """However the stream is cut, its usage is found."""
    chunk = b'data: {"choices":[{"delta":{"content":"\\"usage\\" is a word"}}],"usage":null}' + ending * 2
    stream = chunk * filler + b"data:" + space + FULL + ending * 2 + b"data: [DONE]" + ending * 2
    usage = StreamUsage()
    at = 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        usage.feed(stream[at : at + size])
        at += size
    assert usage.result() == Usage(prompt=30, cached=10, completion=20, reasoning=15)


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"data: [DONE]\n\n", id="none"),
        pytest.param(b'data: {"usage":null}\n\n', id="null"),
        pytest.param(b'data: {"usage":{"prompt_to', id="cut"),
        pytest.param(b': "usage"\n\n', id="comment"),
    ],
)
def test_a_stream_without_usage(stream: bytes) -> None:
    usage = StreamUsage()
    usage.feed(stream)
    assert usage.result() is None


def test_the_last_usage_counts() -> None:
    usage = StreamUsage()
    usage.feed(b'data: {"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\ndata: ' + PLAIN + b"\n\n")
    assert usage.result() == Usage(prompt=3, completion=2)
