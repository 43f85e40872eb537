"""What comes in and what goes out: a request with its body read, and a reply that nobody has sent yet."""

from __future__ import annotations

import msgspec

from proxy.simulator.chat_request import ChatRequest, Json, read_object
from proxy.simulator.forms import Upload
from proxy.simulator.headers import JSON, Headers
from proxy.simulator.wire import ERROR_EVENT, Event


class Request(msgspec.Struct, frozen=True):
    """One request to one upstream, its body read."""

    method: str
    path: str
    query: str
    upstream: str  # the path before `/v1/`, "" without
    endpoint: str  # the path after it
    headers: Headers
    fields: Json  # of the JSON body or of the form; {} without a body or with a bad one
    uploads: dict[str, Upload]  # the files of a form, by field
    body: bytes

    @property
    def model(self) -> str:
        model = self.fields.get("model")
        return model if isinstance(model, str) else ""

    @property
    def is_anthropic(self) -> bool:
        """Whether it is for Anthropic's API, which has a path, headers and errors of its own."""
        return self.endpoint.partition("/")[0] == "messages"

    def json(self) -> Json:
        """
        The JSON body's fields.

        Raises:
            Refusal: it is no JSON object.
        """
        return self.fields or read_object(self.body)  # the second reading raises

    @property
    def below(self) -> str:
        """What follows the endpoint's first part: `abc/content` of `files/abc/content`."""
        return self.endpoint.partition("/")[2]

    def header(self, name: bytes) -> str:
        """The first value of a header, "" when absent."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A reply and its natural pace; when and whether it arrives is for the knobs to say."""

    status: int = 200
    kind: bytes = JSON
    body: bytes = b""
    events: list[Event] | None = None  # instead of `body`; pieces of any kind that come one by one
    error_event: bytes = ERROR_EVENT  # as this API tells an error within a stream
    extra_headers: Headers = []
    asked: ChatRequest | None = None  # what a model answers with this
    is_anthropic: bool = False
    prompt_tokens: int = 0
    tokens: int = 0  # to wait for when the body comes at once
    first_token_s: float = 0.0
    token_s: float = 0.0
