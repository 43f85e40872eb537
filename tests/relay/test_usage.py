import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.relay.usage import StreamUsage, Usage, id_of_json, model_of_json, usage_of_json

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


RESPONSE = (
    b'{"id":"resp_1","usage":{"input_tokens":30,"input_tokens_details":{"cached_tokens":10},"output_tokens":20,'
    b'"output_tokens_details":{"reasoning_tokens":15},"total_tokens":50}}'
)
MESSAGE = (
    b'{"id":"msg_1","type":"message","usage":{"input_tokens":20,"cache_creation_input_tokens":4,'
    b'"cache_read_input_tokens":10,"output_tokens":20}}'
)
CACHE = b'"cache_read_input_tokens":80,"cache_creation_input_tokens":15'
LITELLM_CHAT = (
    b'{"id":"x","usage":{"prompt_tokens":100,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":80},%b}}'
    % CACHE
)
LITELLM_RESPONSE = (
    b'{"id":"x","usage":{"input_tokens":100,"output_tokens":5,"input_tokens_details":{"cached_tokens":80},%b}}' % CACHE
)
LITELLM = Usage(prompt=100, cached=80, cache_write=15, completion=5)
WRITES = b'{"usage":{"prompt_tokens":30,"prompt_tokens_details":{"cached_tokens":10,"cache_write_tokens":4}}}'


@pytest.mark.parametrize(
    ("body", "usage", "name"),
    [
        pytest.param(LITELLM_CHAT, LITELLM, "x", id="litellm-chat"),
        pytest.param(LITELLM_RESPONSE, LITELLM, "x", id="litellm-response"),
        pytest.param(RESPONSE, Usage(prompt=30, cached=10, completion=20, reasoning=15), "resp_1", id="response"),
        pytest.param(MESSAGE, Usage(prompt=34, cached=10, cache_write=4, completion=20), "msg_1", id="message"),
        pytest.param(WRITES, Usage(prompt=30, cached=10, cache_write=4), None, id="writes-in-the-details"),
        pytest.param(b'{"usage":{"input_tokens":7,"output_tokens":0}}', Usage(prompt=7), None, id="no-details"),
        pytest.param(b'{"id":3,"usage":{"input_tokens":7}}', Usage(prompt=7), None, id="a-number-for-an-id"),
        pytest.param(b'{"id":"x","usage":{"total_tokens":7}}', None, "x", id="a-sum-alone"),
        pytest.param(b'{"id":"x","usage":{"seconds":7}}', None, "x", id="seconds"),
    ],
)
def test_the_other_forms(body: bytes, usage: Usage | None, name: str | None) -> None:
    """As OpenAI's responses tell it, and as Anthropic's messages do: what its cache read is beside the prompt there."""
    assert usage_of_json(body) == usage
    assert id_of_json(body) == name


def test_half_of_a_surrogate_pair_hides_nothing() -> None:
    body = rb'{"choices":[{"message":{"content":"cut \ud83d"}}],"id":"x","model":"m","usage":{"prompt_tokens":3}}'
    assert (usage_of_json(body), id_of_json(body), model_of_json(body)) == (Usage(prompt=3), "x", "m")


def named(kind: bytes, data: bytes) -> bytes:
    return b'event: %b\ndata: {"type":"%b",%b}\n\n' % (kind, kind, data)


CACHES = b'"cache_read_input_tokens":10,"cache_creation_input_tokens":4'
TOLD = Usage(prompt=34, cached=10, cache_write=4, completion=9)


def anthropics(filler: int, last: bytes) -> bytes:
    start = b'"message":{"id":"msg_1","content":[],"usage":{"input_tokens":20,%b,"output_tokens":1}}' % CACHES
    delta = named(b"content_block_delta", b'"index":0,"delta":{"type":"text_delta","text":"\\"usage\\": {}, said it"}')
    end = named(b"message_delta", b'"delta":{"stop_reason":"end_turn"},"usage":' + last)
    return named(b"message_start", start) + delta * filler + end + named(b"message_stop", b'"x":1')


@pytest.mark.parametrize(("filler", "size"), [(0, 1), (10, 1), (10, 777), (2_000, 777), (2_000, 1 << 20)])
@pytest.mark.parametrize(
    ("last", "usage"),
    [
        pytest.param(b'{"output_tokens":9}', TOLD, id="the-answers-alone"),
        pytest.param(
            b'{"input_tokens":20,%b,"output_tokens":9}' % CACHES,
            TOLD,
            id="all-again",
        ),
    ],
)
def test_anthropics_stream_tells_the_prompt_first_and_the_answer_last(
    filler: int, size: int, last: bytes, usage: Usage
) -> None:
    seen, stream = StreamUsage(), anthropics(filler, last)
    for at in range(0, len(stream), size):
        seen.feed(stream[at : at + size])
    assert seen.result() == usage
    assert seen.id() == "msg_1"


def test_anthropics_stream_that_is_cut_tells_what_it_told() -> None:
    seen = StreamUsage()
    seen.feed(anthropics(3, b'{"output_tokens":9}').split(b"event: message_delta")[0])
    assert seen.result() == msgspec.structs.replace(TOLD, completion=1)


def test_a_responses_stream_tells_it_in_a_large_last_event() -> None:
    seen = StreamUsage()
    seen.feed(named(b"response.created", b'"response":{"id":"resp_1","usage":null}'))
    whole = RESPONSE.removesuffix(b"}") + b',"user":null,"metadata":{"a":"' + b"x" * 8_000 + b'"}}'
    seen.feed(named(b"response.completed", b'"response":{"output":"' + b"y" * 100_000 + b'",' + whole[1:]))
    assert seen.result() == Usage(prompt=30, cached=10, completion=20, reasoning=15)
    assert seen.id() == "resp_1"


@pytest.mark.parametrize(
    ("stream", "name"),
    [
        pytest.param(b'data: {"id":"chatcmpl-1","choices":[]}\n\n', "chatcmpl-1", id="chat"),
        pytest.param(b'data: {"id" : "a-b_c.1"}\n\n', "a-b_c.1", id="spaced"),
        pytest.param(b'data: {"text":"\\"id\\":\\"no\\""}\n\n', None, id="said-in-a-text"),
        pytest.param(b'data: {"id":"caf\xc3\xa9"}\n\n', None, id="not-ascii"),
        pytest.param(b'data: {"id":"' + b"x" * 201 + b'"}\n\n', None, id="absurdly-long"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_the_id_of_a_stream(stream: bytes, name: str | None) -> None:
    seen = StreamUsage()
    seen.feed(stream)
    assert seen.id() == name


@pytest.mark.parametrize("size", [1, 100, 4_000, 70_000])
def test_the_next_number_follows_the_last_event_however_large_that_is(size: int) -> None:
    """As one with an image is, of which neither the first bytes nor the last tell the number."""
    events = [b'data: {"sequence_number":%d,"delta":"hi"}\n\n' % number for number in range(500)]
    stream = b"".join(events) + b'data: {"sequence_number":500,"image":"' + b"x" * 300_000 + b'"}\n\n'
    seen = StreamUsage()
    for start in range(0, len(stream), size):
        seen.feed(stream[start : start + size])
    assert seen.next_number() == 501
