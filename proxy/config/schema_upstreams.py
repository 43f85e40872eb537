"""What routes.yaml says of upstreams and models; the rest of the format is in `schema.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from proxy.config.values import Duration, File, ProxyUrl, Secret, Url

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

WireProtocol = Literal["openai", "anthropic"]
"""What an upstream speaks. Nothing is translated: requests go to those that speak what the client does."""


Key = Annotated[str, msgspec.Meta(min_length=1)]
"""Of a request's body."""


HeaderName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",  # a token of RFC 9110, section 5.6.2
        description="a header name; those have letters, digits and - only",
    ),
]


Dollars = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long an upstream may take."""

    connect: Duration = Duration(3.0)
    """To open a connection, with looking up the name, the tunnel through a proxy, and TLS."""
    first_token: Duration = Duration(60.0)
    """From sending a request for a stream to the first content of the answer."""
    whole_answer: Duration = Duration(300.0)
    """From sending any other request to the whole of its answer, of which most upstreams send nothing before."""
    idle: Duration = Duration(60.0)
    """Between two pieces of an answer that has begun."""
    total: Duration = Duration(600.0)
    """All of a request, with every attempt at it."""


class ModelTimeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the targets of one model may take, where it is not what their upstreams say."""

    connect: Duration | None = None
    """To open a connection; as the upstream says when absent, and so are all of these."""
    first_token: Duration | None = None
    """From sending a request for a stream to the first content of the answer."""
    whole_answer: Duration | None = None
    """From sending any other request to the whole of its answer."""
    idle: Duration | None = None
    """Between two pieces of an answer that has begun."""
    total: Duration | None = None
    """All of a request, with every attempt at it."""

    def over(self, upstream: Timeouts) -> Timeouts:
        """These, and the upstream's where there is none."""
        own = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(upstream, **own)


class HealthCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question that an upstream must answer from time to time, with a status below 500."""

    path: Annotated[str, msgspec.Meta(pattern=r"^/[!-~]*$", description="a path; those begin with /")] = "/models"
    """Below `base_url`."""
    every: Duration = Duration(10.0)
    """Between two checks. Two in a row that fail and its targets rest; one that does not ends that."""
    timeout: Duration = Duration(3.0)
    """How long the answer may take."""


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an https upstream proves who it is, and how it is told who asks. All files are PEM."""

    ca: File | None = None
    """
    Certificates that are trusted in place of the usual authorities: a private authority's, or a self-signed one itself.
    """
    certificate: File | None = None
    """What is shown to an upstream that asks for a certificate; the chain, and the key too where `key` is absent."""
    key: File | None = None
    """The private key of `certificate`, without a pass phrase."""

    @property
    def files(self) -> tuple[File, ...]:
        """Those that are given."""
        return tuple(file for file in (self.ca, self.certificate, self.key) if file is not None)


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
    api_keys: Annotated[tuple[Secret, ...], msgspec.Meta(min_length=1)] | None = None
    """
    Several keys in place of `api_key`, used in turn; one that is refused rests while the others go on. A variable that
    is empty is no key, and when all are the client's own Authorization is passed on.
    """
    headers: dict[HeaderName, Secret] = {}
    """
    Sent in place of the client's headers of these names; an empty one is not sent. Where one carries a key, such as
    `api-key`, no key of the client's is passed on. `host` names a virtual host; TLS asks for the host in `base_url`.
    """
    query: dict[Annotated[str, msgspec.Meta(min_length=1)], Secret] = {}
    """Added to each URL in place of the client's parameters of these names, percent-encoded; an empty one is not."""
    tls: Tls | None = None
    proxy: ProxyUrl = ProxyUrl("")
    """The http proxy on the way: `http://name:password@host:port`. It forwards http, and tunnels https (CONNECT)."""
    socket: File | None = None
    """A unix socket that is connected to, in plain HTTP; `base_url` then gives the path and the host's name."""
    timeouts: Timeouts = Timeouts()
    health_check: HealthCheck | None = None
    """Asks the upstream how it does beside the requests; when absent, only those show it."""
    max_in_flight: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    """Requests under way at each of its models, for each worker; further ones go elsewhere, or are answered 503."""

    @property
    def all_keys(self) -> tuple[Secret, ...]:
        """The keys, however they were written, in their order; empty ones are not used."""
        return self.api_keys if self.api_keys is not None else (self.api_key,)


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One upstream and the model name that it knows."""

    upstream: str
    """One of `upstreams`."""
    name: Annotated[str, msgspec.Meta(min_length=1)]
    """The model's name there."""
    weight: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] = 1.0
    """Its share of the model's requests, against the other targets' weights."""


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens."""

    input: Dollars
    """Of the prompt."""
    output: Dollars
    """Of the answer, reasoning included."""
    cached_input: Dollars | None = None
    """What a token read from the provider's prompt cache costs; `input` when absent."""
    cache_write: Dollars | None = None
    """
    What a token written to it costs, for however long; `input` when absent. Anthropic's price is 1.25 times `input` for
    five minutes, and twice it for an hour.
    """

    def cost_usd(self, prompt: int, cached: int, cache_write: int, completion: int) -> float:
        """
        What these tokens cost, in USD.

        Args:
            prompt: tokens, those included that are `cached` or `cache_write`.
            cached: of them, read from a cache.
            cache_write: of them, written to one.
            completion: tokens of the answer.
        """
        cached_price = self.input if self.cached_input is None else self.cached_input
        write_price = self.input if self.cache_write is None else self.cache_write
        fresh = max(0, prompt - cached - cache_write)
        of_prompt = fresh * self.input + cached * cached_price + cache_write * write_price
        return (of_prompt + completion * self.output) / 1e6


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may answer, under the name that clients and rules use. Exactly one of `target` and `targets`."""

    target: Target | None = None
    """Where it is asked."""
    targets: Annotated[tuple[Target, ...], msgspec.Meta(min_length=1)] | None = None
    """In place of `target`, the same model at several places: requests are balanced by weight and latency."""
    price: Price | None = None
    context: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Tokens of prompt and answer together; unlimited when absent."""
    supports: tuple[Capability, ...] | None = None
    """What it can do besides text; everything when absent."""
    fallbacks: tuple[str, ...] = ()
    """Models to try, in this order, when this one cannot serve a request or fails."""
    timeouts: ModelTimeouts = ModelTimeouts()
    rename: dict[str, Key] = {}
    """As on a route; a model's edits come after its route's."""
    drop: tuple[Key, ...] = ()
    """Keys of the body that are taken out."""
    default: dict[str, Any] = {}
    """Keys that are put in where they are absent."""
    set: dict[str, Any] = {}
    """Keys that are put in, in place of what stands there."""

    @property
    def all_targets(self) -> tuple[Target, ...]:
        """The targets, however they were written; at least one in a valid config."""
        if self.targets is not None:
            return self.targets
        return (self.target,) if self.target is not None else ()
