"""POST /route: a question in, the answer out, in one call without a chat message in sight."""

from __future__ import annotations

from collections.abc import Awaitable

import msgspec
from starlette.types import Message, Receive, Scope, Send

from proxy.endpoints.answers import send_json
from proxy.endpoints.exchange import Admission
from proxy.endpoints.routed import RoutedExchange
from proxy.endpoints.running import Running, new_id, running_of
from proxy.errors import BadRequest, UpstreamUnavailable
from proxy.relay.body import read_body
from proxy.relay.reply import Reply
from proxy.routing.apis import CHAT
from proxy.routing.chat import prompt_body
from proxy.routing.decoding import UNREADABLE, read_any
from proxy.telemetry.record import Record

_OF_THE_BODY = (b"content-length", b"content-type", b"content-encoding")


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    query: str


class OneCall:
    """The endpoint, as a plain ASGI app."""

    def __init__(self, admission: Admission) -> None:
        """
        Args:
            admission: bounds the requests of all endpoints together.
        """
        self._admission = admission

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """
        Answer `{"query": ...}` with `{"model", "response", "scores"}`.

        `scores` are those of every topic, empty where the text could not be looked at. Errors, and the headers, are
        those of `/v1/chat/completions`.
        """
        return self._admission.run(_OneCallExchange(running_of(scope), scope, receive, send))


class _OneCallExchange(RoutedExchange):
    """Wraps the query into a chat, which is answered like any other, and keeps the answer until it is unwrapped."""

    def __init__(self, running: Running, scope: Scope, receive: Receive, send: Send) -> None:
        self._asked = scope
        headers = [(name, value) for name, value in scope["headers"] if name not in _OF_THE_BODY]
        headers.append((b"content-type", b"application/json"))
        super().__init__(CHAT, running, {**scope, "headers": headers}, receive, send)
        self._start: Message = {}
        self._pieces: list[bytes] = []

    async def _read_body(self) -> bytes:
        limits = self.running.config.server
        sent = await read_body(self._asked, self._receive, max_bytes=limits.max_body, timeout_s=limits.body_timeout)
        return prompt_body(_query(sent))

    async def _relay(self, reply: Reply) -> None:
        """
        Send the answer on, unwrapped.

        Raises:
            UpstreamUnavailable: it is no chat completion.
        """
        client, self._send = self._send, self._take
        try:
            await super()._relay(reply)
        finally:
            self._send = client
            if self._answer is not None:
                self._answer.is_begun = False  # the client has nothing of it
        answer = b"".join(self._pieces)
        if not 200 <= reply.status < 300:
            await client(self._start)
            await client({"type": "http.response.body", "body": answer})
            return
        told = {"model": self._record.model, "response": _content(answer), "scores": await self._scores()}
        self._record.status = 200
        headers = [(name, value) for name, value in self._start["headers"] if name not in _OF_THE_BODY]
        await send_json(client, told, headers=headers)

    async def _take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._pieces.append(message.get("body", b""))

    async def _scores(self) -> dict[str, float]:
        assert self._facts is not None, "what is answered was read"
        unused = new_id()
        record = Record(id=unused, request_id=unused, path=self._record.path)
        signals = await self.running.signals(self._facts, record)
        return {} if signals.topics is None else {name: round(score, 4) for name, score in signals.topics.ranked}


def _query(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Asked).query
    except msgspec.ValidationError as error:
        raise BadRequest(f'The body must be {{"query": "..."}}: {error}.', param="query") from None
    except UNREADABLE:
        raise BadRequest('The body must be {"query": "..."}: it is not valid JSON.', param="query") from None


def _content(answer: bytes) -> str:
    """The text of a chat completion's first choice; empty where it has none, as beside a call of a tool."""
    try:
        completion = read_any(answer)
        content = completion["choices"][0]["message"].get("content")
    except (*UNREADABLE, LookupError, TypeError, AttributeError):
        raise UpstreamUnavailable("The model's answer is not a chat completion.") from None
    return content if isinstance(content, str) else ""
