"""Server-sent events, as far as a relay must know them: where one ends, and how to say that the rest is missing."""

from __future__ import annotations

import re

# WHATWG HTML, section 9.2.6: a line ends with CRLF, LF or CR, and an event ends with an empty line.
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\r\n\n|\n\r\n")
_LONGEST_END = 4
# An event larger than this is passed on in pieces; holding more of one back would only cost memory.
_MOST_HELD = 256 * 1024


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
        if end == 0 and len(data) > _MOST_HELD:
            end = len(data)
        self._held = data[end:]
        return data[:end]

    def rest(self) -> bytes:
        """What is held back still, for a stream that ended cleanly without a last empty line."""
        held, self._held = self._held, b""
        return held


def _last_event_end(data: bytes, seen: int) -> int:
    """Where the last whole event ends; 0 when none does. `seen` bytes are known to hold no end."""
    end = 0
    for match in _EVENT_END.finditer(data, max(0, seen - _LONGEST_END)):
        end = match.end()
    return end


def error_event(envelope: bytes) -> bytes:
    """
    An error told inside a stream that has begun.

    It has no `event:` line: OpenAI's own SDKs look for `error` in the data of unnamed events, and raise it.
    """
    return b"data: " + envelope + b"\n\n"
