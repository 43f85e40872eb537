"""What comes with a user's words: of another picture the same words are another question."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.routing.chat import read_chat
from proxy.routing.facts import Facts
from proxy.routing.messages import read_message
from proxy.routing.responses import read_response

WORDS = "Describe what can be seen in this picture"
KINDS = [
    pytest.param(read_chat, "text", {"type": "image_url", "image_url": {"url": "DATA", "detail": "low"}}, id="image"),
    pytest.param(read_chat, "text", {"type": "input_audio", "input_audio": {"data": "DATA"}}, id="audio"),
    pytest.param(read_chat, "text", {"type": "file", "file": {"filename": "a.pdf", "file_data": "DATA"}}, id="file"),
    pytest.param(read_chat, "text", {"type": "video_url", "video_url": {"url": "DATA"}}, id="video"),
    pytest.param(read_response, "input_text", {"type": "input_image", "image_url": "DATA"}, id="responses-image"),
    pytest.param(read_response, "input_text", {"type": "input_file", "file_id": "DATA"}, id="responses-file"),
    pytest.param(
        read_message, "text", {"type": "image", "source": {"type": "base64", "data": "DATA"}}, id="messages-image"
    ),
    pytest.param(
        read_message, "text", {"type": "document", "source": {"type": "url", "url": "DATA"}}, id="messages-document"
    ),
]


@pytest.mark.parametrize(("read", "kind", "part"), KINDS)
def test_it_is_a_part_of_what_a_conversation_and_a_question_are_known_by(read: Any, kind: str, part: Any) -> None:
    def asked(data: str, *later: Any, **fields: Any) -> Facts:
        held = json.loads(json.dumps(part).replace("DATA", data)) | fields
        messages = [{"role": "user", "content": [{"type": kind, "text": WORDS}, held]}, *later]
        name = "input" if read is read_response else "messages"
        facts: Facts = read(json.dumps({"model": "auto", name: messages}).encode(), {})
        return facts

    one, same, other = asked("one"), asked("one"), asked("other")
    assert (one.conversation, one.media) == (same.conversation, same.media)
    assert one.conversation != other.conversation
    assert one.media != other.media
    said = [{"role": "assistant", "content": "a cat"}, {"role": "user", "content": "and its colour?"}]
    later = asked("one", *said, cache_control={"type": "ephemeral"})
    assert (later.conversation, later.media) == (one.conversation, ())


def test_words_alone_are_what_they_were() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": WORDS}]}]
    facts = read_chat(json.dumps({"model": "auto", "messages": messages}).encode(), {})
    assert (facts.conversation, facts.media) == (f"opening:user\0{WORDS}", ())
