"""The stream of a response: events with names and numbers, each item opened, filled and closed."""

from __future__ import annotations

from proxy.simulator.answer import Choice
from proxy.simulator.chat_request import Json
from proxy.simulator.wire import Event, encode

_MESSAGE = "The server had an error while processing your request. Sorry about that!"


def named(kind: str, data: Json) -> bytes:
    """One event, its name in front and in its data."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **data}))


ERROR_EVENT = named("error", {"code": "server_error", "message": _MESSAGE, "param": None, "sequence_number": 0})


def response_events(choice: Choice, *, begun: Json, ended: Json, obfuscation: str) -> list[Event]:
    """
    All events of one response.

    Args:
        choice: the answer as it was made, in pieces.
        begun: the document before there is any output.
        ended: the document at the end; its output is what the events build up.
        obfuscation: hex digits that pad deltas to a common length; "" for none.
    """
    stream = _Stream(obfuscation)
    stream.add("response.created", {"response": begun})
    stream.add("response.in_progress", {"response": begun})
    output = ended["output"]
    assert isinstance(output, list)
    calls = iter(choice.calls)
    for index, item in enumerate(output):
        match item["type"]:
            case "reasoning":
                stream.open(index, item, {"content": []} if "content" in item else {})
                if "content" in item:
                    stream.fill(index, item, "reasoning_text", choice.thoughts)
            case "message":
                stream.open(index, item, {"status": "in_progress", "content": []})
                stream.fill(index, item, "output_text", choice.pieces)
            case _:
                stream.open(index, item, {"status": "in_progress", "arguments": ""})
                stream.call(index, item, next(calls).pieces)
        stream.add("response.output_item.done", {"output_index": index, "item": item})
    stream.add(f"response.{ended['status']}", {"response": ended})
    return stream.events


class _Stream:
    """Numbers the events, and gives each piece of text a tick of its own."""

    def __init__(self, obfuscation: str) -> None:
        self.events: list[Event] = []
        self._tick = 0
        self._obfuscation = obfuscation

    def add(self, kind: str, data: Json) -> None:
        self.events.append((self._tick, named(kind, {"sequence_number": len(self.events), **data})))

    def open(self, index: int, item: Json, empty: Json) -> None:
        self.add("response.output_item.added", {"output_index": index, "item": {**item, **empty}})

    def fill(self, index: int, item: Json, kind: str, pieces: tuple[str, ...]) -> None:
        """The one part of an item that is a text."""
        place: Json = {"item_id": item["id"], "output_index": index, "content_index": 0}
        content = item["content"]
        assert isinstance(content, list)
        (part,) = content
        more: Json = {"logprobs": []} if kind == "output_text" else {}
        self.add("response.content_part.added", {**place, "part": {**part, "text": ""}})
        for piece in pieces:
            self.add(f"response.{kind}.delta", {**place, "delta": piece, **more, **self._padding(piece)})
            self._tick += 1
        self.add(f"response.{kind}.done", {**place, "text": part["text"], **more})
        self.add("response.content_part.done", {**place, "part": part})

    def call(self, index: int, item: Json, pieces: tuple[str, ...]) -> None:
        place: Json = {"item_id": item["id"], "output_index": index}
        for piece in pieces:
            delta = {**place, "delta": piece, **self._padding(piece)}
            self.add("response.function_call_arguments.delta", delta)
            self._tick += 1
        self.add("response.function_call_arguments.done", {**place, "arguments": item["arguments"]})

    def _padding(self, piece: str) -> Json:
        # So that an observer of the network cannot read tokens from the lengths.
        return {"obfuscation": self._obfuscation[: 16 - len(piece) % 16]} if self._obfuscation else {}
