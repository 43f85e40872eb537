"""What is read of a request to `/responses`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Text
from proxy.errors import BadRequest
from proxy.routing.facts import Facts, conversation_after
from proxy.routing.responses import read_passed, read_response

CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"x": 1}'}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "42 degrees"}
SAID = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "an answer"}]}
SCREEN = {"type": "computer_screenshot", "image_url": "data:image/png;base64," + "A" * 400_000}
SHOWN = {"type": "computer_call_output", "call_id": "c1", "output": SCREEN}
SEEN = {**OUTPUT, "output": [{"type": "input_image", "image_url": SCREEN["image_url"]}]}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}
ENCRYPTED = {**REASONING, "encrypted_content": "gAAA"}
SHORTENED = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"}


def facts(said: Any = "hi", *, headers: dict[str, str] | None = None, **fields: Any) -> Facts:
    return read_response(json.dumps({"model": "auto", "input": said, **fields}).encode(), headers or {})


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("said", "turns", "text"),
    [
        pytest.param("one", 1, "one", id="a-text"),
        pytest.param([user("one")], 1, "one", id="an-item"),
        pytest.param([{"type": "message", **user("one")}], 1, "one", id="an-item-that-says-its-kind"),
        pytest.param([user("one"), SAID, user("two")], 1, "two", id="the-last-one"),
        pytest.param([user("one"), SAID, user("two")], 2, "one\ntwo", id="two-turns"),
        pytest.param([user([{"type": "input_text", "text": "a"}, {"type": "input_image"}])], 1, "a", id="parts"),
        pytest.param([user("one"), REASONING, CALL, OUTPUT], 9, "one", id="neither-thoughts-nor-tools"),
        pytest.param([{"role": "developer", "content": "pirate"}, user("one")], 9, "one", id="no-developer"),
        pytest.param([{"type": "item_reference", "id": "x"}, 3, None, user("one")], 9, "one", id="what-nobody-knows"),
        pytest.param([{"type": 3}, user("one")], 1, "one", id="a-shape-of-its-own"),
        pytest.param([], 1, "", id="no-item"),
        pytest.param(None, 1, "", id="a-stored-prompt-instead"),
        pytest.param({"a": 1}, 1, "", id="another-thing"),
    ],
)  # fmt: skip
def test_the_text_to_route_on(said: Any, turns: int, text: str) -> None:
    assert facts(said, instructions="Be a pirate.").text(Text(turns=turns)) == text


@pytest.mark.parametrize(
    ("fields", "features"),
    [
        pytest.param({}, set(), id="none"),
        pytest.param({"stream": True}, {"stream"}, id="stream"),
        pytest.param({"tools": [{"type": "function"}]}, {"tools"}, id="tools"),
        pytest.param({"tools": []}, set(), id="no-tools"),
        pytest.param({"text": {"format": {"type": "json_schema"}}}, {"json_schema"}, id="schema"),
        pytest.param({"text": {"format": {"type": "text"}}}, set(), id="text"),
        pytest.param({"text": "x"}, set(), id="another-thing"),
        pytest.param({"input": [user([{"type": "input_image"}])]}, {"images"}, id="image"),
        pytest.param({"input": [user([{"type": "input_file"}])]}, {"files"}, id="file"),
        pytest.param({"input": [user([{"type": "input_audio"}])]}, {"audio"}, id="audio"),
        pytest.param({"input": [SHOWN]}, {"images"}, id="a-screen"),
        pytest.param({"input": [SEEN]}, {"images"}, id="an-image-that-a-tool-gave"),
        pytest.param(
            {"input": [{**OUTPUT, "output": [{"type": "input_file"}]}]}, {"files"}, id="a-file-that-a-tool-gave"
        ),
    ],
)
def test_features(fields: dict[str, Any], features: set[str]) -> None:
    assert facts(**({"said": fields.pop("input")} if "input" in fields else {}), **fields).features == features


def test_size() -> None:
    assert facts("x" * 400).tokens == pytest.approx(100, abs=5)
    assert facts("x" * 400, instructions="y" * 400).tokens == pytest.approx(200, abs=10)
    assert facts([user("hi"), CALL, {**OUTPUT, "output": "z" * 4_000}]).tokens == pytest.approx(1_000, abs=30)
    assert facts([user("hi"), CALL, {**OUTPUT, "output": [{"type": "input_text", "text": "z" * 4_000}]}]).tokens > 1_000
    ran = {"type": "shell_call_output", "call_id": "c1", "output": [{"stdout": "z" * 4_000, "stderr": ""}]}
    assert facts([user("hi"), ran]).tokens == pytest.approx(1_000, abs=40)
    written = {"type": "custom_tool_call", "call_id": "c1", "name": "f", "input": "z" * 4_000}
    assert facts([user("hi"), written]).tokens == pytest.approx(1_000, abs=40)
    found = {"type": "tool_search_output", "tools": [{"name": "z" * 4_000}]}
    assert facts([user("hi"), found]).tokens == pytest.approx(1_000, abs=40)
    for shown in (SHOWN, SEEN):
        assert facts([user("hi"), CALL, shown]).tokens == pytest.approx(800, abs=30)
    assert facts("x" * 400, max_output_tokens=50).tokens_needed == facts("x" * 400).tokens + 50


@pytest.mark.parametrize(
    ("said", "fields", "is_bound"),
    [
        pytest.param("hi", {}, False, id="begins"),
        pytest.param("hi", {"previous_response_id": "resp_1"}, True, id="goes-on-from-a-response"),
        pytest.param("hi", {"conversation": "conv_1"}, True, id="goes-on-in-a-conversation"),
        pytest.param("hi", {"conversation": {"id": "conv_1"}}, True, id="named-in-an-object"),
        pytest.param("hi", {"previous_response_id": None, "conversation": {}}, False, id="null-and-empty"),
        pytest.param("hi", {"previous_response_id": 3}, False, id="no-text"),
        pytest.param([user("hi"), CALL, OUTPUT], {}, True, id="a-tool-answers"),
        pytest.param([user("hi"), CALL, OUTPUT, user("and?")], {}, False, id="the-user-spoke-since"),
        pytest.param(
            [user("hi"), CALL, OUTPUT, user("<system-reminder>x</system-reminder>")], {}, True, id="a-tool-reminded"
        ),
        pytest.param(
            [user("hi"), {"type": "item_reference", "id": "msg_1"}, user("and?")], {}, True, id="refers-to-items"
        ),
        pytest.param([user("hi"), ENCRYPTED, SAID, user("and?")], {}, True, id="encrypted-reasoning"),
        pytest.param([SHORTENED, user("and?")], {}, True, id="what-was-made-shorter"),
        pytest.param([user("hi"), REASONING, SAID, user("and?")], {}, False, id="plain-reasoning"),
        pytest.param([user("hi"), {**ENCRYPTED, "encrypted_content": None}, user("so")], {}, False, id="not-encrypted"),
        pytest.param([user("item_reference"), SAID, 3, user('{"type": "item_reference"}')], {}, False, id="says-so"),
    ],
)
def test_what_only_one_upstream_can_go_on_with(said: Any, fields: dict[str, Any], is_bound: bool) -> None:
    assert facts(said, **fields).is_bound(Text()) == is_bound


def test_the_items_of_a_conversation_are_known_by_how_it_began() -> None:
    """An SDK sends the user's words again, and of the answers only what they are called."""
    begun = facts([user("hi")])
    assert (
        facts([user("hi"), {"type": "item_reference", "id": "msg_1"}, user("and?")]).callers_items
        == begun.callers_items
    )
    assert facts([user("hi"), ENCRYPTED, SAID, user("and?")]).callers_items == begun.callers_items
    assert facts([user("hi")], prompt_cache_key="of-many").callers_items == begun.callers_items
    assert facts([user("ho")]).callers_items != begun.callers_items
    assert facts([user("hi")], headers={"authorization": "Bearer other"}).callers_items != begun.callers_items
    named = [facts([user(said)], headers={"x-pointsman-conversation": "mine"}).callers_items for said in ("hi", "ho")]
    assert named[0] == named[1] != begun.callers_items


