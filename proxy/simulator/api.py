"""The API of one upstream: a request's parts in, a whole reply out."""

import contextlib

import msgspec

from proxy.simulator.answer import answer_chat
from proxy.simulator.chat_request import Json, read_chat, read_object
from proxy.simulator.embeddings import embed
from proxy.simulator.errors import Refusal, refusal_for, unknown_url, wrong_method
from proxy.simulator.headers import EVENTS, HTML, JSON, Headers
from proxy.simulator.knobs import Knobs
from proxy.simulator.legacy import read_legacy, text_completion, text_events
from proxy.simulator.personas import WELL_KNOWN, persona_of
from proxy.simulator.wire import Event, Stamp, completion, completion_events, encode

_PAGE = b"<html>\n<head><title>%d</title></head>\n<body><center><h1>%d</h1></center></body>\n</html>\n"
_CREATED = 1_715_367_049


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A reply and its natural pace; when and whether it arrives is for the knobs to say."""

    status: int = 200
    kind: bytes = JSON
    body: bytes = b""
    events: list[Event] | None = None  # instead of `body`
    extra_headers: Headers = []
    prompt_tokens: int = 0
    tokens: int = 0  # to wait for when the body comes at once
    first_token_s: float = 0.0
    token_s: float = 0.0


class Call(msgspec.Struct, frozen=True):
    """One request to one upstream, its body read."""

    method: str
    path: str
    upstream: str  # the path before `/v1/`, "" without
    endpoint: str  # the path after it
    authorization: str
    fields: Json  # of the JSON body; {} without a body or with a bad one
    body: bytes

    @property
    def model(self) -> str:
        model = self.fields.get("model")
        return model if isinstance(model, str) else ""


def read_call(method: str, path: str, headers: Headers, body: bytes) -> Call:
    """Split the request into what a reply depends on; never fails."""
    before, slash, endpoint = path.rpartition("/v1/")
    fields: Json = {}
    if body:
        with contextlib.suppress(Refusal):  # `reply_to` reads it again, and says so
            fields = read_object(body)
    authorization = next((value.decode("latin-1") for key, value in headers if key == b"authorization"), "")
    return Call(method, path, before.strip("/") if slash else "", endpoint, authorization, fields, body)


def reply_to(call: Call, knobs: Knobs, stamp: Stamp, api_key: str | None) -> Reply:
    """
    Everything the upstream has to say.

    Args:
        api_key: what clients must present; None lets everybody in.
    """
    if knobs.html:
        status = knobs.status or 200
        return Reply(status=status, kind=HTML, body=_PAGE % (status, status))
    try:
        if knobs.status is not None and knobs.status != 200:
            raise refusal_for(knobs.status, call.model)
        if api_key is not None:
            _check_key(call.authorization, api_key)
        return _answer(call, knobs, stamp)
    except Refusal as refusal:
        return refused(refusal, knobs)


def refused(refusal: Refusal, knobs: Knobs) -> Reply:
    extra = [] if knobs.retry_after is None else [(b"retry-after", knobs.retry_after.encode("latin-1"))]
    return Reply(status=refusal.status, body=refusal.body(), extra_headers=extra)


def _answer(call: Call, knobs: Knobs, stamp: Stamp) -> Reply:
    endpoint = call.endpoint
    if endpoint == "models" or endpoint.startswith("models/"):
        if call.method != "GET":
            raise wrong_method(call.method, call.path)
        return Reply(body=_models(endpoint.removeprefix("models").strip("/")))
    if endpoint not in ("chat/completions", "completions", "embeddings"):
        raise unknown_url(call.method, call.path)
    if call.method != "POST":
        raise wrong_method(call.method, call.path)
    fields = call.fields or read_object(call.body)  # the second reading raises
    if endpoint == "embeddings":
        return Reply(body=embed(fields))
    is_chat = endpoint == "chat/completions"
    request = read_chat(fields) if is_chat else read_legacy(fields)
    persona = persona_of(request.model)
    answer = answer_chat(request, call.upstream, persona, knobs)
    body, events = b"", None
    if request.stream:
        events = (completion_events if is_chat else text_events)(answer, request, stamp)
    else:
        body = (completion if is_chat else text_completion)(answer, request, stamp)
    return Reply(
        kind=JSON if events is None else EVENTS,
        body=body,
        events=events,
        prompt_tokens=answer.prompt_tokens,
        tokens=max(len(choice.pieces) for choice in answer.choices),
        first_token_s=persona.first_token_s,
        token_s=1 / persona.tokens_per_s,
    )


def _models(name: str) -> bytes:
    if name:
        return encode(_model(name))
    return encode({"object": "list", "data": [_model(known) for known in WELL_KNOWN]})


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "simulator"}


def _check_key(authorization: str, api_key: str) -> None:
    presented = authorization.removeprefix("Bearer ").strip()
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
