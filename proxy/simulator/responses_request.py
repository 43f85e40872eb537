"""A request to `/v1/responses`, read as the chat request that asks for the same."""

from __future__ import annotations

import msgspec

from proxy.simulator.chat_request import ChatRequest, Json, read_chat, read_model
from proxy.simulator.errors import Refusal, missing, wrong_type

_PARTS = {"input_text": "text", "output_text": "text", "input_image": "image_url", "input_audio": "input_audio"}
_SAME_AS_CHAT = ("model", "stream", "temperature", "top_p", "parallel_tool_calls")


class ResponsesRequest(msgspec.Struct, frozen=True):
    """What a response depends on."""

    chat: ChatRequest
    messages: list[Json]  # the conversation as a chat's messages, without the instructions
    fields: Json  # as sent; a response repeats many of them


def read_responses(fields: Json, before: list[Json]) -> ResponsesRequest:
    """
    Check a request as OpenAI checks it.

    Args:
        fields: of the body.
        before: the messages of the response that it goes on from.

    Raises:
        Refusal: what OpenAI answers to such a body.
    """
    read_model(fields)
    messages = [*before, *_messages(fields.get("input"), before)]
    chat: Json = {name: fields[name] for name in _SAME_AS_CHAT if name in fields}
    instructions = fields.get("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise wrong_type("instructions", "a string", instructions)
    chat["messages"] = [{"role": "developer", "content": instructions}, *messages] if instructions else messages
    chat["max_completion_tokens"] = fields.get("max_output_tokens")
    chat["tools"] = _tools(fields.get("tools"))
    chat["tool_choice"] = _tool_choice(fields.get("tool_choice"))
    chat["response_format"] = _format(fields.get("text"))
    reasoning = fields.get("reasoning")
    chat["reasoning_effort"] = reasoning.get("effort") if isinstance(reasoning, dict) else None
    if fields.get("stream"):
        chat["stream_options"] = fields.get("stream_options")
    return ResponsesRequest(read_chat(chat), messages, fields)


def _messages(value: object, before: list[Json]) -> list[Json]:
    if value is None:
        raise missing("input")
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise wrong_type("input", "one of a string or an array of input items", value)
    messages: list[Json] = []
    called = {call for message in before for call in _calls_of(message)}
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise wrong_type(f"input[{index}]", "an input item", item)
        kind = item.get("type", "message")
        if kind == "message":
            messages.append({"role": item.get("role"), "content": _content(item.get("content"))})
        elif kind == "function_call":
            call_id = item.get("call_id")
            called.add(call_id)
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": call_id, "type": "function", "function": function}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif kind == "function_call_output":
            if item.get("call_id") not in called:
                raise Refusal(
                    f"No tool call found for function call output with call_id {item.get('call_id')}.", param="input"
                )
            output = item.get("output")
            messages.append({"role": "tool", "content": output if isinstance(output, str) else _content(output)})
    if not messages:
        raise Refusal("Invalid 'input': it has no message.", param="input", code="invalid_value")
    return _calls_together(messages)


def _calls_of(message: Json) -> list[object]:
    calls = message.get("tool_calls")
    return [call["id"] for call in calls] if isinstance(calls, list) else []


def _calls_together(messages: list[Json]) -> list[Json]:
    """As in a chat, where one message of the assistant's makes all calls of a turn."""
    joined: list[Json] = []
    for message in messages:
        last = joined[-1] if joined else {}
        more, calls = message.get("tool_calls"), last.get("tool_calls")
        if isinstance(more, list) and isinstance(calls, list):
            joined[-1] = {**last, "tool_calls": [*calls, *more]}
        else:
            joined.append(message)
    return joined


def _content(value: object) -> object:
    if not isinstance(value, list):
        return value
    parts: list[object] = []
    for part in value:
        if isinstance(part, dict):
            kind = part.get("type")
            parts.append({**part, "type": _PARTS.get(kind, kind) if isinstance(kind, str) else kind})
        else:
            parts.append(part)  # for the chat's reading to refuse
    return parts


def _tools(value: object) -> object:
    if not isinstance(value, list):
        return value
    return [
        {"type": "function", "function": tool} if isinstance(tool, dict) and tool.get("type") == "function" else tool
        for tool in value
    ]


def _tool_choice(value: object) -> object:
    if isinstance(value, dict) and value.get("type") == "function":
        return {"type": "function", "function": {"name": value.get("name")}}
    return value


def _format(text: object) -> object:
    wanted = text.get("format") if isinstance(text, dict) else None
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        return {"type": "json_schema", "json_schema": wanted}
    return wanted
