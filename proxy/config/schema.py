"""
What routes.yaml says, as frozen structs.

This file is the format's one owner: the loader walks these types to find every mistake, and whatever
describes the format elsewhere is generated from them or tested against them. A struct here knows nothing
about vectors, connections or clocks; what the process runs is built from it in the rooms above.

Units ride in the type: a `Duration` is seconds as a float, written `250ms`, `3s`, `10m`, `1h` in the file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from proxy.config.values import Duration, Regex, Secret, Url

__all__ = [
    "PREFER",
    "Block",
    "Capability",
    "Config",
    "Conversation",
    "Embedding",
    "Feature",
    "HealthCheck",
    "Learned",
    "Level",
    "Model",
    "Preference",
    "Price",
    "Range",
    "References",
    "Route",
    "RouteTest",
    "Server",
    "Split",
    "Target",
    "Text",
    "TextMatch",
    "Timeouts",
    "Topic",
    "Upstream",
    "When",
    "WireProtocol",
]

Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$",
        max_length=128,
        description="a name; those begin with a letter or digit and go on with letters, digits and . _ : / -",
    ),
]
"""A name that rules, headers and metric labels use."""


Capability = Literal["tools", "vision", "audio", "files", "json_schema"]
"""What a model may be able to do besides text."""

Feature = Literal["tools", "images", "audio", "files", "json_schema", "stream"]
"""What a request may bring or ask for besides text."""


WireProtocol = Literal["openai", "anthropic"]
"""What an upstream speaks. Nothing is translated: requests go to those that speak what the client does."""


Tag = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9._-]*$",
        max_length=64,
        description="a tag's name; those begin with a letter and go on with letters, digits and . _ -",
    ),
]


Key = Annotated[str, msgspec.Meta(min_length=1)]
"""Of a request's body."""


Dollars = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]


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


class ModelTimeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the targets of one model may take, in seconds, where it is not what their upstreams say."""

    connect: Duration | None = None
    first_token: Duration | None = None
    idle: Duration | None = None
    total: Duration | None = None

    def over(self, upstream: Timeouts) -> Timeouts:
        """These, and the upstream's where there is none."""
        own = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(upstream, **own)


class HealthCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question that an upstream must answer from time to time, with a status below 500."""

    path: Annotated[str, msgspec.Meta(pattern=r"^/[!-~]*$", description="a path; those begin with /")] = "/models"
    """Below `base_url`."""
    every: Duration = Duration(10.0)
    """Seconds between two checks. Two in a row that fail and its targets rest; one that does not ends that."""
    timeout: Duration = Duration(3.0)
    """How long the answer may take, in seconds."""


class Upstream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server that speaks OpenAI's API, or Anthropic's."""

    base_url: Url
    """Where its `/chat/completions` or `/messages` lives, version included: `https://api.openai.com/v1`."""
    api_key: Secret = Secret("")
    """Sent as `Authorization: Bearer`; when empty the client's own Authorization is passed on."""
    protocol: WireProtocol = "openai"
    """`anthropic`: it answers `/messages`, and takes its key as `x-api-key`."""
    usage: Literal["observe", "inject"] = "observe"
    """
    `inject`: streams are asked for their usage where the client did not, and the chunk that tells it is taken out
    again. `observe`: it is counted where the client asked.
    """
    timeouts: Timeouts = Timeouts()
    health_check: HealthCheck | None = None
    """When None, only requests show how it does."""
    max_in_flight: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    """Requests under way at each of its models, for each worker; further ones go elsewhere, or are answered 503."""


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One upstream and the model name that it knows."""

    upstream: str
    name: Annotated[str, msgspec.Meta(min_length=1)]
    weight: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] = 1.0
    """Its share of the model's requests, against the other targets' weights."""


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens."""

    input: Dollars
    output: Dollars
    cached_input: Dollars | None = None
    """What a token read from the provider's prompt cache costs; `input` when absent."""


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may answer, under the name that clients and rules use. Exactly one of `target` and `targets`."""

    target: Target | None = None
    targets: Annotated[tuple[Target, ...], msgspec.Meta(min_length=1)] | None = None
    price: Price | None = None
    context: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Tokens of prompt and answer together; unlimited when None."""
    supports: tuple[Capability, ...] | None = None
    """What it can do besides text; everything when None."""
    fallbacks: tuple[str, ...] = ()
    """Models to try, in this order, when this one cannot serve a request or fails."""
    timeouts: ModelTimeouts = ModelTimeouts()
    rename: dict[str, Key] = {}
    """As on a route; a model's edits come after its route's."""
    drop: tuple[Key, ...] = ()
    default: dict[str, Any] = {}
    set: dict[str, Any] = {}

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
    ignore: tuple[Tag, ...] = ("system-reminder", "environment_context", "environment_details", "user_instructions")
    """
    Tags whose content is left out: what a coding tool puts between `<system-reminder>` and `</system-reminder>` into
    a user's message is not what the user asks.
    """


