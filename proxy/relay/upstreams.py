"""Where requests go: one transport for each upstream, and everything that is constant about a target."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from urllib.parse import quote

import httpx

from proxy.config import Config, Timeouts, Upstream, WireProtocol
from proxy.config import Target as TargetConfig
from proxy.errors import UnknownPath
from proxy.relay.connecting import TransportFactory
from proxy.relay.guests import Guests
from proxy.relay.headers import OwnHeaders
from proxy.relay.health import Health, State
from proxy.relay.keys import Key, Keys, Rest
from proxy.relay.query import OwnQuery, carries_key
from proxy.relay.retry_budget import RetryBudget
from proxy.telemetry.attributes import of_target

_URLS_KEPT = 16
_PORTS = {"http": 80, "https": 443}


class Target:
    """One upstream and the name that it knows the model by, with all that a request to it needs."""

    def __init__(
        self, *, upstream: str, name: str, weight: float, url: str, query: Mapping[str, str] | None = None, keys: Keys,
        is_asked_for_usage: bool = False, timeouts: Timeouts, transport: httpx.AsyncBaseTransport, health: Health,
        load: Load, protocol: WireProtocol = "openai",
    ) -> None:  # fmt: skip
        """
        Args:
            upstream: its name.
            name: of the model there.
            weight: its share, against the other targets' of the model.
            url: where its paths begin, without a slash at the end.
            query: of every URL, besides what the client's request has.
            keys: what it gets in place of the client's headers, with one of its keys.
            is_asked_for_usage: whether streams are asked for their usage where the client did not.
            timeouts: how long it may take.
            transport: the way there.
            health: what is known of it.
            load: what its upstream has to do.
            protocol: that it speaks.
        """
        self.label = f"{upstream}/{name}"
        """How metrics, the log and the header `x-pointsman-target` call it."""
        self.header_label = quote(self.label, safe="/:@._-+ ").encode("ascii")
        """The same where only ASCII may stand."""
        self.upstream = upstream
        self.name = name
        self.weight = weight
        self.timeouts = timeouts
        self.transport = transport
        self.health = health
        self._upstream_load = load
        self.keys = keys
        self.has_own_key = keys.has_credentials
        self.is_asked_for_usage = is_asked_for_usage
        self._url = url
        self.query = OwnQuery(query or {}, has_credentials=self.has_own_key)
        self._urls: dict[str, httpx.URL] = {}
        base = httpx.URL(url)
        self.attributes = of_target(
            label=self.label,
            model=name,
            provider=protocol,
            address=base.host,
            port=base.port or _PORTS.get(base.scheme),
        )
        """Of the spans of its attempts."""

    @property
    def is_full(self) -> bool:
        """Whether its upstream has all the requests that it may have."""
        return self._upstream_load.is_full

    def url(self, path: str, query: bytes = b"") -> httpx.URL:
        """
        Where a request goes.

        Args:
            path: below the base URL, percent-encoded.
            query: as the client sent it; the operator's is added, and goes before it.

        Raises:
            UnknownPath: the two make no URL.
        """
        found = None if query else self._urls.get(path)
        if found is None:
            told = self.query.beside(query.decode("latin-1"))
            try:
                found = httpx.URL(f"{self._url}{path}?{told}" if told else f"{self._url}{path}")
            except httpx.InvalidURL as error:
                raise UnknownPath(f"No upstream can be asked for this URL: {error}.") from None
            if not query and len(self._urls) < _URLS_KEPT:  # those that are routed come again and again
                self._urls[path] = found
        return found

    def begin(self, *, is_of_a_model: bool = True) -> bool:
        """A request goes there; whether it is the one that is let through to see; arguments as of `Health.began`."""
        self._upstream_load.in_flight += 1
        return self.health.began(is_of_a_model=is_of_a_model)

    def end(self, *, is_probe: bool) -> None:
        """It is over, however; `is_probe` as `begin` said."""
        self._upstream_load.in_flight -= 1
        self.health.ended(is_probe=is_probe)

    def __repr__(self) -> str:
        return f"Target({self.label!r})"


class Load:
    """What one upstream has to do, at all of its models together."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.most: int | None = None
        """Requests that it may have under way; None for any number."""

    @property
    def is_full(self) -> bool:
        """Whether it has so many."""
        return self.most is not None and self.in_flight >= self.most


