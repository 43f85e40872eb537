import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UpstreamTimeout
from proxy.relay.events import WholeEvents, are_last, are_whole, error_event

LINES = st.lists(st.from_regex(rb"(?:data|event|id)?: ?[^\r\n]{0,6}", fullmatch=True), min_size=1, max_size=3)


def _feed(chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    events = WholeEvents()
    return [events.feed(chunk) for chunk in chunks], events.rest()


def _cut(stream: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(stream) + 1) for place in at), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


@given(
    st.lists(LINES, max_size=5),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 200), max_size=12),
    st.sampled_from([b"", b"data: half", b":"]),
)
def test_only_whole_events_pass(events: list[list[bytes]], ending: bytes, at: list[int], half: bytes) -> None:
    """However the stream is cut, nothing is lost, what passes ends with an event, and whole events are not kept."""
    whole = b"".join(ending.join(lines) + ending * 2 for lines in events)
    passed, rest = _feed(_cut(whole + half, at))
    assert b"".join(passed) == whole
    assert rest == half
    assert all(piece.endswith(ending * 2) for piece in passed if piece)
    assert all(map(are_whole, passed))


@given(st.lists(st.binary(max_size=8).map(lambda data: data.replace(b"a", b"\n").replace(b"b", b"\r"))))
def test_no_byte_is_lost(chunks: list[bytes]) -> None:
    passed, rest = _feed(chunks)
    assert b"".join(passed) + rest == b"".join(chunks)


@pytest.mark.parametrize(
    ("chunks", "expected", "rest"),
    [
        pytest.param([b"data: 1\n\n"], [b"data: 1\n\n"], b"", id="one"),
        pytest.param([b"data: 1\n", b"\n"], [b"", b"data: 1\n\n"], b"", id="end-in-two"),
        pytest.param([b"data: 1\r\n\r", b"\ndata: 2"], [b"", b"data: 1\r\n\r\n"], b"data: 2", id="crlf-in-two"),
        pytest.param([b"data: 1\n\ndata: 2\n\ndata"], [b"data: 1\n\ndata: 2\n\n"], b"data", id="several"),
        pytest.param([b"data: [DONE]"], [b""], b"data: [DONE]", id="no-last-empty-line"),
    ],
)
def test_feed(chunks: list[bytes], expected: list[bytes], rest: bytes) -> None:
    assert _feed(chunks) == (expected, rest)


def test_a_huge_event_is_not_held_back() -> None:
    events = WholeEvents()
    huge = b"data: " + b"x" * 300_000
    assert events.feed(huge) == huge
    assert not are_whole(huge)
    assert events.feed(b"\n\n") == b"\n\n"


def test_half_of_a_surrogate_pair_hides_no_last_event() -> None:
    assert are_last(rb'data: {"type":"response.completed","response":{"output":["cut \ud83d"]}}' + b"\n\n")


def test_error_event() -> None:
    event = error_event(UpstreamTimeout("slow"), "openai")
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    assert json.loads(event[6:])["error"]["message"] == "slow"


def test_error_event_of_responses() -> None:
    event = error_event(UpstreamTimeout("slow"), "openai", 7)
    assert event.startswith(b"event: error\ndata: {")
    assert event.endswith(b"}\n\n")
    told = {"code": "upstream_timeout", "message": "slow", "param": None}
    assert json.loads(event.split(b"data: ")[1]) == {
        "type": "error", "sequence_number": 7, **told, "error": {"type": "upstream_error", **told},
    }  # fmt: skip


def test_error_event_of_anthropic() -> None:
    event = error_event(UpstreamTimeout("slow"), "anthropic")
    assert event.startswith(b"event: error\ndata: {")
    assert event.endswith(b"}\n\n")
    told = {"type": "api_error", "message": "slow"}
    assert json.loads(event.split(b"data: ")[1]) == {"type": "error", "error": told}
