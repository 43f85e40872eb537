"""Server-sent events, as far as a relay must know them: where one ends, which is the last, how to say that none is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from proxy.config import WireProtocol
from proxy.errors import ProxyError
from proxy.routing.decoding import UNREADABLE, reading_halves

# WHATWG HTML, section 9.2.6: a line ends with CRLF, LF or CR, and an event ends with an empty line.
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\r\n\n|\n\r\n")
_LONGEST_END = 4
_ENDS = (b"\n\n", b"\r\r", b"\n\r\n")  # the last bytes of each
# An event larger than this is passed on in pieces; holding more of one back would only cost memory.
_LARGEST_EVENT = 256 * 1024

# Of OpenAI's responses, and of Anthropic's messages.
_LAST_TYPES = frozenset(("response.completed", "response.incomplete", "response.failed", "message_stop"))
DONE = b"[DONE]"
"""The last data of OpenAI's other streams."""

# The first bytes of one: a byte order mark or none, and a field, or a comment.
_BEGINNING = re.compile(rb"(?:\xef\xbb\xbf)?(?:data|event|id|retry)?:")
LONGEST_BEGINNING = 9

_END_OF_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class _Event(msgspec.Struct):
    type: str = ""


_decode_event = reading_halves(msgspec.json.Decoder(_Event).decode)


class WholeEvents:
    """
    Lets whole events through and holds back the beginning of one until its end is there.

    No client can use half an event, so nothing is delayed; but when an upstream breaks off in the middle of one,
    the client sees a clean end of the last whole event and then the error, and not a parser's complaint.
    """

    def __init__(self) -> None:
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """The bytes that may be sent now, in order and unchanged; empty while an event is incomplete."""
        if not self._held and chunk.endswith(b"\n\n"):
            return chunk
        data = self._held + chunk
        end = _last_event_end(data, len(self._held))
        if end == 0 and len(data) > _LARGEST_EVENT:
            end = len(data)
        self._held = data[end:]
        return data[:end]

    def rest(self) -> bytes:
        """What is held back still, for a stream that ended cleanly without a last empty line."""
        held, self._held = self._held, b""
        return held


class EventReader:
    """Reads whole events out of a stream that arrives in pieces, by WHATWG HTML, section 9.2.6."""

    def __init__(self) -> None:
        self._held = b""
        self._has_begun = False

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, bytes]]:
        """
        The name and the data of each event that is whole now; both are empty for one of comments alone.

        Whoever stops in the middle has seen enough, and feeds no more.
        """
        seen = max(0, len(self._held) - _LONGEST_END)
        data = self._held + chunk
        if not self._has_begun and len(data) >= len(_BOM):
            self._has_begun = True
            data = data.removeprefix(_BOM)
            seen = 0
        start = 0
        for match in _EVENT_END.finditer(data, seen):
            # After a CR that ends what is here, an LF may come that belongs to it.
            if match.end() == len(data) and data.endswith(b"\r"):
                break
            yield _fields(data[start : match.start()])
            start = match.end()
        self._held = data[start:]


def begin_stream(data: bytes) -> bool:
    """Whether a stream of events may begin so; `LONGEST_BEGINNING` bytes are enough to tell."""
    return _BEGINNING.match(data) is not None


def events_of(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each event with the bytes that end it, and its data; last what is no whole event, if anything is left."""
    start = 0
    for match in _EVENT_END.finditer(data):
        yield data[start : match.end()], _fields(data[start : match.start()])[1]
        start = match.end()
    if start < len(data):
        yield data[start:], _fields(data[start:])[1]


def are_whole(events: bytes) -> bool:
    """Whether these bytes, which `WholeEvents` let through, are whole events, and no part of one too large to hold."""
    return not events or events.endswith(_ENDS)


def are_last(events: bytes) -> bool:
    """Whether the last of these whole events is one with which an answer ends, in any API."""
    data = b""
    for _, found in events_of(events):
        data = found or data
    try:
        return data == DONE or _decode_event(data).type in _LAST_TYPES
    except UNREADABLE:
        return False


def _fields(event: bytes) -> tuple[bytes, bytes]:
    name, data = b"", []
    for line in _END_OF_LINE.split(event):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return name, b"\n".join(data)


def _last_event_end(data: bytes, seen: int) -> int:
    """Where the last whole event ends; 0 when none does. `seen` bytes are known to hold no end."""
    end = 0
    for match in _EVENT_END.finditer(data, max(0, seen - _LONGEST_END)):
        end = match.end()
    return end


def error_event(error: ProxyError, protocol: WireProtocol, number: int | None = None) -> bytes:
    """
    An error told inside a stream that has begun.

    For OpenAI's SDKs it has no `event:` line: they look for `error` in the data of unnamed events, and raise it.
    Anthropic's look for the name. In OpenAI's responses it is an event like the others, with name, type and number.

    Args:
        error: to tell.
        protocol: the client's.
        number: of the event, where the stream's are numbered.
    """
    if protocol == "anthropic":
        return b"event: error\ndata: " + error.anthropic_body() + b"\n\n"
    if number is not None:
        return b"event: error\ndata: " + error.event_body(number) + b"\n\n"
    return b"data: " + error.body() + b"\n\n"