class Fleet:
    """
    What is known of upstreams and targets. Lives as long as the process, across reloads, and in it alone.

    It belongs to the address at which it was learned: another one is another server, of which nothing is known.
    """

    def __init__(
        self,
        *,
        tell: Callable[[str, State], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        random_source: random.Random | None = None,
    ) -> None:
        """
        Args:
            tell: is told the label of a target and its state when that changes.
            clock: seconds from any beginning.
            random_source: spreads requests and the ends of rests; a seeded one makes a test repeatable.
        """
        self._tell = tell or _tell_nobody
        self.clock = clock
        self.random = random_source or random.Random()  # noqa: S311 - balance, not secrecy
        self.budget = RetryBudget(clock)
        self._healths: dict[tuple[str, bytes], Health] = {}
        self._in_use: dict[str, Health] = {}
        self._loads: dict[tuple[str, bytes], Load] = {}
        self._rests: dict[tuple[str, bytes], Rest] = {}
        self._keys: dict[str, tuple[bytes, ...]] = {}
        self._salt = os.urandom(32)
        self.guests = Guests(clock, self.hash)

    def address(self, upstream: Upstream) -> bytes:
        """What tells the server that is asked from another, in this process."""
        way = upstream.base_url, str(upstream.socket or ""), upstream.proxy.reveal()
        return self.hash("\0".join(way).encode())

    def load(self, upstream: str, address: bytes) -> Load:
        """What the upstream of this name has to do there."""
        return self._loads.setdefault((upstream, address), Load())

    def health(self, label: str, address: bytes) -> Health:
        """How the target of this label does there."""
        found = self._healths.get((label, address))
        if found is None:
            found = Health(label, clock=self.clock, random_source=self.random, tell=self._tell)
            self._healths[label, address] = found
        return found

    def notice(self) -> None:
        """Tell of the targets whose rest is over."""
        for health in self._in_use.values():
            health.notice()

    def rest(self, where: str, address: bytes, key: str) -> Rest:
        """How long a key is left alone, at an upstream or at one target there."""
        return self._rests.setdefault((where, self.hash(address + key.encode())), Rest())

    def adopt(self, config: Config) -> None:
        """This configuration is in use from now on: its limits hold, and rests of keys that are gone are over."""
        self.budget.share, self.budget.free = config.retry.share, config.retry.free
        for name, upstream in config.upstreams.items():
            self.load(name, self.address(upstream)).most = upstream.max_in_flight
        for model in config.models.values():
            for target in model.all_targets:
                upstream = config.upstreams[target.upstream]
                secrets = (*upstream.all_keys, *upstream.headers.values(), *upstream.query.values())
                self._is_at(_label(target), self.address(upstream))
                self._keys_are(_label(target), [text for secret in secrets if (text := secret.reveal())])

    def _is_at(self, label: str, address: bytes) -> None:
        """A target is there from now on; if it was elsewhere, requests under way there tell nothing of it any more."""
        health, before = self.health(label, address), self._in_use.get(label)
        self._in_use[label] = health
        if before is not None and before is not health:
            before.is_in_use, health.is_in_use = False, True
            self.guests.forget(label)
            self._tell(label, health.state)

    def _keys_are(self, label: str, keys: Sequence[str]) -> None:
        """A target is asked with these keys from now on; if it had others, a rest that was due to those is over."""
        hashes = tuple(self.hash(key.encode()) for key in keys)
        if self._keys.setdefault(label, hashes) != hashes:
            self._keys[label] = hashes
            self._in_use[label].has_a_key()

    def hash(self, key: bytes) -> bytes:
        """What a key is known by, in this process."""
        # What lives as long as the process should not hold keys that have been taken out of use.
        return hashlib.blake2b(key, key=self._salt, digest_size=16).digest()


def _tell_nobody(_label: str, _state: State) -> None:
    pass


class Upstreams:
    """The targets of each model, over connections that are opened once and kept."""

    def __init__(self, targets: Mapping[str, Sequence[Target]], fleet: Fleet, *, attempts: int = 3) -> None:
        """
        Args:
            targets: by model name, at least one each.
            fleet: what is known of them.
            attempts: how often a request is tried.
        """
        self.attempts = attempts
        self._targets = {model: tuple(of_model) for model, of_model in targets.items()}
        self._by_label: dict[str | None, Target] = {}
        for target in chain.from_iterable(self._targets.values()):
            self._by_label.setdefault(target.label, target)
        self.random = fleet.random
        self.budget = fleet.budget
        self.guests = fleet.guests

    def all_targets(self) -> list[Target]:
        """Every target once, as its first model has it."""
        return list(self._by_label.values())

    def key_is_well(self, upstream: str) -> None:
        """A key of this upstream rests no more, so neither do its targets that waited for one."""
        for target in self._by_label.values():
            if target.upstream == upstream and not target.keys.rest_s:
                target.health.has_a_key()

    def named(self, label: str | None) -> Target | None:
        """The target of this label, as its first model has it; None where there is none."""
        return self._by_label.get(label)

    def model_of(self, target: Target) -> str:
        """The model that has the target so: with its weight and its timeouts."""
        return next(model for model, of_model in self._targets.items() if target in of_model)

    def beside(self, target: Target, model: str) -> Target | None:
        """The model's target at the same upstream, that of this label if it is one; None where it has none there."""
        there = [one for one in self._targets[model] if one.upstream == target.upstream]
        return next((one for one in there if one.label == target.label), there[0] if there else None)

    def targets(self, model: str) -> tuple[Target, ...]:
        """The targets of this model, in the order of routes.yaml."""
        return self._targets[model]

    def latencies_s(self) -> dict[str, float]:
        """By model, the seconds to the first content at the quicker of its targets; only where that is known."""
        found = {}
        for model, targets in self._targets.items():
            known = [seconds for target in targets if (seconds := target.health.latency_s) is not None]
            if known:
                found[model] = min(known)
        return found


@asynccontextmanager
async def open_upstreams(config: Config, transport: TransportFactory, fleet: Fleet) -> AsyncIterator[Upstreams]:
    """
    Targets with transports that are closed on the way out.

    Args:
        config: what routes.yaml says.
        transport: makes each upstream's transport.
        fleet: what is known of targets. It goes on as it was until it adopts the config, which may yet be refused.
    """
    async with contextlib.AsyncExitStack() as stack:
        transports: dict[str, httpx.AsyncBaseTransport] = {}
        for name, upstream in config.upstreams.items():
            transports[name] = transport(upstream)
            stack.push_async_callback(transports[name].aclose)
        targets = {
            model: [
                _target(config, model, target, transports[target.upstream], fleet) for target in of_model.all_targets
            ]
            for model, of_model in config.models.items()
        }
        yield Upstreams(targets, fleet, attempts=config.retry.attempts)


def _target(
    config: Config, model: str, target: TargetConfig, transport: httpx.AsyncBaseTransport, fleet: Fleet
) -> Target:
    upstream = config.upstreams[target.upstream]
    label, address = _label(target), fleet.address(upstream)
    written = [key.reveal() for key in upstream.all_keys]
    used = [(position, key) for position, key in enumerate(written, 1) if key] or [(1, "")]
    keys = [
        Key(
            position,
            fleet.hash(key.encode()),
            _own_headers(upstream, key),
            everywhere=fleet.rest(target.upstream, address, key),
            here=fleet.rest(label, address, key),
        )
        for position, key in used
    ]
    return Target(
        upstream=target.upstream,
        name=target.name,
        weight=target.weight,
        url=upstream.base_url,
        query={name: text for name, value in upstream.query.items() if (text := value.reveal())},
        keys=Keys(keys, written=len(written), label=label, clock=fleet.clock),
        is_asked_for_usage=upstream.usage == "inject",
        timeouts=config.models[model].timeouts.over(upstream.timeouts),
        transport=transport,
        health=fleet.health(label, address),
        load=fleet.load(target.upstream, address),
        protocol=upstream.protocol,
    )


def _label(target: TargetConfig) -> str:
    return f"{target.upstream}/{target.name}"


def _own_headers(upstream: Upstream, key: str) -> OwnHeaders:
    """What an upstream gets in place of the client's headers, with this key; an empty one is none."""
    given = {name.encode("ascii"): value.reveal().encode("utf-8") for name, value in upstream.headers.items() if value}
    if key:
        secret = key.encode("utf-8")
        given |= {b"x-api-key": secret} if upstream.protocol == "anthropic" else {b"authorization": b"Bearer " + secret}
    in_query = carries_key(name for name, value in upstream.query.items() if value)
    return OwnHeaders(given.items(), has_key_elsewhere=in_query)
