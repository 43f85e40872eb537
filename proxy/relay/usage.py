"""The usage of an answer, read from the side while its bytes pass."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

# The usage stands in one of the last events of a stream, and an event that carries it is small.
_TAIL_BYTES = 16 * 1024
_END_OF_LINE = re.compile(rb"\r\n|\n|\r")


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the upstream counted them."""

    prompt: int = 0
    """All of the prompt, cached tokens included."""
    cached: int = 0
    completion: int = 0
    """All of the answer, reasoning tokens included."""
    reasoning: int = 0


# What no count of tokens can be says nothing: neither a counter nor a price could take it.
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _PromptDetails(msgspec.Struct):
    cached_tokens: _Count | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: _Count | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


_decode = msgspec.json.Decoder(_Answer).decode


def usage_of_json(body: bytes) -> Usage | None:
    """The usage in a whole JSON answer; None when it has none that can be read."""
    try:
        usage = _decode(body).usage
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if usage is None:
        return None
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        prompt=usage.prompt_tokens,
        cached=(prompt.cached_tokens or 0) if prompt is not None else 0,
        completion=usage.completion_tokens,
        reasoning=(completion.reasoning_tokens or 0) if completion is not None else 0,
    )


class StreamUsage:
    """The usage in an event stream: keeps the stream's last bytes, and looks at them once, when it is over."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, chunk: bytes) -> None:
        """See the next bytes of the stream; how they are cut does not matter."""
        room = _TAIL_BYTES - len(chunk)
        self._tail = self._tail[-room:] + chunk if room > 0 else chunk[-_TAIL_BYTES:]

    def result(self) -> Usage | None:
        """The usage in the last event that has one; None when none of the last events has."""
        if b'"usage"' not in self._tail:
            return None
        for line in reversed(_END_OF_LINE.split(self._tail)):
            if line.startswith(b"data:") and b'"usage"' in line and (usage := usage_of_json(line[5:])) is not None:
                return usage
        return None
