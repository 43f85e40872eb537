"""What is read of a request, and how little is asked of its shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Text
from proxy.errors import BadRequest
from proxy.routing.chat import read_chat
from proxy.routing.reading import header_map
from tests.routing.requests import facts, user

SYSTEM = {"role": "system", "content": "You are a pirate"}
TOOL = {"role": "tool", "tool_call_id": "c1", "content": "42 degrees"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function"}]}
SAID = {"role": "assistant", "content": "an answer"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def text_part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("messages", "turns", "text"),
    [
        pytest.param([user("one")], 1, "one", id="one-message"),
        pytest.param([user("one"), SAID, user("two")], 1, "two", id="the-last-one"),
        pytest.param([user("one"), SAID, user("two")], 2, "one\ntwo", id="two-turns-oldest-first"),
        pytest.param([user("one"), user("two"), user("three")], 2, "two\nthree", id="no-more-than-asked-for"),
        pytest.param([user("one")], 5, "one", id="fewer-than-asked-for"),
        pytest.param([SYSTEM, user("one")], 9, "one", id="no-system-prompt"),
        pytest.param([{**SYSTEM, "role": "developer"}, user("one")], 9, "one", id="no-developer-prompt"),
        pytest.param([user("one"), CALL, TOOL], 9, "one", id="no-tool-result"),
        pytest.param([user("one"), SAID], 9, "one", id="not-the-assistants-own-words"),
        pytest.param([SYSTEM, SAID, TOOL], 9, "", id="no-user-no-text"),
        pytest.param([user("one"), user("  \n")], 1, "one", id="a-blank-message-is-no-turn"),
        pytest.param([user("one"), user(None)], 1, "one", id="null-content-is-no-turn"),
        pytest.param([user("one"), user([IMAGE])], 1, "one", id="an-image-alone-is-no-turn"),
        pytest.param([user("  one \n")], 1, "one", id="stripped"),
        pytest.param([user([text_part("one"), IMAGE, text_part("two")])], 1, "one\ntwo", id="text-parts-joined"),
        pytest.param([user([{"type": "refusal", "text": "no"}])], 1, "", id="only-parts-of-type-text"),
        pytest.param([user("Grüße 🚂")], 1, "Grüße 🚂", id="unicode"),
        pytest.param([{**user("one"), "name": "ann", "x": [1, {"y": None}]}], 1, "one", id="unknown-fields"),
    ],
)
def test_text(messages: list[Any], turns: int, text: str) -> None:
    assert facts(*messages).text(Text(turns=turns)) == text


@pytest.mark.parametrize(
    ("odd", "text"),
    [
        pytest.param(user(7), "before", id="content-a-number"),
        pytest.param(user({"text": "no"}), "before", id="content-an-object"),
        pytest.param(user([text_part("part"), 7, None]), "part", id="parts-that-are-no-objects"),
        pytest.param(user(["plain", text_part("part")]), "part", id="a-string-among-parts"),
        pytest.param(user([{"type": "text", "text": 7}]), "before", id="part-text-a-number"),
        pytest.param(user([{"type": None, "text": "x"}]), "before", id="part-type-null"),
        pytest.param(user([{"text": "x"}]), "before", id="part-without-type"),
        pytest.param({"role": 7, "content": "x"}, "before", id="role-a-number"),
        pytest.param({"content": "x"}, "before", id="no-role"),
        pytest.param({}, "before", id="empty-message"),
        pytest.param("hello", "before", id="a-string-as-message"),
        pytest.param(None, "before", id="null-as-message"),
        pytest.param([user("x")], "before", id="a-list-as-message"),
    ],
)
def test_odd_message_costs_only_its_own_text(odd: Any, text: str) -> None:
    """The messages around it are still read; the upstream judges the rest."""
    read = facts(user("before"), odd)
    assert read.text(Text(turns=1)) == text
    assert read.tokens > 0


@pytest.mark.parametrize("messages", ["[]", "[null]", "[[]]"])
def test_no_message_no_text(messages: str) -> None:
    read = read_chat(b'{"model": "auto", "messages": %s}' % messages.encode(), {})
    assert (read.text(Text(turns=3)), read.tokens) == ("", 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=4))
def test_any_messages_are_read(messages: list[Any]) -> None:
    """Whatever stands in the list, reading it fails nobody's request."""
    read = read_chat(json.dumps({"model": "auto", "messages": messages}).encode(), {})
    assert isinstance(read.text(Text(turns=2)), str)
    assert read.tokens >= 0


