"""Every other URL below /v1: passed on as it is, in both directions as it arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from proxy.config import AUTO, PASSED_ROUTE
from proxy.endpoints.exchange import Admission, Exchange
from proxy.endpoints.running import Running, running_of
from proxy.errors import BadRequest
from proxy.relay.attempts import Attempts, Offer
from proxy.relay.body import read_body
from proxy.relay.guard import Guard
from proxy.relay.json_bytes import replace_model
from proxy.relay.reply import Body, Call
from proxy.relay.upload import Field, Upload, boundary_of
from proxy.relay.upstreams import Target
from proxy.routing.facts import Facts
from proxy.routing.passthrough import asked_model, kept_answer
from proxy.routing.pin import PIN_HEADER
from proxy.routing.responses import read_passed
from proxy.telemetry.metrics import UNROUTED
from proxy.telemetry.record import LONGEST_NAME

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")

_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE"))  # RFC 9110, 9.2.2
# Whose account asks is all the same to these: they neither keep anything nor can name what is kept, such as a file.
_OF_NO_ACCOUNT = ("embeddings", "moderations", "images/generations", "audio/speech", "rerank", "score")
# Asked twice, these cost twice, and nothing is left behind that would be there twice.
_INFERENCE = (*_OF_NO_ACCOUNT, "images/", "audio/", "messages/count_tokens", "responses/input_tokens")
# The forms of these name a model, be it behind the file; those of others, such as files, name none.
_FORMS_WITH_MODEL = ("images/", "audio/", "videos")
_MOST_HELD = 32 * 1024 * 1024
"""
Of such a form, until its model is here; more than the recordings that OpenAI takes. Of JSON that is not labelled, too.
"""
_MOST_HELD_OF_OTHERS = 64 * 1024


class _Place(NamedTuple):
    """Where a request goes."""

    model: str | None
    """That is asked; None where none is."""
    targets: tuple[Target, ...]
    """Those that may answer."""
    key_hash: bytes | None = None
    """Of the key that knows what the request names; None where that is not known."""


class PassThrough:
    """The endpoint, as a plain ASGI app."""

    def __init__(self, admission: Admission) -> None:
        """
        Args:
            admission: bounds the requests of all endpoints together.
        """
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._admission.run(_PassedExchange(running_of(scope), scope, receive, send))


class _PassedExchange(Exchange):
    """One request that is passed on to the model that it names, or to where all go that name none."""

    def __init__(self, running: Running, scope: Scope, receive: Receive, send: Send) -> None:
        self._path = scope["raw_path"].decode("latin-1").removeprefix("/v1/")
        operation = "embeddings" if self._path == "embeddings" else ""
        super().__init__(running, scope, receive, send, route="/v1/{path}", operation=operation)
        self.protocol = running.passthrough.protocol(self._path, self._headers)

    async def _answer_it(self) -> None:
        self.running.passthrough.check(self._scope["method"], self._path)
        self._record.route = PASSED_ROUTE
        limits = self.running.config.server
        if self._is_held():
            body = await read_body(self._scope, self._receive, max_bytes=limits.max_body, timeout_s=limits.body_timeout)
            await self._pass_body_on(body)
            return
        length = self._headers.get("content-length", "")
        upload = Upload(
            self._receive,
            length=int(length) if length.isdigit() and "transfer-encoding" not in self._headers else None,
            timeout_s=limits.body_timeout,
        )
        # JSON is sent without being labelled as such, too, by curl as a form of a page.
        if not self._is_compressed() and (found := await upload.whole_object(self._most_held())) is not None:
            await self._pass_body_on(found)
        else:
            await self._pass_upload_on(upload)

    async def _pass_body_on(self, body: bytes) -> None:
        asked = asked_model(body)
        place = self._place(asked, read_passed(body, self._headers) if self._path.startswith("responses/") else None)
        is_named = asked is not None and place.model is not None
        await self._pass_on(
            place,
            lambda target, _: replace_model(body, target.name) if is_named else body,
            self._receive,
            is_repeatable=self._may_be_repeated(),
        )

    async def _pass_upload_on(self, upload: Upload) -> None:
        field = await self._model_field(upload)
        place = self._place(None if field is None else field.value)

        def body_for(target: Target, guard: Guard) -> Upload:
            if field is not None and place.model is not None:
                upload.replace(field.start, field.end, target.name.encode("utf-8"))
            return upload.begin(guard, target.timeouts)

        await self._pass_on(place, body_for, upload.receive, is_repeatable=False)

    async def _model_field(self, upload: Upload) -> Field | None:
        """
        Where a form names its model.

        Raises:
            BadRequest: it has not said so far which of several upstreams it is for.
        """
        boundary = boundary_of(self._headers.get("content-type", ""))
        if boundary is None or self._is_compressed():
            return None
        if not self._path.startswith(_FORMS_WITH_MODEL):
            return await upload.model_field(boundary, _MOST_HELD_OF_OTHERS)
        most = self._most_held()
        field = await upload.model_field(boundary, most)
        is_unknown = field is None and not upload.is_read and PIN_HEADER not in self._headers
        if is_unknown and len({target.upstream for target in self.running.upstreams.all_targets()}) > 1:
            # A guess would send a recording to a provider that nobody named.
            raise BadRequest(
                f"The form names no model in its first {most:,} bytes: put the field `model` before the file, "
                f"or name the model in the header {PIN_HEADER}.",
                param="model",
            )
        return field

    async def _pass_on(
        self, place: _Place, body_for: Callable[[Target, Guard], Body], receive: Receive, *, is_repeatable: bool
    ) -> None:
        """
        Args:
            place: where it goes.
            body_for: what to send to a target.
            receive: what brings the client's leaving.
            is_repeatable: whether it may be asked again, as often as routes.yaml says.
        """
        running, scope = self.running, self._scope
        call = Call(
            scope["method"],
            f"/{self._path}",
            scope["query_string"],
            scope["headers"],
            is_routed=False,
            is_of_a_model=place.model is not None,
            is_repeatable=is_repeatable,
            is_of_an_account=place.key_hash is None and not self._path.startswith(_OF_NO_ACCOUNT),
        )
        async with Guard(receive) as guard:
            model = place.model or UNROUTED
            offer = Offer(model, place.targets, None, lambda target: body_for(target, guard), place.key_hash)
            reply = await Attempts(running.upstreams, guard, call, self._trail).open(iter((offer,)))
            await self._relay(reply)

    def _place(self, asked: str | None, facts: Facts | None = None) -> _Place:
        """
        Where it goes: to the one that keeps what the path names, or what the body goes on from or refers to, where that
        is known; else to the model that it names.

        Args:
            asked: the model that the body names.
            facts: of the body, where it may go on from a response or a conversation.
        """
        self._record.requested = (asked or "")[:LONGEST_NAME]
        model = self.running.passthrough.model(asked, self._headers, self.protocol)
        place = self._kept() or self._going_on(facts, model, asked) or self._named(model)
        self._record.model = self._record.decided = place.model or UNROUTED
        return place

    def _kept(self) -> _Place | None:
        answer_id = kept_answer(self._path)
        kept = None if answer_id is None else self.running.keeper(answer_id, self._headers)
        # A client that names its model always does so here too, where none has anything to do.
        if kept is None:
            return None
        keeper, key_hash = kept
        return _Place(None, (keeper,), key_hash)

    def _going_on(self, facts: Facts | None, model: str | None, asked: str | None) -> _Place | None:
        kept = None if facts is None else self.running.keeper_before(facts)
        if kept is None:
            return None
        keeper, key_hash = kept
        if model is None:
            return _Place(None, (keeper,), key_hash)
        upstreams = self.running.upstreams
        if asked == AUTO and PIN_HEADER not in self._headers:
            return _Place(upstreams.model_of(keeper), (keeper,), key_hash)
        # As of what is routed: a model that is insisted on answers there, if it is there too.
        there = upstreams.beside(keeper, model)
        return None if there is None else _Place(model, (there,), key_hash)

    def _named(self, model: str | None) -> _Place:
        if model is None:
            return _Place(None, (self.running.unnamed(self.protocol),))
        return _Place(model, self.running.upstreams.targets(model))

    def _is_held(self) -> bool:
        """Whether the body is labelled as JSON, which may name a model and is small, or there is none."""
        if self._is_compressed():
            return False
        has_body = "transfer-encoding" in self._headers or self._headers.get("content-length", "0") != "0"
        return not has_body or self._headers.get("content-type", "").lower().startswith("application/json")

    def _is_compressed(self) -> bool:
        return self._headers.get("content-encoding", "identity").lower() != "identity"

    def _most_held(self) -> int:
        return min(_MOST_HELD, self.running.config.server.max_body)

    def _may_be_repeated(self) -> bool:
        return self._scope["method"] in _IDEMPOTENT or self._path.startswith(_INFERENCE)
