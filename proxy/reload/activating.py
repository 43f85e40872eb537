"""From a prepared configuration to the one that requests begin with: what is opened for it, and closed with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial

from proxy import __version__
from proxy.config import PASSED_ROUTE, Config, ConfigError, Problem
from proxy.embedding import Embedder
from proxy.embedding.pool import FAIL_OPEN_CAUSES
from proxy.endpoints.afterwards import doing_afterwards
from proxy.endpoints.conversations import Conversations
from proxy.endpoints.current import Active, Current
from proxy.endpoints.running import Running
from proxy.endpoints.shadow import Shadows
from proxy.learning.corrector import Corrector, correcting
from proxy.learning.trouble import StoreRefused
from proxy.learning.writer import Writers
from proxy.relay.attempts import CAUSES
from proxy.relay.checking import Checks, checking, noticing
from proxy.relay.connecting import aiohttp_transports
from proxy.relay.reply import OUTCOMES
from proxy.relay.upstreams import Fleet, Upstreams, open_upstreams
from proxy.reload.prepare import Prepared
from proxy.routing.passthrough import Passthrough
from proxy.routing.policy import Policy, policy_version
from proxy.telemetry.metrics import UNROUTED, Metrics
from proxy.telemetry.recorder import Recorder
from proxy.telemetry.shadow_metrics import Chooser
from proxy.telemetry.trace import Tracer


class Activator:
    """Puts configurations to use, one after the other, and has what outlives each of them."""

    def __init__(self, *, embedder: Embedder, recorder: Recorder, tracer: Tracer) -> None:
        """
        Args:
            embedder: of requests' texts.
            recorder: counts, and logs.
            tracer: of requests.
        """
        self._embedder = embedder
        self._recorder = recorder
        self._tracer = tracer
        self._make_transport = aiohttp_transports()
        self._fleet = Fleet(tell=recorder.target_state)
        self._writers = Writers(recorder.metrics.registry)
        self._shadows = Shadows(recorder.metrics.registry)
        self._conversations = Conversations()  # their upstreams stay warm

    @asynccontextmanager
    async def activated(self, ready: Prepared) -> AsyncIterator[InUse]:
        """
        The configuration in use, at first this one, until the block ends.

        Raises:
            ConfigError: its store cannot be used by this program.
        """
        current = Current(await self.activate(ready))
        try:
            async with checking(ready.config, current.active.running.upstreams) as checks, noticing(self._fleet):
                yield InUse(self, current, checks, self._recorder.metrics)
        finally:
            await current.close()
            await self._writers.close()

    async def activate(self, ready: Prepared, before: Corrector | None = None) -> Active:
        """
        Open what a configuration needs.

        Args:
            ready: the configuration.
            before: what corrects the policy in use until now.

        Raises:
            ConfigError: its store cannot be used by this program.
        """
        metrics = self._recorder.metrics
        async with AsyncExitStack() as stack:
            upstreams = await stack.enter_async_context(open_upstreams(ready.config, self._make_transport, self._fleet))
            try:
                writer = await stack.enter_async_context(self._writers.of(ready.config.storing))
            except StoreRefused as error:  # which an operator can mend, like any mistake of the file
                message = str(error).removeprefix("store: ")
                raise ConfigError([Problem.of("store", message)]) from error
            _seed(metrics, ready, upstreams)
            if writer is not None:
                writer.metrics.seed(ready.router.possible.ways)
            store = None if writer is None else writer.store
            tell = partial(show_corrections, metrics, ready.config)
            corrector = await stack.enter_async_context(
                correcting(ready.config.corrections, ready.policy, store, tell, before)
            )
            # Opened after all that it needs, and so closed before them.
            afterwards = await stack.enter_async_context(doing_afterwards())
            running = Running(
                config=ready.config,
                router=ready.router,
                passthrough=Passthrough(ready.config),
                topics=ready.topics,
                complexity=ready.complexity,
                embedder=self._embedder,
                upstreams=upstreams,
                recorder=self._recorder,
                conversations=self._conversations,
                writer=writer,
                sha256=ready.sha256,
                afterwards=afterwards,
                policy=ready.policy,
                corrector=corrector,
                tracer=self._tracer,
            )
            running = self._with_shadow(running, ready)
            # What is shared with the configuration in use comes last, when nothing can refuse this one any more.
            self._fleet.adopt(ready.config)
            return Active(running, stack.pop_all().aclose)

    def _with_shadow(self, running: Running, ready: Prepared) -> Running:
        policies: dict[Chooser, Policy | None] = {"live": ready.policy}
        own: Running | None = None
        if (beside := ready.shadow) is not None:
            policies["shadow"] = beside.policy
            own = replace(
                running,
                config=beside.config,
                router=beside.router,
                topics=beside.topics,
                complexity=beside.complexity,
                policy=beside.policy,
                corrector=None,  # feedback on the live policy's decisions corrects no other one
            )
        return replace(running, shadow=self._shadows.of(own, ready.config, policies))


class InUse:
    """The configuration in use, and the way to another."""

    def __init__(self, activator: Activator, current: Current, checks: Checks, metrics: Metrics) -> None:
        self.current = current
        self._activator = activator
        self._checks = checks
        self._metrics = metrics

    async def swap(self, ready: Prepared) -> None:
        """
        Let new requests begin with this configuration.

        Raises:
            ConfigError: its store cannot be used by this program; all stays as it is.
        """
        old = self.current.active.running
        active = await self._activator.activate(ready, old.corrector)
        self.current.replace(active)
        # Those of the old one would judge the same targets, and its last requests may take long.
        await self._checks.start(ready.config, active.running.upstreams)
        if old.corrector is not None:
            await old.corrector.stop()  # likewise: two would show different things
        show_corrections(self._metrics, ready.config, active.running.corrector)
        if old.sha256 != ready.sha256:
            self._metrics.forget_config(old.sha256)
        if old.policy_version != policy_version(ready.policy):
            self._metrics.forget_policy(old.policy_version)


def show_corrections(metrics: Metrics, config: Config, corrector: Corrector | None) -> None:
    """Of the models that routes.yaml has; a policy may know more."""
    if corrector is None:
        metrics.show_corrections((), ())
        return
    known = corrector.policy.models
    places = [place for place, name in enumerate(known) if name in config.models]
    added = corrector.corrections.added[:, places].tolist()
    metrics.show_corrections([known[place] for place in places], added)


def _seed(metrics: Metrics, ready: Prepared, upstreams: Upstreams) -> None:
    metrics.seed(
        version=__version__,
        config_sha256=ready.sha256,
        policy_version=policy_version(ready.policy),
        decisions=ready.router.possible.decisions,
        arms=ready.router.possible.arms,
        passed=[(PASSED_ROUTE, model) for model in (UNROUTED, *ready.config.models) if ready.config.passthrough],
        models=ready.config.models,
        targets=[(model, target.label) for model in ready.config.models for target in upstreams.targets(model)],
        topics=ready.config.topics,
        fallbacks=ready.router.possible.fallbacks,
        fallback_causes=CAUSES,
        outcomes=OUTCOMES,
        fail_open_causes=FAIL_OPEN_CAUSES,
    )
