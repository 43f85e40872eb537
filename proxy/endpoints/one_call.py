"""POST /route: a question in, the answer out, in one call without a chat message in sight."""

from __future__ import annotations

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.endpoints.answers import send_body, send_json
from proxy.endpoints.running import new_id, running
from proxy.errors import BadRequest, UpstreamUnavailable
from proxy.relay.body import ClientLeft, read_body
from proxy.routing.chat import prompt_body, read_chat
from proxy.routing.reading import header_map
from proxy.routing.surrogates import reading_halves
from proxy.telemetry.record import Record

_OF_THE_BODY = (b"content-length", b"content-type", b"content-encoding")


_decode_any = reading_halves(msgspec.json.Decoder().decode)


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    query: str


class OneCall:
    """Wraps the query into a chat request, has that answered like any other, and unwraps the answer."""

    def __init__(self, chat: ASGIApp) -> None:
        """
        Args:
            chat: answers `/v1/chat/completions`; decides, relays, counts and logs.
        """
        self._chat = chat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Answer `{"query": ...}` with `{"model", "response", "scores"}`.

        `scores` are those of every topic, empty where the text could not be looked at. Errors, and the headers, are
        those of `/v1/chat/completions`.

        Raises:
            BadRequest: the body is anything else.
            UpstreamUnavailable: the model's answer is not a chat completion.
        """
        held = running(scope)
        limits = held.config.server
        try:
            sent = await read_body(scope, receive, max_bytes=limits.max_body, timeout_s=limits.body_timeout)
        except ClientLeft:
            return
        body = prompt_body(_query(sent))
        status, headers, answer = await self._ask(scope, receive, body)
        if not status:
            return  # the client left, and nobody was answered
        others = [(name, value) for name, value in headers if name not in _OF_THE_BODY]
        if not 200 <= status < 300:
            await send_body(send, answer, status=status, headers=others)
            return
        response = _content(answer)
        facts = read_chat(body, header_map(scope["headers"]))
        unused = new_id()
        signals = await held.signals(facts, Record(id=unused, request_id=unused, path=scope["path"]))
        scores = {} if signals.topics is None else {name: round(score, 4) for name, score in signals.topics.ranked}
        model = dict(headers)[b"x-pointsman-model"].decode("ascii")
        await send_json(send, {"model": model, "response": response, "scores": scores}, headers=others)

    async def _ask(self, scope: Scope, receive: Receive, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """The chat endpoint's status, headers and body; status 0 if it said nothing."""
        headers = [(name, value) for name, value in scope["headers"] if name not in _OF_THE_BODY]
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        status, answered, pieces = 0, [], []
        is_read = False

        async def give() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()  # the hang-up, which must still stop the upstream
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def take(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], list(message.get("headers", ()))
            else:
                pieces.append(message.get("body", b""))

        await self._chat({**scope, "headers": headers}, give, take)
        return status, answered, b"".join(pieces)


def _query(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Asked).query
    except msgspec.ValidationError as error:
        raise BadRequest(f'The body must be {{"query": "..."}}: {error}.', param="query") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest('The body must be {"query": "..."}: it is not valid JSON.', param="query") from None


def _content(answer: bytes) -> str:
    """The text of a chat completion's first choice; empty where it has none, as beside a call of a tool."""
    try:
        completion = _decode_any(answer)
        content = completion["choices"][0]["message"].get("content")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, AttributeError):
        raise UpstreamUnavailable("The model's answer is not a chat completion.") from None
    return content if isinstance(content, str) else ""
