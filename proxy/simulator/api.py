"""The API of one upstream: a request's parts in, a whole reply out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import msgspec

from proxy.simulator import files, images, messages, moderations, responses, speech, transcriptions
from proxy.simulator.chat_request import Json, read_chat, read_object
from proxy.simulator.embeddings import embed
from proxy.simulator.errors import Refusal, anthropic_body, refusal_for, unknown_url, wrong_method
from proxy.simulator.forms import Upload, read_form
from proxy.simulator.generated import generated
from proxy.simulator.headers import HTML, Headers
from proxy.simulator.kept import Kept
from proxy.simulator.knobs import Knobs
from proxy.simulator.legacy import read_legacy, text_completion, text_events
from proxy.simulator.personas import WELL_KNOWN
from proxy.simulator.qualities import Qualities
from proxy.simulator.reply import Reply, Request
from proxy.simulator.wire import Stamp, completion, completion_events, encode

_PAGE = b"<html>\n<head><title>%d</title></head>\n<body><center><h1>%d</h1></center></body>\n</html>\n"
_CREATED = 1_715_367_049


def read_request(method: str, path: str, query: str, headers: Headers, body: bytes) -> Request:
    """Split the request into what a reply depends on; never fails."""
    before, slash, endpoint = path.rpartition("/v1/")
    fields: Json = {}
    uploads: dict[str, Upload] = {}
    if body:
        kind = next((value for key, value in headers if key == b"content-type"), b"")
        if kind.startswith(b"multipart/"):
            fields, uploads = read_form(body, kind.decode("latin-1"))
        else:
            with contextlib.suppress(Refusal):  # `Request.json` reads it again, and says so
                fields = read_object(body)
    return Request(
        method, path, query, before.strip("/") if slash else "", endpoint, headers, fields, uploads, body
    )  # fmt: skip


def reply_to(
    request: Request, knobs: Knobs, stamp: Stamp, kept: Kept, qualities: Qualities, api_key: str | None
) -> Reply:
    """
    Everything the upstream has to say.

    Args:
        kept: what earlier requests left, and this one may add to.
        qualities: what a model's answer tells of itself.
        api_key: what clients must present; None lets everybody in.
    """
    if knobs.html:
        status = knobs.status or 200
        return Reply(status=status, kind=HTML, body=_PAGE % (status, status))
    try:
        if knobs.status is not None and knobs.status != 200:
            raise refusal_for(knobs.status, request.model)
        if api_key is not None:
            _check_key(request, api_key)
        reply = _handler(request)(request, knobs, stamp, kept)
    except Refusal as refusal:
        return refused(refusal, request, knobs, stamp)
    if reply.asked is None:
        return reply
    told = qualities.headers(reply.asked, knobs)
    return msgspec.structs.replace(reply, extra_headers=[*reply.extra_headers, *told])


def refused(refusal: Refusal, request: Request, knobs: Knobs, stamp: Stamp) -> Reply:
    extra = [] if knobs.retry_after is None else [(b"retry-after", knobs.retry_after.encode("latin-1"))]
    body = anthropic_body(refusal, f"req_{stamp.token}") if request.is_anthropic else refusal.body()
    return Reply(status=refusal.status, body=body, extra_headers=extra, is_anthropic=request.is_anthropic)


Handler = Callable[[Request, Knobs, Stamp, Kept], Reply]


def _chat(request: Request, knobs: Knobs, stamp: Stamp, _: Kept) -> Reply:
    asked = read_chat(request.json())
    return generated(
        asked, request.upstream, knobs,
        whole=partial(completion, request=asked, stamp=stamp),
        events=partial(completion_events, request=asked, stamp=stamp),
    )  # fmt: skip


def _legacy(request: Request, knobs: Knobs, stamp: Stamp, _: Kept) -> Reply:
    asked = read_legacy(request.json())
    return generated(
        asked, request.upstream, knobs,
        whole=partial(text_completion, request=asked, stamp=stamp),
        events=partial(text_events, request=asked, stamp=stamp),
    )  # fmt: skip


def _embeddings(request: Request, *_: object) -> Reply:
    return Reply(body=embed(request.json()))


def _list_models(*_: object) -> Reply:
    return Reply(body=encode({"object": "list", "data": [_model(known) for known in WELL_KNOWN]}))


def _get_model(request: Request, *_: object) -> Reply:
    return Reply(body=encode(_model(request.below)))


def _delete_model(request: Request, *_: object) -> Reply:
    return Reply(body=encode({"id": request.below, "object": "model", "deleted": True}))


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "simulator"}


_AT: dict[str, dict[str, Handler]] = {
    "chat/completions": {"POST": _chat},
    "completions": {"POST": _legacy},
    "embeddings": {"POST": _embeddings},
    "responses": {"POST": responses.create},
    "messages": {"POST": messages.create},
    "messages/count_tokens": {"POST": messages.count_tokens},
    "moderations": {"POST": moderations.create},
    "audio/speech": {"POST": speech.create},
    "audio/transcriptions": {"POST": transcriptions.create},
    "images/generations": {"POST": images.generate},
    "files": {"POST": files.upload, "GET": files.list_all},
    "models": {"GET": _list_models},
}
_BELOW: dict[str, dict[str, Handler]] = {
    "responses": {"GET": responses.get, "DELETE": responses.delete},
    "files": {"GET": files.get, "DELETE": files.delete},
    "models": {"GET": _get_model, "DELETE": _delete_model},
}


def _handler(request: Request) -> Handler:
    methods = _AT.get(request.endpoint) or (_BELOW.get(request.endpoint.partition("/")[0]) if request.below else None)
    if methods is None:
        raise unknown_url(request.method, request.path)
    if (handler := methods.get(request.method)) is None:
        raise wrong_method(request.method, request.path)
    return handler


def _check_key(request: Request, api_key: str) -> None:
    presented = request.header(b"authorization").removeprefix("Bearer ").strip()
    if request.is_anthropic:
        presented = request.header(b"x-api-key") or presented
    if not presented:
        raise Refusal(
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
            "auth (i.e. Authorization: Bearer YOUR_KEY).",
            status=401,
        )
    if presented != api_key:
        shown = presented if len(presented) < 8 else f"{presented[:3]}{'*' * (len(presented) - 7)}{presented[-4:]}"
        raise Refusal(
            f"Incorrect API key provided: {shown}. "
            "You can find your API key at https://platform.openai.com/account/api-keys.",
            status=401,
            code="invalid_api_key",
        )
