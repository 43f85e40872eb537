"""A request to Anthropic's `/v1/messages`, read as the chat request that asks for the same."""

from __future__ import annotations

from proxy.simulator.chat_request import ChatRequest, Json, read_chat
from proxy.simulator.errors import Refusal

_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_PARTS = {"text": "text", "image": "image_url"}


def read_messages(fields: Json, *, takes_system: bool = False) -> ChatRequest:
    """
    Check a request as Anthropic checks it.

    Args:
        fields: its body.
        takes_system: whether a system prompt may stand among the messages, as a beta allows.

    Raises:
        Refusal: what Anthropic answers to such a body.
    """
    if not isinstance(fields.get("model"), str):
        raise _required("model")
    if "max_tokens" not in fields:
        raise _required("max_tokens")
    return _read(fields, takes_system=takes_system)


def read_countable(fields: Json, *, takes_system: bool = False) -> ChatRequest:
    """The same for `/v1/messages/count_tokens`, where nothing is answered."""
    if not isinstance(fields.get("model"), str):
        raise _required("model")
    return _read({**fields, "stream": False}, takes_system=takes_system)


def _read(fields: Json, *, takes_system: bool) -> ChatRequest:
    choice = fields.get("tool_choice")
    choice = choice if isinstance(choice, dict) else {}
    return read_chat(
        {
            "model": fields["model"],
            "messages": [
                *_system(fields.get("system")),
                *_messages(fields.get("messages"), takes_system=takes_system),
            ],
            "stream": fields.get("stream"),
            "max_tokens": fields.get("max_tokens"),
            "stop": fields.get("stop_sequences"),
            "temperature": fields.get("temperature"),
            "top_p": fields.get("top_p"),
            "tools": _tools(fields.get("tools")),
            "tool_choice": _tool_choice(choice),
            "parallel_tool_calls": choice.get("disable_parallel_tool_use") is not True,
        }
    )


def _system(value: object) -> list[Json]:
    if not value:
        return []
    return [{"role": "system", "content": value}]


def _messages(value: object, *, takes_system: bool) -> list[Json]:
    if value is None:
        raise _required("messages")
    if not isinstance(value, list):
        raise Refusal("messages: Input should be a valid array")
    if not value:
        raise Refusal("messages: at least one message is required")
    messages: list[Json] = []
    for index, message in enumerate(value):
        if not isinstance(message, dict):
            raise Refusal(f"messages.{index}: Input should be an object")
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant") and not (role == "system" and takes_system):
            raise Refusal(
                f'messages: Unexpected role "{role}". Allowed roles are "user" or "assistant"; a system prompt is the '
                "top-level `system` parameter."
            )
        if content is None:
            raise _required(f"messages.{index}.content")
        messages += _said(str(role), content, index)
    return messages


def _said(role: str, content: object, index: int) -> list[Json]:
    """One message as a chat says it: calls in a field of their own, and each result in a message of its own."""
    if not isinstance(content, list):
        return [{"role": role, "content": content}]
    parts: list[Json] = []
    calls: list[Json] = []
    results: list[Json] = []
    for number, block in enumerate(content):
        if not isinstance(block, dict) or "type" not in block:
            raise _required(f"messages.{index}.content.{number}.type")
        kind = block["type"]
        if kind in _PARTS:
            parts.append({**block, "type": _PARTS[kind]})
        elif kind == "tool_use":
            calls.append({"id": block.get("id"), "function": {"name": block.get("name")}})
        elif kind == "tool_result":
            results.append({"role": "tool", "content": block.get("content", "")})
    if calls:
        return [{"role": role, "content": parts, "tool_calls": calls}]
    if parts or not results:
        results.append({"role": role, "content": parts})  # a chat's tool messages come before what is said beside them
    return results


def _tools(value: object) -> list[Json] | None:
    if not isinstance(value, list):
        return None
    tools: list[Json] = []
    for index, tool in enumerate(value):
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            raise _required(f"tools.{index}.name")
        if tool.get("type", "custom") == "custom":  # the others run at Anthropic's
            about = {"name": tool["name"], "description": tool.get("description")}
            tools.append({"type": "function", "function": {**about, "parameters": tool.get("input_schema")}})
    return tools


def _tool_choice(choice: Json) -> object:
    kind = choice.get("type", "auto")
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    if kind not in _CHOICES:
        raise Refusal(f"tool_choice: Input tag '{kind}' does not match any of the expected tags")
    return _CHOICES[str(kind)]


def _required(name: str) -> Refusal:
    return Refusal(f"{name}: Field required")