class Conversation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a conversation may go on with another model."""

    switch: Literal["never", "upgrade", "always"] = "upgrade"
    """
    `upgrade`: only to a stronger one, which is a dearer one, or a later one in `models` if any has no price. In the
    middle of tool calls none of these switches.
    """
    keep: Duration = Duration(1800.0)
    """How long a silent conversation is remembered."""
    cache: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 50_000
    """Conversations that a worker remembers, those that were silent longest leaving first; some 400 bytes each."""


class Embedding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of the machine understanding may use, and how long a request waits for it."""

    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    """Texts embedded at the same time, one core each."""
    queue: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 64
    """Texts that may wait for a thread; one more and the request is decided without its text."""
    deadline: Duration = Duration(0.25)
    """How long a request waits for its vector before it is decided without."""
    cache: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 10_000
    """Texts whose vectors are kept, the least recently used leaving first; 3 KiB each and the text."""


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What clients may send."""

    max_body: Annotated[int, msgspec.Meta(ge=1024)] = 64 * 1024 * 1024
    """Bytes of a request's body; a larger one is answered 413."""
    body_timeout: Duration = Duration(60.0)
    """How long the body may take to arrive; a slower one is answered 408."""
    max_in_flight: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    """Requests that a worker answers at the same time; a further one is answered 503 at once."""


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a request is tried, the first time included, and how many of all may be."""

    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2
    """Further attempts for each recent request, so that an outage is not multiplied."""
    free: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 10.0
    """Further attempts that are allowed in any ten seconds besides, so that a quiet server may retry at all."""


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of request, shown by examples."""

    examples: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1)]
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """The score from which the topic holds; fitted from the examples when None."""


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`min` and `max`, both inclusive; at least one is given."""

    min: Annotated[float, msgspec.Meta(ge=0)] | None = None
    max: Annotated[float, msgspec.Meta(ge=0)] | None = None


class Level(Range, frozen=True, forbid_unknown_fields=True):
    """`min` and `max` of something from 0 to 1, both inclusive; at least one is given."""

    min: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    max: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


OneOrMore = str | tuple[str, ...]
"""One text, or a list of them of which one suffices."""


class TextMatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the text to route on says; what is given must hold."""

    contains: OneOrMore | None = None
    """One of these stands in it; letter case does not matter."""
    matches: Regex | None = None
    """A regular expression of RE2 that is found in it: it takes linear time on any text."""


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The conditions of a route; all that are given must hold."""

    topic: OneOrMore | None = None
    """One of these is the text's best topic and reaches its threshold."""
    complexity: Level | None = None
    """How hard the request reads, 0 to 1."""
    model: OneOrMore | None = None
    """Globs over the model name that the client asked for."""
    header: dict[str, OneOrMore] | None = None
    """Header names and globs over their values; every header must match one of its globs."""
    tokens: Range | None = None
    """The estimated size of the prompt."""
    turns: Range | None = None
    """How many messages are the user's."""
    text: TextMatch | None = None
    """What the text to route on says."""
    has: Annotated[tuple[Feature, ...], msgspec.Meta(min_length=1)] | None = None
    """All of these are in the request."""
    metadata: dict[str, OneOrMore] | None = None
    """Keys of the body's `metadata` and globs over their values."""
    user: OneOrMore | None = None
    """Globs over the body's `user`."""
    all: Annotated[tuple[When, ...], msgspec.Meta(min_length=1)] | None = None
    """All of these hold."""
    any: Annotated[tuple[When, ...], msgspec.Meta(min_length=1)] | None = None
    """At least one of these holds."""
    not_: When | None = msgspec.field(name="not", default=None)
    """This does not hold."""


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Several models that share a route's requests."""

    split: Annotated[dict[str, Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]], msgspec.Meta(min_length=1)]
    """Weights by model. A conversation keeps its model, and every replica gives it the same one."""


