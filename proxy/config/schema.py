"""
What routes.yaml says, as frozen structs.

This file is the format's one owner: the loader walks these types to find every mistake, and whatever
describes the format elsewhere is generated from them or tested against them. A struct here knows nothing
about vectors, connections or clocks; what the process runs is built from it in the rooms above.

Units ride in the type: a `Duration` is seconds as a float, written `250ms`, `3s`, `10m`, `1h` in the file.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from proxy.config.values import Duration, Secret, Url

__all__ = [
    "Config",
    "Embedding",
    "Model",
    "Price",
    "Range",
    "Route",
    "RouteTest",
    "Server",
    "Target",
    "Text",
    "Timeouts",
    "Topic",
    "Upstream",
    "When",
]

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=128)]
"""A name that rules, headers and metric labels use: letters, digits and . _ : / - after the first character."""


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long an upstream may take, in seconds."""

    connect: Duration = Duration(3.0)
    """To open a connection, TLS included."""
    first_token: Duration = Duration(60.0)
    """From sending the request to the first content of the answer."""
    idle: Duration = Duration(60.0)
    """Between two pieces of an answer that has begun."""
    total: Duration = Duration(600.0)
    """The whole answer."""


class Upstream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An OpenAI-compatible server."""

    base_url: Url
    """Where its `/chat/completions` lives, version included: `https://api.openai.com/v1`."""
    api_key: Secret = Secret("")
    """Sent as `Authorization: Bearer`; when empty the client's own Authorization is passed on."""
    timeouts: Timeouts = Timeouts()


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One upstream and the model name that it knows."""

    upstream: str
    name: Annotated[str, msgspec.Meta(min_length=1)]
    weight: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    """Its share of the model's requests, against the other targets' weights."""


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens."""

    input: Annotated[float, msgspec.Meta(ge=0)]
    output: Annotated[float, msgspec.Meta(ge=0)]
    cached_input: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """What a token read from the provider's prompt cache costs; `input` when absent."""


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may answer, under the name that clients and rules use. Exactly one of `target` and `targets`."""

    target: Target | None = None
    targets: Annotated[tuple[Target, ...], msgspec.Meta(min_length=1)] | None = None
    price: Price | None = None

    @property
    def all_targets(self) -> tuple[Target, ...]:
        """The targets, however they were written; at least one in a valid config."""
        if self.targets is not None:
            return self.targets
        return (self.target,) if self.target is not None else ()


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a request is embedded."""

    turns: Annotated[int, msgspec.Meta(ge=1, le=32)] = 1
    """How many of the last user messages."""
    max_tokens: Annotated[int, msgspec.Meta(ge=8, le=512)] = 128
    """Longer texts keep their head and their tail."""


class Embedding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of the machine understanding may use, and how long a request waits for it."""

    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    """Texts embedded at the same time, one core each."""
    queue: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 64
    """Texts that may wait for a thread; one more and the request is decided without its text."""
    deadline: Duration = Duration(0.25)
    """How long a request waits for its vector before it is decided without."""
    cache: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 10_000
    """Texts whose vectors are kept, the least recently used leaving first; 1.5 KiB each and the text."""


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What clients may send."""

    max_body: Annotated[int, msgspec.Meta(ge=1024)] = 64 * 1024 * 1024
    """Bytes of a request's body; a larger one is answered 413."""
    body_timeout: Duration = Duration(60.0)
    """How long the body may take to arrive; a slower one is answered 408."""


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of request, shown by examples."""

    examples: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1)]
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """The score from which the topic holds; fitted from the examples when None."""


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`min` and `max`, both inclusive; at least one is given."""

    min: float | None = None
    max: float | None = None


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The conditions of a route; all that are given must hold."""

    topic: str | tuple[str, ...] | None = None
    """One of these is the text's best topic and reaches its threshold."""
    model: str | tuple[str, ...] | None = None
    """Globs over the model name that the client asked for."""
    header: dict[str, str | tuple[str, ...]] | None = None
    """Header names and globs over their values; every header must match one of its globs."""
    tokens: Range | None = None
    """The estimated size of the prompt."""


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule: when it applies, which model to use."""

    name: Name
    use: str
    when: When = When()


class RouteTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prompt and the route it must take; `pointsman check` runs them."""

    prompt: Annotated[str, msgspec.Meta(min_length=1)]
    route: str
    """A route's name, or `default`."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    version: Literal[1]
    upstreams: Annotated[dict[Name, Upstream], msgspec.Meta(min_length=1)]
    models: Annotated[dict[Name, Model], msgspec.Meta(min_length=1)]
    default: str
    """The model for whatever no route takes."""
    rewrite: tuple[str, ...] = ("*",)
    """Globs over requested names that are routed; any other name must be a model above. `auto` always is."""
    text: Text = Text()
    embedding: Embedding = Embedding()
    server: Server = Server()
    topics: dict[Name, Topic] = {}
    routes: tuple[Route, ...] = ()
    tests: tuple[RouteTest, ...] = ()
