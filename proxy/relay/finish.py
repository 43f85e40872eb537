"""How an answer ended, read from the side while its bytes pass: why it stopped, and whether its tool calls are JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from proxy.relay.events import events_of
from proxy.routing.apis import CHAT, MESSAGES, RESPONSES, Api
from proxy.routing.decoding import UNREADABLE, read_any, reading_halves

# Only these events are looked at, and once, when the stream is over; of the others nothing is kept.
_MARKS: dict[Api, re.Pattern[bytes]] = {
    CHAT: re.compile(rb'"tool_calls"'),
    RESPONSES: re.compile(rb'"response\.(?:completed|incomplete|failed|function_call_arguments\.done)"'),
    MESSAGES: re.compile(rb'"input_json_delta"'),
}
_MOST_KEPT = 1024 * 1024
# Inside a JSON string the quotes would be escaped.
_REASON = re.compile(rb'"(?:finish_reason|stop_reason)"[ \t]*:[ \t]*"([A-Za-z_]{1,40})"')
_CUT = frozenset(("length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"))


@dataclass(frozen=True, slots=True)
class Finish:
    """What an answer says of its end; nothing, where it does not."""

    reason: str | None = None
    """In the upstream's words: `stop`, `tool_use`, `max_output_tokens`."""
    bad_tool_calls: int | None = None
    """Calls of tools whose arguments are not JSON; None when that is not known."""

    @property
    def is_cut(self) -> bool:
        """Whether it stopped at its length limit."""
        return self.reason in _CUT


class _Function(msgspec.Struct):
    arguments: Any = None


class _Call(msgspec.Struct):
    index: int = 0
    function: _Function | None = None


class _Message(msgspec.Struct):
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: Any = None
    message: _Message | None = None
    delta: _Message | None = None


class _Item(msgspec.Struct):
    """Of a response's output."""

    type: Any = None
    arguments: Any = None


class _Why(msgspec.Struct):
    reason: Any = None


class _Answer(msgspec.Struct):
    """A whole answer of any API, or a chunk of a chat."""

    choices: list[_Choice] = []
    stop_reason: Any = None
    status: Any = None
    incomplete_details: _Why | None = None
    output: list[_Item] = []


class _Delta(msgspec.Struct):
    partial_json: Any = None


class _Event(msgspec.Struct):
    """Of a response, or of Anthropic's stream."""

    index: int = 0
    delta: _Delta | None = None
    arguments: Any = None
    response: _Answer | None = None


_decode_answer = reading_halves(msgspec.json.Decoder(_Answer).decode)
_decode_event = reading_halves(msgspec.json.Decoder(_Event).decode)


def finish_of_json(body: bytes) -> Finish:
    """What a whole JSON answer says."""
    try:
        answer = _decode_answer(body)
    except UNREADABLE:
        return Finish()
    calls = [call for choice in answer.choices if choice.message for call in choice.message.tool_calls or ()]
    arguments = [call.function.arguments for call in calls if call.function]
    arguments += [item.arguments for item in answer.output if item.type == "function_call"]
    return Finish(_reason(answer), _bad(arguments))


def _reason(answer: _Answer) -> str | None:
    told = answer.choices[0].finish_reason if answer.choices else answer.stop_reason or answer.status
    if answer.incomplete_details is not None:
        told = answer.incomplete_details.reason or told
    return told if isinstance(told, str) else None


def _bad(arguments: Iterable[Any]) -> int:
    return sum(not _is_json(each) for each in arguments)


def _is_json(arguments: Any) -> bool:
    if not isinstance(arguments, str) or not arguments.strip():
        return True  # a tool without parameters is called with nothing by some
    try:
        read_any(arguments.encode())
    except UNREADABLE:
        return False
    return True


class StreamFinish:
    """What a stream of events says: keeps those that matter, and looks at them when it is over."""

    def __init__(self, api: Api) -> None:
        """
        Args:
            api: that the client speaks.
        """
        self._api = api
        mark = _MARKS.get(api)
        self._is_marked = mark.search if mark is not None else None
        self._kept: list[bytes] = []
        self._size = 0

    def feed(self, events: bytes) -> None:
        """See the next whole events."""
        if self._is_marked is not None and self._is_marked(events) is not None:
            self._size += len(events)
            if self._size <= _MOST_KEPT:
                self._kept.append(events)

    def _marked(self) -> Iterator[bytes]:
        """The data of the events that matter; what came together with them is left out."""
        if self._is_marked is not None:
            yield from (data for _, data in events_of(b"".join(self._kept)) if self._is_marked(data) is not None)

    def result(self, tail: bytes) -> Finish:
        """
        What the stream said.

        Args:
            tail: its last bytes.
        """
        told = _REASON.findall(tail)
        reason = told[-1].decode("ascii") if told else None
        if self._size > _MOST_KEPT:
            return Finish(reason)
        try:
            if self._api is RESPONSES:
                return _of_response(map(_decode_event, self._marked()))
            fragments = _of_blocks if self._api is MESSAGES else _of_choices
            return Finish(reason, _bad(_joined(fragments(self._marked()))))
        except UNREADABLE:
            return Finish(reason)


def _of_response(events: Iterable[_Event]) -> Finish:
    reason, arguments = None, []
    for event in events:
        if event.response is not None:
            reason = _reason(event.response)
        else:
            arguments.append(event.arguments)
    return Finish(reason, _bad(arguments))


Fragment = tuple[tuple[int, int], Any]
"""A piece of a tool call's arguments, and whose it is."""


def _of_blocks(marked: Iterable[bytes]) -> Iterator[Fragment]:
    for event in map(_decode_event, marked):
        if event.delta is not None:
            yield (event.index, 0), event.delta.partial_json


def _of_choices(marked: Iterable[bytes]) -> Iterator[Fragment]:
    for chunk in map(_decode_answer, marked):
        for choice in chunk.choices:
            for call in (choice.delta and choice.delta.tool_calls) or ():
                yield (choice.index, call.index), call.function and call.function.arguments


def _joined(fragments: Iterable[Fragment]) -> Iterable[str]:
    whole: dict[tuple[int, int], str] = {}
    for whose, piece in fragments:
        if isinstance(piece, str):
            whole[whose] = whole.get(whose, "") + piece
    return whole.values()