@pytest.mark.parametrize(
    ("content", "fields", "names_files"),
    [
        pytest.param("hi", {}, False, id="a-text"),
        pytest.param([{"type": "input_file", "file_id": "file-1"}], {}, True, id="a-file"),
        pytest.param([{"type": "input_image", "file_id": "file-1"}], {}, True, id="an-image"),
        pytest.param([{"type": "input_image", "image_url": "https://a", "file_id": None}], {}, False, id="null"),
        pytest.param([{"type": "input_file", "file_data": "data:..."}], {}, False, id="a-file-sent-along"),
        pytest.param("hi", {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, True, id="a-store"),
        pytest.param("hi", {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, True, id="a-container"),
        pytest.param(
            "hi", {"tools": [{"container": {"type": "auto", "file_ids": ["file-1"]}}]}, True, id="files-in-it"
        ),
        pytest.param("hi", {"tools": [{"container": {"type": "auto"}}, {"type": "function"}]}, False, id="other-tools"),
        pytest.param("hi", {"tools": [3]}, False, id="no-tools"),
    ],
)
def test_what_names_a_file_that_an_upstream_keeps(content: Any, fields: dict[str, Any], names_files: bool) -> None:
    read = facts([user(content)], **fields)
    assert (read.names_files, read.is_tied) == (names_files, names_files)


@pytest.mark.parametrize(
    ("said", "fields", "starts"),
    [
        pytest.param("hi", {}, True, id="begins"),
        pytest.param("hi", {"previous_response_id": "resp_1"}, False, id="goes-on"),
        pytest.param([user("hi"), SAID, user("and?")], {}, False, id="somebody-answered"),
        pytest.param([user("hi"), REASONING], {}, False, id="somebody-thought"),
    ],
)
def test_what_begins_a_conversation(said: Any, fields: dict[str, Any], starts: bool) -> None:
    assert facts(said, **fields).starts_conversation == starts


def test_a_conversation_goes_by_what_the_answer_before_was_called() -> None:
    assert facts("hi").is_kept
    assert facts("and?", previous_response_id="resp_1").conversation == conversation_after("resp_1")
    assert facts("and?", previous_response_id="resp_2").conversation != conversation_after("resp_1")
    by_header = {"x-pointsman-conversation": "mine"}
    assert (
        facts("and?", previous_response_id="resp_1", headers=by_header).conversation
        == facts(headers=by_header).conversation
    )
    assert facts("hi", prompt_cache_key="k").conversation == facts("other", prompt_cache_key="k").conversation
    assert facts("hi").conversation == facts([user("hi")]).conversation != facts("ho").conversation


def test_what_must_be_there() -> None:
    stored = b'"prompt":{"id":"p","variables":{"model":"a"}}'
    for body, lacks_model in ((b'{"model":"auto",%s}' % stored, False), (b"{%s}" % stored, True)):
        read = read_response(body, {})
        assert (read.text(Text()), read.model, read.lacks_model) == ("", "auto", lacks_model)
    for body, param in ((b"{}", "model"), (b'{"model":3}', "model"), (b'{"prompt":"p"}', "model")):
        with pytest.raises(BadRequest) as caught:
            read_response(body, {})
        assert caught.value.param == param
    for body in (b"", b"[]", b'{"model":"a","input":', b'{"model":"\xff"}', b'{"input":' + b"[" * 100_000):
        with pytest.raises(BadRequest):
            read_response(body, {})


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"previous_response_id":"resp_1"}', "resp_1"),
        (rb'{"input":"cut \ud83d","conversation":{"id":"conv_1"}}', "conv_1"),
        (b"{}", ""),
        (b'{"previous_response_id":', None),
        (b"[]", None),
        (b'{"previous_response_id":"caf\xe9"}', None),
        (b'{"input":[{"role":"user","content":"caf\xe9"}]}', None),
    ],
)
def test_what_a_body_that_is_passed_on_goes_on_from(body: bytes, named: str | None) -> None:
    read = read_passed(body, {})
    assert (None if read is None else read.goes_on_from) == named


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "text", "output", "id", "format"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_whatever_the_shape_the_upstream_judges(said: Any, text: Any, before: Any, conversation: Any) -> None:
    read = facts(said, text=text, previous_response_id=before, conversation=conversation, instructions=said)
    assert read.tokens >= 0
    assert read.turns(Text()) >= 0
    assert isinstance(read.text(Text(turns=9)), str)
    assert isinstance(read.conversation, str)
    assert read.features is not None
    assert read.is_bound(Text()) in (True, False)
