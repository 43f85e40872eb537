"""OpenAI's Responses: one document, or a stream of named events; kept, so that others can go on from them."""

from __future__ import annotations

from functools import partial
from hashlib import blake2b

import msgspec

from proxy.simulator.answer import Answer, Choice, ToolCall
from proxy.simulator.chat_request import Json
from proxy.simulator.errors import Refusal
from proxy.simulator.generated import generated
from proxy.simulator.kept import Kept, KeptResponse
from proxy.simulator.knobs import Knobs
from proxy.simulator.reply import Reply, Request
from proxy.simulator.response_events import ERROR_EVENT, response_events
from proxy.simulator.responses_request import ResponsesRequest, read_responses
from proxy.simulator.wire import Stamp, encode

_ECHOED: Json = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""What a response repeats of its request, with what is said where the request says nothing."""


def create(request: Request, knobs: Knobs, stamp: Stamp, kept: Kept) -> Reply:
    """`POST /responses`."""
    fields = request.json()
    previous = fields.get("previous_response_id")
    before: list[Json] = []
    if previous is not None:
        earlier = kept.responses.get(request.upstream, str(previous))
        if earlier is None:
            raise Refusal(
                f"Previous response with id '{previous}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        before = earlier.messages
    asked = read_responses(fields, before)

    def whole(answer: Answer) -> bytes:
        body = msgspec.json.format(encode(response(answer, asked, stamp)), indent=2) + b"\n"
        if fields.get("store") is not False:
            messages = [*asked.messages, _said(answer.choices[0], stamp)]
            size = len(body) + len(encode(messages))
            kept.responses.put(request.upstream, _id(stamp), KeptResponse(body, messages), size)
        return body

    def events(answer: Answer) -> list[tuple[int, bytes]]:
        whole(answer)  # kept from its beginning, also where the stream is cut
        return response_events(
            answer.choices[0],
            begun=_unfinished(asked, stamp),
            ended=response(answer, asked, stamp),
            obfuscation=stamp.token if asked.chat.obfuscate else "",
        )

    return generated(asked.chat, request.upstream, knobs, whole=whole, events=events, error_event=ERROR_EVENT)


def get(request: Request, _: Knobs, __: Stamp, kept: Kept) -> Reply:
    """`GET /responses/ID`."""
    found = kept.responses.get(request.upstream, request.below)
    if found is None:
        raise _not_found(request.below)
    return Reply(body=found.body)


def delete(request: Request, _: Knobs, __: Stamp, kept: Kept) -> Reply:
    """`DELETE /responses/ID`."""
    if kept.responses.take(request.upstream, request.below) is None:
        raise _not_found(request.below)
    return Reply(body=encode({"id": request.below, "object": "response", "deleted": True}))


def response(answer: Answer, asked: ResponsesRequest, stamp: Stamp) -> Json:
    """The whole document, as it is when the answer is over."""
    choice = answer.choices[0]
    is_cut = choice.finish_reason == "length"
    return {
        **_unfinished(asked, stamp),
        "status": "incomplete" if is_cut else "completed",
        "completed_at": None if is_cut else stamp.created,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "output": _output(choice, answer, stamp),
        "usage": {
            "input_tokens": answer.prompt_tokens,
            "input_tokens_details": {"cached_tokens": answer.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": answer.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
            "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        },
    }


def _unfinished(asked: ResponsesRequest, stamp: Stamp) -> Json:
    echoed = {name: default if (said := asked.fields.get(name)) is None else said for name, default in _ECHOED.items()}
    tools = echoed["tools"]
    if isinstance(tools, list):
        echoed["tools"] = [{"strict": True, "description": None, "parameters": None, **tool} for tool in tools]
    return {
        "id": _id(stamp),
        "object": "response",
        "created_at": stamp.created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": asked.chat.model,
        "output": [],
        **echoed,
        "usage": None,  # near the end, as OpenAI has it
    }


def _output(choice: Choice, answer: Answer, stamp: Stamp) -> list[Json]:
    items: list[Json] = []
    name = partial(_part_id, stamp)
    if choice.thoughts:
        thought: Json = {"type": "reasoning_text", "text": "".join(choice.thoughts)}
        items.append({"id": name("rs", 0), "type": "reasoning", "summary": [], "content": [thought]})
    elif answer.reasoning_tokens:
        items.append({"id": name("rs", 0), "type": "reasoning", "summary": []})
    for number, call in enumerate(choice.calls):
        items.append(
            {
                "id": name("fc", number),
                "type": "function_call",
                "status": "completed",
                "call_id": name("call", number),
                "name": call.name,
                "arguments": _arguments(call),
            }
        )
    if not choice.calls:
        text: Json = {"type": "output_text", "text": "".join(choice.pieces), "annotations": [], "logprobs": []}
        status = "incomplete" if choice.finish_reason == "length" else "completed"
        items.append(
            {"id": name("msg", 0), "type": "message", "status": status, "role": "assistant", "content": [text]}
        )
    return items


def _said(choice: Choice, stamp: Stamp) -> Json:
    """The answer as a chat's message, for a later turn."""
    if not choice.calls:
        return {"role": "assistant", "content": "".join(choice.pieces)}
    calls = [
        {"id": _part_id(stamp, "call", number), "function": {"name": call.name, "arguments": _arguments(call)}}
        for number, call in enumerate(choice.calls)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _arguments(call: ToolCall) -> str:
    return "".join(call.pieces)


def _id(stamp: Stamp) -> str:
    return f"resp_{stamp.token}"


def _part_id(stamp: Stamp, kind: str, number: int) -> str:
    return f"{kind}_{blake2b(f'{stamp.token}{kind}{number}'.encode(), digest_size=16).hexdigest()}"


def _not_found(name: str) -> Refusal:
    return Refusal(f"Response with id '{name}' not found.", status=404)
