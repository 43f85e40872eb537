"""The replies that a model writes, whatever their API: at its persona's pace."""

from __future__ import annotations

from collections.abc import Callable

from proxy.simulator.answer import Answer, answer_chat
from proxy.simulator.chat_request import ChatRequest
from proxy.simulator.headers import EVENTS
from proxy.simulator.knobs import Knobs
from proxy.simulator.personas import persona_of
from proxy.simulator.reply import Reply
from proxy.simulator.wire import ERROR_EVENT, Event


def generated(
    request: ChatRequest,
    upstream: str,
    knobs: Knobs,
    *,
    whole: Callable[[Answer], bytes],
    events: Callable[[Answer], list[Event]],
    error_event: bytes = ERROR_EVENT,
    is_anthropic: bool = False,
) -> Reply:
    """
    A model's answer, whole or in events as the request asks.

    Args:
        request: what is asked, in a chat's terms.
        upstream: where.
        knobs: what the answer is to be like.
        whole: writes it as one document.
        events: writes it as a stream.
        error_event: as this API tells an error within a stream.
        is_anthropic: whether it goes with Anthropic's headers.

    Raises:
        Refusal: as `answer_chat`.
    """
    persona = persona_of(request.model)
    answer = answer_chat(request, upstream, persona, knobs)
    first_token_s, token_s = persona.first_token_s, 1 / persona.tokens_per_s
    if request.stream:
        return Reply(
            kind=EVENTS, events=events(answer), error_event=error_event, is_anthropic=is_anthropic,
            asked=request, prompt_tokens=answer.prompt_tokens, first_token_s=first_token_s, token_s=token_s,
        )  # fmt: skip
    return Reply(
        body=whole(answer), is_anthropic=is_anthropic, asked=request, prompt_tokens=answer.prompt_tokens,
        tokens=max(len(choice.pieces) for choice in answer.choices), first_token_s=first_token_s, token_s=token_s,
    )  # fmt: skip
