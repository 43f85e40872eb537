"""Where requests go: one transport for each upstream, and everything that is constant about a target."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp
import httpx

from proxy.config import Config, Timeouts
from proxy.config import Target as TargetConfig
from proxy.relay.headers import Headers
from proxy.relay.transport import AiohttpTransport

TransportFactory = Callable[[str], httpx.AsyncBaseTransport]
"""The transport for the upstream of this name; a test may pass one that gives `httpx.MockTransport`s."""

# aiohttp would add these where a client sent none, and an upstream should see what the client said.
_NOT_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_KEEPALIVE_S = 60.0


class Target:
    """One upstream and the name that it knows the model by, with all that a request to it needs."""

    def __init__(
        self, *, upstream: str, name: str, weight: float, url: str, key: str, timeouts: Timeouts,
        transport: httpx.AsyncBaseTransport,
    ) -> None:  # fmt: skip
        self.label = f"{upstream}/{name}"
        """How metrics, the log and the header `x-pointsman-target` call it."""
        self.header_label = quote(self.label, safe="/:@._-+ ").encode("ascii")
        """The same where only ASCII may stand."""
        self.upstream = upstream
        self.name = name
        self.weight = weight
        self.timeouts = timeouts
        self.transport = transport
        self.chat_url = httpx.URL(f"{url}/chat/completions")
        self.own_headers: Headers = [(b"accept-encoding", b"identity")]
        """Sent in place of the client's: the credentials, if this upstream has its own."""
        if key:
            self.own_headers.append((b"authorization", b"Bearer " + key.encode("utf-8")))

    def __repr__(self) -> str:
        return f"Target({self.label!r})"


class Upstreams:
    """The targets of each model, over connections that are opened once and kept."""

    def __init__(self, targets: Mapping[str, Sequence[Target]], *, random_source: random.Random | None = None) -> None:
        """
        Args:
            targets: by model name, at least one each.
            random_source: spreads requests over several targets; a seeded one makes a test repeatable.
        """
        self._targets = {model: tuple(of_model) for model, of_model in targets.items()}
        self._weights = {model: [target.weight for target in of_model] for model, of_model in targets.items()}
        self._random = random_source or random.Random()  # noqa: S311 - balance, not secrecy

    def all_targets(self) -> list[Target]:
        """Every target once."""
        return list({target.label: target for of_model in self._targets.values() for target in of_model}.values())

    def pick(self, model: str) -> Target:
        """A target of this model, at random by weight."""
        targets = self._targets[model]
        return targets[0] if len(targets) == 1 else self._random.choices(targets, self._weights[model])[0]


@asynccontextmanager
async def open_upstreams(config: Config, transport: TransportFactory | None = None) -> AsyncIterator[Upstreams]:
    """
    Targets with transports that are closed on the way out.

    Args:
        config: what routes.yaml says.
        transport: makes each upstream's transport; connections over aiohttp when None.
    """
    async with contextlib.AsyncExitStack() as stack:
        make = transport or aiohttp_transports()
        transports: dict[str, httpx.AsyncBaseTransport] = {}
        for name in config.upstreams:
            transports[name] = make(name)
            stack.push_async_callback(transports[name].aclose)
        targets = {
            model: [_target(config, target, transports[target.upstream]) for target in of_model.all_targets]
            for model, of_model in config.models.items()
        }
        yield Upstreams(targets)


def _target(config: Config, target: TargetConfig, transport: httpx.AsyncBaseTransport) -> Target:
    upstream = config.upstreams[target.upstream]
    return Target(
        upstream=target.upstream,
        name=target.name,
        weight=target.weight,
        url=upstream.base_url,
        key=upstream.api_key.reveal(),
        timeouts=upstream.timeouts,
        transport=transport,
    )


def aiohttp_transports() -> TransportFactory:
    """Transports over aiohttp, one session for each upstream."""
    context = httpx.create_ssl_context()  # reads the certificates once for all upstreams

    def make(_upstream: str) -> httpx.AsyncBaseTransport:
        session = aiohttp.ClientSession(
            # No limit here: a queue inside the connector would be one that nobody can see or bound.
            connector=aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=_KEEPALIVE_S),
            # Else one client's Set-Cookie would travel with the next client's request.
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NOT_ADDED,
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return AiohttpTransport(session)

    return make