@pytest.mark.parametrize(
    ("messages", "fields", "tokens"),
    [
        pytest.param([user("")], {}, 4, id="a-message-costs-four"),
        pytest.param([user("x" * 400)], {}, 104, id="four-bytes-a-token"),
        pytest.param([user("ä" * 200)], {}, 104, id="bytes-not-characters"),
        pytest.param([user("x" * 40), SAID], {}, 20, id="every-role-counts"),
        pytest.param([user([text_part("x" * 40), IMAGE, IMAGE])], {}, 1614, id="images"),
        pytest.param([user([{"type": "file", "file": {"file_data": "A" * 4000}}])], {}, 804, id="a-file-as-an-image"),
        pytest.param([{**SAID, "content": None, "tool_calls": ["x" * 396]}], {}, 4 + 400 // 4, id="calls-of-tools"),
        pytest.param([{"role": "assistant", "function_call": {"a": "x" * 392}}], {}, 4 + 400 // 4, id="an-older-call"),
        pytest.param([user(None)], {}, 4, id="null-content"),
        pytest.param([user("x" * 40), 7], {}, 14, id="what-is-no-message-costs-nothing"),
        pytest.param([user("")], {"tools": ["x" * 394]}, 4 + 398 // 4, id="tools"),
    ],
)
def test_tokens(messages: list[Any], fields: dict[str, Any], tokens: int) -> None:
    assert facts(*messages, **fields).tokens == tokens


def test_the_longer_the_text_the_more_tokens_also_in_megabytes() -> None:
    assert facts(user("word " * 400_000)).tokens == 500_004


@pytest.mark.parametrize(
    ("stream", "expected"), [(True, True), (False, False), (None, False), ("true", False), (1, False)]
)
def test_stream_is_only_true(stream: Any, expected: bool) -> None:
    assert facts(stream=stream).is_stream is expected


def test_no_stream_is_no_stream() -> None:
    assert facts().is_stream is False


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        pytest.param(b"", "not valid JSON", None, id="empty"),
        pytest.param(b"{", "not valid JSON", None, id="cut"),
        pytest.param(b"[]", "must be a JSON object, not an array", None, id="array"),
        pytest.param(b'"hi"', "must be a JSON object, not a string", None, id="string"),
        pytest.param(b"null", "must be a JSON object, not null", None, id="null"),
        pytest.param(b" \n17", "must be a JSON object, not a number", None, id="number"),
        pytest.param(b'{"model": "\xff", "messages": []}', "not UTF-8: byte 11", None, id="not-utf-8"),
        pytest.param(b'{"messages": []}', "Missing required parameter: 'model'", "model", id="no-model"),
        pytest.param(b'{"model": 5, "messages": []}', "expected a string, got a number", "model", id="model-number"),
        pytest.param(b'{"model": null, "messages": []}', "expected a string, got null", "model", id="model-null"),
        pytest.param(b'{"model": "auto"}', "Missing required parameter: 'messages'", "messages", id="no-messages"),
        pytest.param(
            b'{"model": "auto", "messages": "hi"}', "expected an array, got a string", "messages", id="messages-string"
        ),
        pytest.param(
            b'{"model": "auto", "messages": {}}', "expected an array, got an object", "messages", id="messages-object"
        ),
    ],
)
def test_bad_body(body: bytes, message: str, param: str | None) -> None:
    with pytest.raises(BadRequest, match=message) as raised:
        read_chat(body, {})
    assert raised.value.param == param


@pytest.mark.parametrize("field", ["messages", "other"])
def test_a_very_deep_body_is_answered(field: str) -> None:
    """Not with a crash: either it is read, or the client is told."""
    deep = b"[" * 100_000 + b"]" * 100_000
    other = b"" if field == "messages" else b'"messages": [], '
    try:
        read = read_chat(b'{"model": "auto", %s"%s": %s}' % (other, field.encode(), deep), {})
    except BadRequest as error:
        assert "nested too deeply" in str(error)
    else:
        assert read.text(Text(turns=1)) == ""


def test_a_bad_body_is_not_quoted() -> None:
    """An error's text reaches logs, which hold no prompt."""
    with pytest.raises(BadRequest) as raised:
        read_chat(b'{"model": "auto", "messages": [{"content": "my secret" oops}]}', {})
    assert "secret" not in str(raised.value)
    assert "oops" not in str(raised.value)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param([], {}, id="none"),
        pytest.param([(b"x-a", b"1"), (b"x-b", b"2")], {"x-a": "1", "x-b": "2"}, id="two"),
        pytest.param([(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")], {"x-a": "1, 3", "x-b": "2"}, id="repeated"),
        pytest.param([(b"x-a", b"\xe4")], {"x-a": "ä"}, id="latin-1"),
        pytest.param([(b"x-a", b"\xc3\xa4"), (b"x-a", b"\xe4")], {"x-a": "ä, ä"}, id="utf-8"),
    ],
)
def test_header_map(headers: list[tuple[bytes, bytes]], expected: dict[str, str]) -> None:
    assert header_map(headers) == expected


@pytest.mark.parametrize(
    ("said", "left"),
    [
        pytest.param("<system-reminder>use tools</system-reminder>\nfix it", "fix it", id="before"),
        pytest.param(
            "a <system-reminder>x</system-reminder> b <system-reminder>\ny\n</system-reminder>", "a  b", id="twice"
        ),
        pytest.param("<environment_context>linux</environment_context>hi", "hi", id="another-tag"),
        pytest.param("<system-reminder>never closed, fix it", "<system-reminder>never closed, fix it", id="open"),
        pytest.param(
            "</system-reminder> fix <system-reminder>", "</system-reminder> fix <system-reminder>", id="turned"
        ),
        pytest.param("<b>bold</b>", "<b>bold</b>", id="not-a-reminder"),
        pytest.param("<System-Reminder>x</System-Reminder>y", "<System-Reminder>x</System-Reminder>y", id="case"),
    ],
)
def test_what_a_harness_puts_in_a_users_message_does_not_steer(said: str, left: str) -> None:
    assert facts(user(said)).text(Text()) == left


def test_a_message_of_reminders_only_is_passed_over() -> None:
    read = facts(user("fix my loop"), user("<system-reminder>tests failed</system-reminder>"))
    assert read.text(Text()) == "fix my loop"
    assert read.text(Text(ignore=())) == "<system-reminder>tests failed</system-reminder>"
    assert facts(user("<note>x</note>y")).text(Text(ignore=("note",))) == "y"


def test_a_million_tags_take_no_time() -> None:
    assert facts(user("<system-reminder>" * 100_000 + "</system-reminder>")).text(Text()) == ""


@pytest.mark.parametrize("role", ["assistant", "tool", "function"])
def test_a_conversation_has_begun_once_anybody_answered(role: str) -> None:
    """What a client has cut off may have been all that its model said."""
    assert facts(user("hi")).starts_conversation
    assert not facts(user("hi"), {"role": role, "content": "sunny"}).starts_conversation
