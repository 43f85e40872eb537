"""
What routes.yaml says, as frozen structs.

This file, `schema_upstreams.py` and `schema_uses.py` are the format's one owner: the loader walks these types to find
every mistake, and whatever describes the format elsewhere is generated from them or tested against them. A struct here
knows nothing about vectors, connections or clocks; what the process runs is built from it in the rooms above.

Units ride in the type: a `Duration` is seconds as a float, written `250ms`, `3s`, `10m`, `1h`, `90d` in the file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from proxy.config.schema_upstreams import HeaderName, Key, Model, Name, Upstream, WireProtocol
from proxy.config.schema_uses import Learned, Shadow, Split, learned_of
from proxy.config.values import Duration, File, Regex, StoreUrl

Feature = Literal["tools", "images", "audio", "files", "json_schema", "stream"]
"""What a request may bring or ask for besides text."""


Tag = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9._-]*$",
        max_length=64,
        description="a tag's name; those begin with a letter and go on with letters, digits and . _ -",
    ),
]


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a request is embedded."""

    turns: Annotated[int, msgspec.Meta(ge=1, le=32)] = 1
    """How many of the last user messages."""
    max_tokens: Annotated[int, msgspec.Meta(ge=8, le=512)] = 128
    """Longer texts keep their head and their tail. A change takes effect after a restart."""
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
    """
    How much of the machine understanding may use, and how long a request waits for it. A change takes effect after a
    restart.
    """

    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    """Texts embedded at the same time, one core each."""
    queue: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 64
    """Texts that may wait for a thread; one more and the request is decided without its text."""
    deadline: Duration = Duration(0.25)
    """How long a request waits for its vector before it is decided without."""
    cache: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 10_000
    """Texts whose vectors are kept, the least recently used leaving first; 3 KiB each and the text."""


class Drain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the server ends on SIGTERM; a second signal ends it at once."""

    delay: Duration | None = None
    """How long it still takes new connections, while `/readyz` already fails, so that load balancers can turn away."""
    grace: Duration = Duration(25.0)
    """How long after the signal, delay included, requests may take before they are cut short."""


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What clients may send, how long they may take, and how the server ends."""

    max_body: Annotated[int, msgspec.Meta(ge=1024)] = 64 * 1024 * 1024
    """Bytes of a request's body; a larger one is answered 413."""
    body_timeout: Duration = Duration(60.0)
    """How long the body may take to arrive, or what is held of it and then each piece; a slower one is answered 408."""
    max_in_flight: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    """Requests that a worker answers at the same time; a further one is answered 503 at once."""
    max_head: Annotated[int, msgspec.Meta(ge=1024, le=1024 * 1024)] = 64 * 1024
    """Bytes of a request's URL and headers; a larger head is answered 431."""
    max_headers: Annotated[int, msgspec.Meta(ge=16, le=10_000)] = 256
    """Headers of a request; one with more is answered 431."""
    head_timeout: Duration = Duration(10.0)
    """How long the head may take to arrive; a slower one is answered 408, a silent new connection closed."""
    send_timeout: Duration = Duration(60.0)
    """How long a client may read nothing of an answer that is ready for it; then its connection is cut."""
    drain: Drain = Drain()


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a request is tried, the first time included, and how many of all may be."""

    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    """For one request, the first included; the last is another model's, if a fallback can be asked."""
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2
    """Further attempts for each recent request, so that an outage is not multiplied."""
    free: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 10.0
    """Further attempts that are allowed in any ten seconds besides, so that a quiet server may retry at all."""


class Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where decisions and feedback are kept, and for how long."""

    url: StoreUrl
    """As `store` itself."""
    text: bool = False
    """Whether the text that a decision was made on is kept too. What is learned needs its vector and shape."""
    keep: Duration = Duration(90 * 86400.0)
    """How long a decision is kept."""
    rows: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 1_000_000
    """How many decisions are kept, the oldest leaving first; some 2 KiB each."""


class Corrections(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How feedback on live decisions corrects the policy, where there is a store to keep it."""

    mode: Literal["observe", "apply", "off"] = "observe"
    """`observe` computes and shows what feedback would change; `apply` decides by it as well."""
    half_life: Duration = Duration(7 * 86400.0)
    """The age at which a rating counts half."""
    most: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2
    """How much predicted quality is raised or lowered at most."""
    every: Duration = Duration(30.0)
    """How often a worker asks the store for new feedback."""


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of request, shown by examples."""

    examples: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1)]
    """Texts as users would write them; five to twenty varied ones do well."""
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """The score from which the topic holds; 0.5 when absent, for scores are scaled by the examples."""


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`min` and `max`, both inclusive; at least one is given."""

    min: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """So much or more."""
    max: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """So much or less."""


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
    header: dict[HeaderName, OneOrMore] | None = None
    """
    Header names and globs over their values; every header must match one of its globs. A value is read as UTF-8, and as
    Latin-1 where it is none.
    """
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


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer in place of a model's."""

    status: Annotated[int, msgspec.Meta(ge=400, le=499)] = 403
    """Of HTTP."""
    message: Annotated[str, msgspec.Meta(min_length=1)] = "This request is not allowed here."
    """What the client is told, in the error envelope."""


class References(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts that show what simple and complex mean; a few dozen of each do better than a few."""

    simple: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1)]
    """Texts that any model answers well."""
    complex: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1)]
    """Texts that demand much of a model."""


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule: when it applies, which model to use. Exactly one of `use` and `block`."""

    name: Name
    """What headers, metrics and the log call it."""
    use: str | Learned | Split | None = None
    """A model, several of which the policy chooses one, or several that share the requests."""
    block: Block | None = None
    when: When = When()
    fallbacks: tuple[str, ...] | None = None
    """Models to try, in this order, when the first cannot serve the request or fails; the model's own when absent."""
    rename: dict[str, Key] = {}
    """Keys of the body and their new names; a key whose new name is there already is left alone."""
    drop: tuple[Key, ...] = ()
    """Keys that are taken out."""
    default: dict[str, Any] = {}
    """Keys that are put in where they are absent."""
    set: dict[str, Any] = {}
    """Keys that are put in, in place of what stands there."""


class RouteTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prompt and the route it must take; `pointsman check` runs them, and no server takes a file that fails one."""

    prompt: Annotated[str, msgspec.Meta(min_length=1)]
    """A user's message."""
    route: str
    """A route's name, or `default`."""
    protocol: WireProtocol | None = None
    """The API that it is sent to, of chats or of Anthropic's messages; OpenAI's when absent, if a model speaks it."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    version: Literal[1]
    """Of this format."""
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
    policy: File | None = None
    """The file that `pointsman train` writes, relative to this one; routes with `learned` decide by it."""
    shadow: Shadow | None = None
    """What decides beside all that and changes nothing; counted and kept is what it would have done."""
    text: Text = Text()
    conversation: Conversation = Conversation()
    embedding: Embedding = Embedding()
    server: Server = Server()
    retry: Retry = Retry()
    store: StoreUrl | Store | None = None
    """
    Where decisions and feedback are kept: `sqlite:///FILE`, which begins where the process was started,
    `postgresql+asyncpg://NAME:PASSWORD@HOST/DATABASE` or `none`; a mapping says more. Nothing is when absent.
    """
    corrections: Corrections = Corrections()
    ui: bool = True
    """Whether there is a page at `/ui`, with what it shows: the topics' examples and the decisions as they happen."""
    topics: dict[Name, Topic] = {}
    complexity: References | None = None
    """What to measure complexity by, in place of the built-in references."""
    routes: tuple[Route, ...] = ()
    tests: tuple[RouteTest, ...] = ()

    def protocol(self, model: str) -> WireProtocol:
        """What this model's targets speak: all the same, in a valid config."""
        return self.upstreams[self.models[model].all_targets[0].upstream].protocol

    @property
    def learned(self) -> dict[str, Learned]:
        """By route, what is left to the policy."""
        return {route.name: use for route in self.routes if (use := learned_of(route.use)) is not None}

    @property
    def storing(self) -> Store | None:
        """The store, however it was written; None when nothing is kept."""
        store = Store(self.store) if isinstance(self.store, StoreUrl) else self.store
        return store if store is not None and store.url else None

    @property
    def files(self) -> tuple[File, ...]:
        """The certificates, keys, policies and routes that it names; a change of one is a change of the config."""
        proofs = (file for upstream in self.upstreams.values() if upstream.tls for file in upstream.tls.files)
        beside = (self.policy, *((self.shadow.policy, self.shadow.routes) if self.shadow else ()))
        return (*proofs, *(file for file in beside if file is not None))
