"""What is read of a request to Anthropic's `/messages`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Text
from proxy.errors import BadRequest
from proxy.routing.facts import Facts
from proxy.routing.messages import read_message
from tests.routing.requests import user

USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}]}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "42 degrees"}
SEEN = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 400_000}}
SCHEMA = {"type": "json_schema", "schema": {"type": "object"}}
REMINDER = "<system-reminder>Be brief.</system-reminder>"
SAID = {"role": "assistant", "content": "an answer"}


def facts(*messages: Any, headers: dict[str, str] | None = None, **fields: Any) -> Facts:
    body = {"model": "claude", "max_tokens": 100, "messages": list(messages) or [user("hi")], **fields}
    return read_message(json.dumps(body).encode(), headers or {})


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


@pytest.mark.parametrize(
    ("messages", "turns", "routed_on"),
    [
        pytest.param([user("one")], 1, "one", id="a-text"),
        pytest.param([user([text("one"), text("two")])], 1, "one\ntwo", id="blocks"),
        pytest.param([user("one"), SAID, user("two")], 1, "two", id="the-last-one"),
        pytest.param([user("one"), SAID, user("two")], 2, "one\ntwo", id="two-turns"),
        pytest.param([user("one"), USE, user([RESULT])], 9, "one", id="no-result-of-a-tool"),
        pytest.param([user("one"), USE, user([RESULT, text("and?")])], 1, "and?", id="what-is-said-beside-a-result"),
        pytest.param([user([text("a <system-reminder>b</system-reminder>")])], 1, "a", id="no-reminder"),
        pytest.param([user([{"type": "image"}, text("one")])], 1, "one", id="beside-an-image"),
        pytest.param([user([3, text("one")]), 5], 1, "one", id="a-shape-of-its-own"),
        pytest.param([SAID], 1, "", id="none"),
    ],
)
def test_the_text_to_route_on(messages: list[Any], turns: int, routed_on: str) -> None:
    assert facts(*messages, system="Be a pirate.").text(Text(turns=turns)) == routed_on


def test_it_speaks_another_protocol() -> None:
    assert facts().protocol == "anthropic"


@pytest.mark.parametrize(
    ("messages", "fields", "features"),
    [
        pytest.param([], {}, set(), id="none"),
        pytest.param([], {"stream": True, "tools": [{"name": "f"}]}, {"stream", "tools"}, id="stream-and-tools"),
        pytest.param([], {"mcp_servers": [{"type": "url", "url": "https://a", "name": "a"}]}, {"tools"}, id="servers"),
        pytest.param([], {"mcp_servers": []}, set(), id="no-server"),
        pytest.param([], {"output_config": {"effort": "low", "format": SCHEMA}}, {"json_schema"}, id="json-schema"),
        pytest.param([], {"output_format": SCHEMA}, {"json_schema"}, id="of-the-beta"),
        pytest.param([], {"output_config": {"format": {"type": "text"}}, "output_format": 3}, set(), id="other-forms"),
        pytest.param([], {"output_config": {"effort": "low"}, "output_format": None}, set(), id="no-form"),
        pytest.param([user([{"type": "image", "source": {}}])], {}, {"images"}, id="image"),
        pytest.param([user([{"type": "document", "source": {}}])], {}, {"files"}, id="document"),
        pytest.param([user([{**RESULT, "content": [SEEN]}])], {}, {"images"}, id="an-image-that-a-tool-gave"),
    ],
)
def test_features(messages: list[Any], fields: dict[str, Any], features: set[str]) -> None:
    assert facts(*messages, **fields).features == features


def test_size() -> None:
    assert facts(user("x" * 400)).tokens == pytest.approx(100, abs=6)
    for system in ("y" * 400, [text("y" * 400)]):
        assert facts(user("x" * 400), system=system).tokens == pytest.approx(200, abs=12)
    assert facts(user("hi"), USE, user([{**RESULT, "content": "z" * 4_000}])).tokens == pytest.approx(1_000, abs=30)
    nested = [text("z" * 4_000)]
    assert facts(user("hi"), USE, user([{**RESULT, "content": nested}])).tokens == pytest.approx(1_000, abs=40)
    other = [{"type": "search_result", "source": "s", "title": "t", "content": [text("z" * 4_000)]}]
    assert facts(user("hi"), USE, user([{**RESULT, "content": other}])).tokens == pytest.approx(1_000, abs=60)
    seen = [text("z" * 4_000), SEEN]
    assert facts(user("hi"), USE, user([{**RESULT, "content": seen}])).tokens == pytest.approx(1_800, abs=40)
    assert facts(max_tokens=77).tokens_needed == facts().tokens + 77


def document(**source: Any) -> dict[str, Any]:
    return {"type": "document", "source": source}


LONG = "z" * 4_000
PDF = {"type": "base64", "media_type": "application/pdf", "data": "A" * 400_000}


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        pytest.param([{"type": "tool_use", "id": "t1", "name": "f", "input": {"x": LONG}}], 1_000, id="a-call"),
        pytest.param([document(type="text", media_type="text/plain", data=LONG)], 1_000, id="a-text"),
        pytest.param([document(type="content", content=LONG)], 1_000, id="content"),
        pytest.param([document(type="content", content=[text(LONG), SEEN])], 1_000, id="content-in-parts"),
        pytest.param([document(**PDF)], 800, id="a-pdf-as-an-image"),
        pytest.param([{**RESULT, "content": [document(type="text", data=LONG)]}], 1_000, id="that-a-tool-gave"),
        pytest.param([{"type": "search_result", "title": "t", "content": [text(LONG)]}], 1_000, id="a-search-result"),
        pytest.param([document(type="content", content=[document(type="text", data=LONG)])], 0, id="none-in-another"),
        pytest.param([document(type="text", data=3)], 800, id="a-shape-of-its-own"),
    ],
)
def test_the_size_of_a_block(content: list[dict[str, Any]], tokens: int) -> None:
    assert facts(user(content)).tokens == pytest.approx(tokens, abs=20)


@pytest.mark.parametrize(
    ("messages", "is_bound", "turns"),
    [
        pytest.param([user("hi")], False, 1, id="begins"),
        pytest.param([user("hi"), USE, user([RESULT])], True, 1, id="a-tool-answers"),
        pytest.param([user("hi"), USE, user([RESULT, RESULT])], True, 1, id="two-answer"),
        pytest.param([user("hi"), USE, user([RESULT, text("and?")])], False, 2, id="and-the-user-speaks"),
        pytest.param([user("hi"), USE, user([RESULT, text(REMINDER)])], True, 1, id="and-a-tool-reminds"),
        pytest.param([user("hi"), USE, user([RESULT]), user(REMINDER)], True, 1, id="in-a-message-of-its-own"),
        pytest.param([user("hi"), USE, user([RESULT, text(REMINDER + "and?")])], False, 2, id="beside-the-user"),
        pytest.param([user("hi"), USE, user([RESULT, text(REMINDER), {"type": "image"}])], False, 2, id="an-image"),
        pytest.param([user("hi"), SAID, user("and?")], False, 2, id="goes-on"),
        pytest.param([user("hi"), SAID, user([])], False, 2, id="nothing"),
        pytest.param([user("hi"), {"role": "assistant", "content": [RESULT]}], False, 1, id="what-a-model-gave-itself"),
    ],
)
def test_amid_tool_calls(messages: list[Any], is_bound: bool, turns: int) -> None:
    read = facts(*messages)
    assert (read.is_bound(Text()), read.turns(Text())) == (is_bound, turns)


def test_a_conversation_is_known_by_how_it_began() -> None:
    begun = facts(user("hi"), system="Be a pirate.")
    going = facts(user("hi"), SAID, user("and?"), system="Be a pirate.")
    assert (begun.starts_conversation, going.starts_conversation) == (True, False)
    assert begun.conversation == going.conversation
    assert facts(user("hi"), system="Be a parrot.").conversation != begun.conversation
    told = text("x-anthropic-billing-header: cch=0a1b2;")
    assert facts(user("hi"), system=[told, text("Be a pirate.")]).conversation == begun.conversation
    assert not begun.is_kept


@pytest.mark.parametrize(
    ("part", "names_files"),
    [
        ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, True),
        ({"type": "container_upload", "file_id": "file_1"}, True),
        ({"type": "image", "source": {"type": "base64", "data": "eA=="}}, False),
        ({"type": "document", "source": "file_id"}, False),
    ],
)
def test_what_names_a_file_that_an_upstream_keeps(part: Any, names_files: bool) -> None:
    assert facts(user([part])).names_files == names_files


@pytest.mark.parametrize(
    ("metadata", "name"),
    [({"user_id": "ada"}, "ada"), ({"user_id": 3}, None), ({}, None), (None, None), ("ada", None)],
)
def test_the_user(metadata: Any, name: str | None) -> None:
    assert facts(metadata=metadata, user="eve").user == name


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"messages":[]}', "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":"m","messages":{}}', "messages"),
        (b'{"model":"m","messages":"x"}', "messages"),
        (b"[]", None),
        (b'{"model":"m","messages":[', None),
    ],
)
def test_what_must_be_there(body: bytes, param: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        read_message(body, {})
    assert caught.value.param == param


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "text", "user_id"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(ANYTHING, max_size=3), ANYTHING, ANYTHING)
def test_whatever_the_shape_the_upstream_judges(messages: list[Any], system: Any, metadata: Any) -> None:
    read = facts(*messages, system=system, metadata=metadata)
    assert read.tokens >= 0
    assert isinstance(read.text(Text(turns=9)), str)
    assert isinstance(read.conversation, str)
    assert read.features is not None
    assert read.is_bound(Text()) in (True, False)
    assert read.user is None or isinstance(read.user, str)
