"""The legacy `/v1/completions`: the chat answer to the prompt, in the older shape."""

from proxy.simulator.answer import Answer
from proxy.simulator.chat_request import ChatRequest, Json, read_chat
from proxy.simulator.errors import missing
from proxy.simulator.wire import DONE, Event, Stamp, encode, fingerprint, usage

_SAME_AS_CHAT = ("model", "stream", "stream_options", "n", "max_tokens", "stop", "temperature", "top_p")


def read_legacy(fields: Json) -> ChatRequest:
    """
    The chat request that asks for the same.

    Raises:
        Refusal: what OpenAI answers to such a body.
    """
    prompt = fields.get("prompt")
    if isinstance(prompt, list):
        prompt = "\n".join(str(item) for item in prompt)
    if prompt is None and "model" in fields:
        raise missing("prompt")
    same = {name: fields[name] for name in _SAME_AS_CHAT if name in fields}
    return read_chat({**same, "messages": [{"role": "user", "content": prompt or ""}]})


def text_completion(answer: Answer, request: ChatRequest, stamp: Stamp) -> bytes:
    choices = [
        _choice("".join(choice.pieces), index, choice.finish_reason) for index, choice in enumerate(answer.choices)
    ]
    return encode({**_head(request, stamp), "choices": choices, "usage": usage(answer)})


def text_events(answer: Answer, request: ChatRequest, stamp: Stamp) -> list[Event]:
    head = _head(request, stamp)
    without: Json = {"usage": None} if request.include_usage else {}

    def event(choices: list[Json], more: Json) -> bytes:
        return b"data: " + encode({**head, "choices": choices, **more}) + b"\n\n"

    events: list[Event] = []
    for index, choice in enumerate(answer.choices):
        for tick, piece in enumerate(choice.pieces):
            events.append((tick, event([_choice(piece, index, None)], without)))
        events.append((len(choice.pieces), event([_choice("", index, choice.finish_reason)], without)))
    events.sort(key=lambda event: event[0])
    last = events[-1][0]
    if request.include_usage:
        events.append((last, event([], {"usage": usage(answer)})))
    events.append((last, DONE))
    return events


def _head(request: ChatRequest, stamp: Stamp) -> Json:
    return {
        "id": f"cmpl-{stamp.token[:29]}",
        "object": "text_completion",
        "created": stamp.created,
        "model": request.model,
        "system_fingerprint": fingerprint(request.model),
    }


def _choice(text: str, index: int, finish_reason: str | None) -> Json:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish_reason}
