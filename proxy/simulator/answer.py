"""What the simulator answers to a chat request: values only, no bytes and no clock."""

import re

import msgspec

from proxy.simulator.chat_request import ChatRequest, Json
from proxy.simulator.errors import Refusal, TooLong
from proxy.simulator.invent import invent
from proxy.simulator.knobs import Knobs
from proxy.simulator.personas import Persona
from proxy.simulator.prose import pieces_of, think, write

_EFFORT = {"none": 0.0, "minimal": 0.1, "low": 0.25, "medium": 1.0, "high": 3.0, "xhigh": 6.0}


class ToolCall(msgspec.Struct, frozen=True):
    """One call of a tool."""

    name: str
    pieces: tuple[str, ...]  # the arguments, JSON, as they are streamed


class Choice(msgspec.Struct, frozen=True):
    pieces: tuple[str, ...]  # the content's tokens; joined they are the content
    thoughts: tuple[str, ...]  # of `reasoning_content`, for models that show it
    calls: tuple[ToolCall, ...]
    finish_reason: str  # stop | length | tool_calls
    stopped_by: str | None = None  # the one of `stop` that it was about to say


class Answer(msgspec.Struct, frozen=True):
    choices: tuple[Choice, ...]
    prompt_tokens: int
    completion_tokens: int  # with the reasoning
    reasoning_tokens: int
    cached_tokens: int


def answer_chat(request: ChatRequest, upstream: str, persona: Persona, knobs: Knobs) -> Answer:
    """
    Decide the whole answer.

    Raises:
        Refusal: the prompt exceeds the context, or `tool_choice` names a tool that is not there.
    """
    context = knobs.context if knobs.context is not None else persona.context
    if request.prompt_tokens > context:
        raise TooLong(request.prompt_tokens, context)
    thoughts = tuple(pieces_of(think(request))) if persona.shows_reasoning else ()
    reasoning = len(thoughts) or int(persona.reasoning_tokens * _EFFORT.get(request.reasoning_effort, 1.0))
    calls, forced = _calls(request)
    choices = []
    for index in range(request.n):
        if calls and knobs.text is None:
            # OpenAI says `stop`, not `tool_calls`, when the one function to call was named.
            choices.append(Choice((), thoughts, calls, "stop" if forced else "tool_calls"))
            continue
        pieces, stopped_by = _content(request, upstream, persona, knobs, index)
        if request.max_tokens is not None and reasoning + len(pieces) > request.max_tokens:
            # Reasoning counts first, so a small limit leaves nothing to say, as with the real ones.
            thoughts_left = thoughts[: request.max_tokens]
            pieces = pieces[: max(request.max_tokens - reasoning, 0)]
            choices.append(Choice(pieces, thoughts_left, (), "length"))
            continue
        choices.append(Choice(pieces, thoughts, (), "stop", stopped_by))
    if request.max_tokens is not None and not calls:
        reasoning = min(reasoning, request.max_tokens)
    said = sum(len(choice.pieces) + sum(len(call.pieces) + 5 for call in choice.calls) for choice in choices)
    return Answer(
        choices=tuple(choices),
        prompt_tokens=request.prompt_tokens,
        completion_tokens=said + reasoning * request.n,
        reasoning_tokens=reasoning * request.n,
        cached_tokens=min(knobs.cached_tokens, request.prompt_tokens),
    )


def _content(
    request: ChatRequest, upstream: str, persona: Persona, knobs: Knobs, index: int
) -> tuple[tuple[str, ...], str | None]:
    """The content's tokens, and the one of `stop` that ended them, if one did."""
    if knobs.text is not None:
        text = knobs.text
    elif request.response_format.get("type") == "json_schema":
        wrapper = request.response_format["json_schema"]
        text = _json(invent(wrapper.get("schema") if isinstance(wrapper, dict) else None, request.prompt))
    elif request.response_format.get("type") == "json_object":
        said = write(persona, upstream, request, index)
        text = _json({"model": request.model, "upstream": upstream, "answer": said})
    else:
        text = write(persona, upstream, request, index)
    found = min(((text.find(stop), stop) for stop in request.stop if stop in text), default=None)
    if found is not None:
        text = text[: found[0]]
    pieces = pieces_of(text)
    if knobs.tokens is not None:
        pieces = _exactly(knobs.tokens, pieces)
    return tuple(pieces), None if found is None else found[1]


def _exactly(count: int, pieces: list[str]) -> list[str]:
    """So many tokens, by saying it again or by stopping early."""
    again = [" " + pieces[0].lstrip(), *pieces[1:]] if pieces else [" word"]
    while len(pieces) < count:
        pieces = pieces + again * ((count - len(pieces)) // len(again) + 1)
    return pieces[:count]


def _calls(request: ChatRequest) -> tuple[tuple[ToolCall, ...], bool]:
    """The tool calls to make, and whether the one tool was named by the caller."""
    tools, choice = request.tools, request.tool_choice
    if isinstance(choice, dict):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        chosen = [tool for tool in tools if tool["name"] == name]
        if choice.get("type") == "function" and not chosen:
            raise Refusal(f"Tool choice 'function {name}' not found in 'tools' parameter.", param="tool_choice")
        if chosen:
            return (_call(chosen[0], request.prompt),), True
    # `auto` answers a tool's result in text, or an agent would never come to an end.
    if not tools or choice == "none" or (choice != "required" and request.tool_results):
        return (), False
    named = [tool for tool in tools if str(tool["name"]) in request.prompt]
    if not named or not request.parallel_tool_calls:
        named = [max(named or tools, key=lambda tool: _overlap(tool, request.prompt))]
    return tuple(_call(tool, request.prompt) for tool in named), False


def _call(tool: Json, prompt: str) -> ToolCall:
    arguments = _json(invent(tool.get("parameters") or {"type": "object"}, prompt))
    return ToolCall(str(tool["name"]), tuple(re.findall(r".{1,6}", arguments, re.DOTALL)))


def _overlap(tool: Json, prompt: str) -> int:
    """How many of the prompt's words a tool's name and description share."""
    about = f"{tool['name']} {tool.get('description') or ''}".lower().replace("_", " ")
    return len(set(re.findall(r"\w{4,}", about)) & set(re.findall(r"\w{4,}", prompt.lower())))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
