"""What an answer tells of itself besides its end, read from the side while its bytes pass: usage, id, model, number."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated

import msgspec

from proxy.config import Price
from proxy.relay.json_bytes import end_of_value
from proxy.routing.decoding import UNREADABLE, reading_halves

# The usage stands in one of the last events of a stream, near its end; Anthropic's tells the prompt's in the first.
_TAIL_BYTES = 16 * 1024
_HEAD_BYTES = 4 * 1024
_KEY = b'"usage"'
_VALUE = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*(?=\{)")
_ID = re.compile(rb'(?<!\\)"id"[ \t\r\n]*:[ \t\r\n]*"([!-!#-\[\]-~]{1,200})"')
_MODEL = re.compile(rb'(?<!\\)"model"[ \t\r\n]*:[ \t\r\n]*"([!-!#-\[\]-~]{1,200})"')
_NUMBER = re.compile(rb'(?<!\\)"sequence_number"[ \t\r\n]*:[ \t\r\n]*([0-9]{1,15})(?=[ \t\r\n]*[,}])')
_LONGEST_NUMBER = 64
"""Bytes of a number with its name."""
_FIRST_OF_ANTHROPIC = b'"message_start"'
_LAST_OF_ANTHROPIC = b'"message_delta"'


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the upstream counted them."""

    prompt: int = 0
    """All of the prompt, what a cache has to do with included."""
    cached: int = 0
    """Of the prompt, read from a cache."""
    cache_write: int = 0
    """Of the prompt, written to one."""
    completion: int = 0
    """All of the answer, reasoning tokens included."""
    reasoning: int = 0


def cost_usd(price: Price | None, usage: Usage) -> float | None:
    """What these tokens cost at this price, in USD; None when the price is not known."""
    return None if price is None else price.cost_usd(usage.prompt, usage.cached, usage.cache_write, usage.completion)


# What no count of tokens can be says nothing: neither a counter nor a price could take it.
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _PromptDetails(msgspec.Struct):
    cached_tokens: _Count | None = None
    cache_write_tokens: _Count | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: _Count | None = None


class _Usage(msgspec.Struct):
    """The three ways to say it: of chats and completions, of responses, and Anthropic's."""

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    input_tokens_details: _PromptDetails | None = None
    output_tokens_details: _CompletionDetails | None = None
    cache_read_input_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


class _Named(msgspec.Struct):
    id: str | None = None


class _Made(msgspec.Struct):
    model: str | None = None


_decode_answer = reading_halves(msgspec.json.Decoder(_Answer).decode)
_decode_named = reading_halves(msgspec.json.Decoder(_Named).decode)
_decode_made = reading_halves(msgspec.json.Decoder(_Made).decode)
_decode_usage = msgspec.json.Decoder(_Usage).decode


def usage_of_json(body: bytes) -> Usage | None:
    """The usage in a whole JSON answer; None when it has none that can be read."""
    try:
        told = _decode_answer(body).usage
    except UNREADABLE:
        return None
    return None if told is None else _in_one_way(told)


def id_of_json(body: bytes) -> str | None:
    """The id that an upstream gave a whole JSON answer."""
    try:
        return _decode_named(body).id
    except UNREADABLE:
        return None


def model_of_json(body: bytes) -> str | None:
    """The model that an upstream says its whole JSON answer is of."""
    try:
        return _decode_made(body).model
    except UNREADABLE:
        return None


def _in_one_way(told: _Usage) -> Usage | None:
    prompt = told.prompt_tokens_details or told.input_tokens_details
    completion = told.completion_tokens_details or told.output_tokens_details
    # Anthropic counts what comes from its cache, or goes there, beside the rest of the prompt; who tells the same in
    # another API's form, as LiteLLM does, has counted it with the prompt already.
    is_beside = told.prompt_tokens is None and told.input_tokens_details is None
    cached = (prompt.cached_tokens or 0) if prompt is not None else told.cache_read_input_tokens or 0
    cache_write = (prompt.cache_write_tokens if prompt is not None else None) or told.cache_creation_input_tokens or 0
    beside = cached + cache_write if is_beside else 0
    usage = Usage(
        prompt=(told.prompt_tokens or told.input_tokens or 0) + beside,
        cached=cached,
        cache_write=cache_write,
        completion=told.completion_tokens or told.output_tokens or 0,
        reasoning=(completion.reasoning_tokens or 0) if completion is not None else 0,
    )
    counts = (told.prompt_tokens, told.completion_tokens, told.input_tokens, told.output_tokens)
    return None if counts == (None, None, None, None) else usage


class StreamUsage:
    """What a stream of events tells besides its answer: keeps its ends, and looks at them once, when it is over."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._is_numbered = False
        self._number = -1
        """Of the last event that is neither in the head nor in the tail: one with an image is longer than both."""

    def feed(self, chunk: bytes) -> None:
        """See the next bytes of the stream; how they are cut does not matter."""
        if len(self._head) < _HEAD_BYTES:
            self._head += chunk[: _HEAD_BYTES - len(self._head)]
            self._is_numbered = _NUMBER.search(self._head) is not None
        seen = self._tail + chunk
        self._tail = seen[-_TAIL_BYTES:]
        if self._is_numbered and len(seen) > _TAIL_BYTES:
            # A little more than what leaves the tail now, for a number that stands across its beginning.
            for found in _NUMBER.finditer(seen, 0, len(seen) - _TAIL_BYTES + _LONGEST_NUMBER):
                self._number = int(found[1])

    @property
    def tail(self) -> bytes:
        """The last bytes seen."""
        return self._tail

    def result(self) -> Usage | None:
        """The usage that was told last; None when none was."""
        usage = _last_usage(self._tail)
        if _FIRST_OF_ANTHROPIC not in self._head:
            return usage
        # A short stream is all in the head too, its last usage included.
        if (first := _last_usage(self._head.partition(_LAST_OF_ANTHROPIC)[0])) is not None:
            if usage is None:
                return first
            if not usage.prompt:
                usage = msgspec.structs.replace(
                    usage, prompt=first.prompt, cached=first.cached, cache_write=first.cache_write
                )
        return usage

    def id(self) -> str | None:
        """The id that the upstream gave the answer, which its first event tells."""
        return self._word(_ID)

    def model(self) -> str | None:
        """The model that the upstream says it is of, likewise."""
        return self._word(_MODEL)

    def next_number(self) -> int | None:
        """Of the event that would come next; None where events are not numbered, as those of OpenAI's responses are."""
        numbers = _NUMBER.findall(self._tail) or _NUMBER.findall(self._head)
        last = max(int(numbers[-1]) if numbers else -1, self._number)
        return None if last < 0 else last + 1

    def _word(self, pattern: re.Pattern[bytes]) -> str | None:
        found = pattern.search(self._head)
        return None if found is None else found[1].decode("ascii")


def _last_usage(data: bytes) -> Usage | None:
    at = len(data)
    while (at := data.rfind(_KEY, 0, at)) >= 0:
        value = _VALUE.match(data, at + len(_KEY))
        # In an event that holds a whole response little follows it. Inside a string its quotes are escaped.
        if value is None or data[at - 1 : at] == b"\\":
            continue
        try:
            end = end_of_value(data, value.end())
        except ValueError:
            continue
        with suppress(*UNREADABLE):
            if (usage := _in_one_way(_decode_usage(data[value.end() : end]))) is not None:
                return usage
    return None
