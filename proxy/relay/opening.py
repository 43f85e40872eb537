"""The beginning of an answer: is it one at all, and has its real content begun?"""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.relay.events import DONE, EventReader
from proxy.relay.told import ToldError
from proxy.routing.decoding import UNREADABLE, read_any, reading_halves

# Events that come before a model has said anything: of OpenAI's responses, and of Anthropic's messages.
_PREPARING = frozenset(("response.created", "response.in_progress", "response.queued", "message_start", "ping"))
_FAILED = frozenset(("error", "response.failed"))

_NO_ERROR = (b"", b"null", b"{}", b"[]", b'""')


class _Whole(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw(b"")
    choices: msgspec.Raw = msgspec.Raw(b"")
    status: Any = None


_decode_whole = reading_halves(msgspec.json.Decoder(_Whole).decode)


class NotAnAnswer(Exception):
    """A reply with a good status that is no answer; the message says why, in words without a name in front."""

    def __init__(self, why: str, told: ToldError | None = None) -> None:
        """
        Args:
            why: the message.
            told: the error that came in place of an answer.
        """
        super().__init__(why)
        self.told = told


class StreamOpening:
    """
    Looks at the first events of a stream until a model has said something.

    Comments that keep a connection alive, and events that only announce an answer, are no content: as long as nothing
    else came, another upstream can still answer, and no client has missed anything.

    An answer made in the background is the exception: once announced it is made, and its client needs the id.
    """

    def __init__(self, *, is_background: bool = False) -> None:
        """
        Args:
            is_background: whether the answer is made in the background.
        """
        self._is_background = is_background
        self._events = EventReader()
        self._is_empty = True
        self.mistake: ToldError | None = None
        """The error that it tells in place of an answer, where that is the client's mistake."""

    def feed(self, chunk: bytes) -> bool:
        """
        Whether what is here may be sent on.

        Raises:
            NotAnAnswer: the first event that says something is not JSON, or an error that is not the client's mistake.
        """
        for name, data in self._events.feed(chunk):
            if data == b"":
                continue
            self._is_empty = False
            if data == DONE:
                return True
            event = _object(data)
            if (told := _error_in(name, event)) is not None:
                if not told.is_of_the_client:
                    raise NotAnAnswer("began its stream with an error", told)
                self.mistake = told
                return True
            if not _is_preparation(event) or self._is_background:
                return True
        return False

    def end(self) -> None:
        """
        The stream is over.

        Raises:
            NotAnAnswer: it had no event.
        """
        if self._is_empty:
            raise NotAnAnswer("ended its stream without an event")


def check_whole(body: bytes) -> ToldError | None:
    """
    Look at an answer that is no stream; the error in it where it is a response that failed by the client's mistake.

    Raises:
        NotAnAnswer: it is not a JSON object, or one that tells another error.
    """
    try:
        answer = _decode_whole(body)
        if bytes(answer.error) in _NO_ERROR or bytes(answer.choices) not in _NO_ERROR:
            return None
        told = _told(read_any(answer.error))
    except UNREADABLE:
        raise NotAnAnswer("sent its answer in another form than JSON") from None
    # Only of responses this is a form that clients know; of others an error with a good status is none to them.
    if answer.status == "failed" and told.is_of_the_client:
        return told
    raise NotAnAnswer("answered an error under the status of a success", told)


def _error_in(name: bytes, event: dict[str, Any]) -> ToldError | None:
    """The error that this event tells, if it tells one."""
    kind, inner = event.get("type"), event.get("error")
    if not inner and name != b"error" and kind not in _FAILED:
        return None
    if not inner and isinstance(response := event.get("response"), dict):
        inner = response.get("error")
    return _told(inner or event)  # some tell it in the event itself


def _told(error: Any) -> ToldError:
    return msgspec.convert(error, ToldError) if isinstance(error, dict) else ToldError()


def _is_preparation(event: dict[str, Any]) -> bool:
    kind = event.get("type")
    if isinstance(kind, str):
        return kind in _PREPARING
    choices = event.get("choices")
    return isinstance(choices, list) and not event.get("usage") and all(map(_says_nothing, choices))


def _says_nothing(choice: Any) -> bool:
    """Whether a choice of a chunk only names the role: neither text nor a tool call nor an end."""
    if not isinstance(choice, dict) or choice.get("finish_reason") or choice.get("text"):
        return False
    delta = choice.get("delta", {})
    return isinstance(delta, dict) and not any(value for key, value in delta.items() if key != "role")


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = read_any(data)
    except UNREADABLE:
        found = None
    if not isinstance(found, dict):
        raise NotAnAnswer("sent its first event in another form than JSON")
    return found