Preference = Literal["quality", "balanced", "cheap"]
PREFER: dict[Preference, float] = {"cheap": 0.25, "balanced": 0.5, "quality": 1.0}
"""
What the names stand for. The scale is one of quality on requests that training did not see: 0 is the cheapest model
whatever it is worth, 0.25 as cheap as can be at 95% of the best single model's quality, 0.5 at all of it, 1 the best
quality; in between, quality rises evenly.
"""


class Learned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Several models of which the policy chooses one for each request."""

    learned: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Without a policy, the first one that can serve the request."""
    prefer: Preference | Annotated[float, msgspec.Meta(ge=0, le=1)] = "balanced"
    """`quality` (1), `balanced` (0.5: as good as the best single model, as cheap as can be), `cheap` (0.25), 0 to 1."""


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer in place of a model's."""

    status: Annotated[int, msgspec.Meta(ge=400, le=499)] = 403
    message: Annotated[str, msgspec.Meta(min_length=1)] = "This request is not allowed here."


class References(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts that show what simple and complex mean; a few dozen of each do better than a few."""

    simple: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1)]
    complex: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1)]


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule: when it applies, which model to use. Exactly one of `use` and `block`."""

    name: Name
    use: str | Split | Learned | None = None
    block: Block | None = None
    when: When = When()
    fallbacks: tuple[str, ...] | None = None
    """Models to try, in this order, when the first cannot serve the request or fails; the model's own when None."""
    rename: dict[str, Key] = {}
    """Keys of the body and their new names; a key whose new name is there already is left alone."""
    drop: tuple[Key, ...] = ()
    """Keys that are taken out."""
    default: dict[str, Any] = {}
    """Keys that are put in where they are absent."""
    set: dict[str, Any] = {}
    """Keys that are put in, in place of what stands there."""


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
    baseline: str | None = None
    """The model that would answer everything if nothing were routed: what its tokens would have cost is counted."""
    rewrite: tuple[str, ...] = ("*",)
    """Globs over requested names that are routed; any other name must be a model above. `auto` always is."""
    passthrough: tuple[str, ...] = ("*",)
    """
    Globs over what comes after `/v1/` in the URLs that are not routed and are passed on: `audio/*`, `files*`. An
    upstream with a key of its own here acts on all of them as the key's owner.
    """
    policy: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """The file that `pointsman train` writes, relative to this one; routes with `learned` decide by it."""
    text: Text = Text()
    conversation: Conversation = Conversation()
    embedding: Embedding = Embedding()
    server: Server = Server()
    retry: Retry = Retry()
    topics: dict[Name, Topic] = {}
    complexity: References | None = None
    """What to measure complexity by, in place of the built-in references."""
    routes: tuple[Route, ...] = ()
    tests: tuple[RouteTest, ...] = ()

    def protocol(self, model: str) -> WireProtocol:
        """What this model's targets speak: all the same, in a valid config."""
        return self.upstreams[self.models[model].all_targets[0].upstream].protocol
