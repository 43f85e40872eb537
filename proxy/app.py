"""The app: which URL goes where, what lives as long as it, and how errors are answered."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy import __version__
from proxy.config import Config, ConfigError, Problem, load_shadow
from proxy.embedding import Embedder, MiniLM, name_of
from proxy.embedding.pool import FAIL_OPEN_CAUSES
from proxy.endpoints.afterwards import doing_afterwards
from proxy.endpoints.conversations import Conversations
from proxy.endpoints.current import Active, Current
from proxy.endpoints.exchange import Admission
from proxy.endpoints.feedback import Feedback
from proxy.endpoints.live import WatchLive
from proxy.endpoints.map import ShowMap
from proxy.endpoints.models import GetModel, ListModels
from proxy.endpoints.one_call import OneCall
from proxy.endpoints.operating import Health, PrometheusMetrics
from proxy.endpoints.passthrough import METHODS, PassThrough
from proxy.endpoints.policy import ShowPolicy
from proxy.endpoints.ready import Readiness, Ready
from proxy.endpoints.route import ExplainRoute
from proxy.endpoints.routed import Routed
from proxy.endpoints.running import Running
from proxy.endpoints.shadow import Shadows
from proxy.endpoints.targets import ListTargets
from proxy.endpoints.ui import Page
from proxy.errors import ProxyError, UnknownPath, WrongMethod
from proxy.learning.corrector import Corrector, correcting
from proxy.learning.trouble import StoreRefused
from proxy.learning.writer import Writers
from proxy.relay.attempts import CAUSES
from proxy.relay.checking import checking, noticing
from proxy.relay.connecting import TransportFactory, aiohttp_transports
from proxy.relay.reply import OUTCOMES
from proxy.relay.upstreams import Fleet, Upstreams, open_upstreams
from proxy.reload.loading import LoadingLog, load, loaders
from proxy.reload.policies import policy_of
from proxy.reload.prepare import Prepared, TestsFailed, fingerprint
from proxy.reload.reloader import Reloader
from proxy.reload.shadowing import shadowing_of
from proxy.reload.source import ConfigSource
from proxy.reload.watching import watching
from proxy.routing.apis import APIS, protocol_of
from proxy.routing.decision import PASSED_ROUTE
from proxy.routing.passthrough import Passthrough, is_ours
from proxy.routing.policy import Policy, policy_version
from proxy.shipped import shipped
from proxy.telemetry.metrics import UNROUTED, Metrics, ReloadMetrics
from proxy.telemetry.record import Recorder
from proxy.telemetry.shadow_metrics import Chooser
from proxy.telemetry.tracing import tracing

POLL_S = 1.0

ModelLoader = Callable[[Config], MiniLM]


_MODEL = "models/all-MiniLM-L6-v2"


def load_minilm(config: Config) -> MiniLM:
    """The embedding model that comes with the package."""
    return minilm(config.text.max_tokens)


def minilm(max_tokens: int) -> MiniLM:
    """The same, for texts of so many tokens."""
    return MiniLM(shipped(_MODEL), max_tokens=max_tokens)


def embedder_name(config: Config) -> str:
    """What the vectors of `load_minilm` are called."""
    return minilm_name(config.text.max_tokens)


def minilm_name(max_tokens: int) -> str:
    """The same, for texts of so many tokens."""
    return name_of(shipped(_MODEL), max_tokens)


def build_app(
    config: Config,
    *,
    transport: TransportFactory | None = None,
    load_model: ModelLoader = load_minilm,
    source: ConfigSource | None = None,
    poll_s: float = POLL_S,
    cache_dir: Path | None = None,
) -> ASGIApp:
    """
    An ASGI app for one routes.yaml; may be called as often as wanted in one process.

    Args:
        config: what routes.yaml says.
        transport: makes the transport of each upstream; connections over aiohttp when None.
        load_model: loads the embedding model.
        source: the file that `config` was loaded from, to be watched; None when it never changes.
        poll_s: seconds between two looks at that file.
        cache_dir: a folder that keeps what is made of examples for the next start; None keeps nothing.
    """

    refused: list[ConfigError | TestsFailed] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:  # noqa: ARG001
        async with AsyncExitStack() as stack:
            try:
                state = await stack.enter_async_context(started())
            except (ConfigError, TestsFailed) as error:
                refused.append(error)
                raise
            yield state

    @asynccontextmanager
    async def started() -> AsyncIterator[dict[str, Any]]:
        model = load_model(config)
        bulk, fitter = loaders(model, cache_dir, LoadingLog())
        routes = load_shadow(config, os.environ) if source is None else source.shadow
        policy, shadow = policy_of(config, model.name), shadowing_of(config, routes, model.name)
        prepared = load(config, model.embed, bulk, fitter, policy, shadow)
        recorder = Recorder(Metrics())
        fleet = Fleet(tell=recorder.target_state)
        writers = Writers(recorder.metrics.registry)
        shadows = Shadows(recorder.metrics.registry)
        conversations = Conversations()  # outlives every configuration: their upstreams stay warm
        embedder = Embedder(
            model.embed,
            threads=config.embedding.threads,
            queue=config.embedding.queue,
            deadline_s=config.embedding.deadline,
            cache=config.embedding.cache,
            observer=recorder,
        )
        model.embed("warm up")  # the first run of a session allocates; no request should wait for that
        make_transport = transport or aiohttp_transports()

        def show_corrections(shown: Config, corrector: Corrector | None) -> None:
            if corrector is None:
                recorder.metrics.show_corrections((), ())
                return
            known = corrector.policy.models  # which may be more than routes.yaml has
            places = [place for place, name in enumerate(known) if name in shown.models]
            added = corrector.corrections.added[:, places].tolist()
            recorder.metrics.show_corrections([known[place] for place in places], added)

        async def activate(ready: Prepared, before: Corrector | None = None) -> Active:
            async with AsyncExitStack() as stack:
                upstreams = await stack.enter_async_context(open_upstreams(ready.config, make_transport, fleet))
                try:
                    writer = await stack.enter_async_context(writers.of(ready.config.storing))
                except StoreRefused as error:  # which an operator can mend, like any mistake of the file
                    message = str(error).removeprefix("store: ")
                    raise ConfigError([Problem("store", 0, 0, "", message)]) from error
                _seed(recorder.metrics, ready, upstreams)
                if writer is not None:
                    writer.metrics.seed(ready.router.ways)
                store = None if writer is None else writer.store
                tell = partial(show_corrections, ready.config)
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
                    embedder=embedder,
                    upstreams=upstreams,
                    recorder=recorder,
                    conversations=conversations,
                    writer=writer,
                    sha256=ready.sha256,
                    afterwards=afterwards,
                    policy=ready.policy,
                    corrector=corrector,
                    tracer=tracer,
                )
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
                running = replace(running, shadow=shadows.of(own, ready.config, policies))
                # What is shared with the configuration in use comes last, when nothing can refuse this one any more.
                fleet.adopt(ready.config)
                return Active(running, stack.pop_all().aclose)

        async def swap(ready: Prepared) -> None:
            old = current.active.running
            active = await activate(ready, old.corrector)
            current.replace(active)
            # Those of the old one would judge the same targets, and its last requests may take long.
            await checks.start(ready.config, active.running.upstreams)
            if old.corrector is not None:
                await old.corrector.stop()  # likewise: two would show different things
            show_corrections(ready.config, active.running.corrector)
            if old.sha256 != ready.sha256:
                recorder.metrics.forget_config(old.sha256)
            if old.policy_version != policy_version(ready.policy):
                recorder.metrics.forget_policy(old.policy_version)

        async with tracing(os.environ, recorder.metrics.registry, version=__version__) as tracer:
            current = Current(await activate(prepared))
            try:
                async with AsyncExitStack() as stack:
                    upstreams = current.active.running.upstreams
                    checks = await stack.enter_async_context(checking(prepared.config, upstreams))
                    await stack.enter_async_context(noticing(fleet))
                    reloader: Reloader | None = None
                    if source is not None:
                        reloads = ReloadMetrics(recorder.metrics.registry)
                        reloader = Reloader(
                            source, prepared, embed=model.embed, bulk=bulk, fitter=fitter,
                            policy_of=lambda written, used: policy_of(written, model.name, used),
                            shadow_of=lambda written: shadowing_of(written, source.shadow, model.name),
                            swap=swap, metrics=reloads, poll_s=poll_s,
                        )  # fmt: skip
                        await stack.enter_async_context(watching(reloader))
                    yield {"current": current, "reloads": reloader, "readiness": Readiness()}
            finally:
                await current.close()
                await writers.close()
                embedder.close()

    admission = Admission()
    routed = {f"/v1{api.path}": Routed(api, admission) for api in APIS}
    passed = PassThrough(admission)
    starlette = Starlette(
        routes=[
            Route("/v1/models", ListModels(), methods=["GET"]),
            Route("/v1/models/{name:path}", GetModel(), methods=["GET"]),
            Route("/v1/targets", ListTargets(), methods=["GET"]),
            Route("/v1/policy", ShowPolicy(), methods=["GET"]),
            Route("/v1/route", ExplainRoute(), methods=["POST"]),
            Route("/v1/feedback", Feedback(), methods=["POST"]),
            Route("/v1/map", ShowMap(), methods=["GET"]),
            Route("/v1/live", WatchLive(), methods=["GET"]),
            Route("/ui", Page(), methods=["GET"]),
            Route("/ui/{name:path}", Page(), methods=["GET"]),
            Route("/route", OneCall(routed["/v1/chat/completions"]), methods=["POST"]),
            Route("/healthz", Health(), methods=["GET"]),
            Route("/readyz", Ready(), methods=["GET"]),
            Route("/metrics", PrometheusMetrics(), methods=["GET"]),
        ],
        lifespan=lifespan,
        exception_handlers={ProxyError: _answer, HTTPException: _answer_starlette, Exception: _answer_unforeseen},
    )
    starlette.router.redirect_slashes = False  # a client that redirects a POST may drop its body

    def endpoint(method: str, path: str) -> ASGIApp:
        # The paths that are busy go past Starlette's layers, a twentieth of the time of a request: their endpoints
        # answer every error themselves.
        if method == "POST" and (found := routed.get(path)) is not None:
            return found
        if path.startswith("/v1/") and method in METHODS and not is_ours(path[4:]):
            return passed
        return starlette

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await starlette(scope, receive, partial(_send_in_words, send, scope["state"], refused))
            return
        active: Active = scope["state"]["current"].active  # read once: a request ends on the config it began with
        scope["state"]["running"] = active.enter()
        try:
            await endpoint(scope["method"], scope["path"])(scope, receive, send)
        finally:
            active.leave()

    return app


async def _send_in_words(
    send: Send, state: dict[str, Any], refused: Sequence[ConfigError | TestsFailed], message: Message
) -> None:
    """What an operator can mend is told as such, the server by the state: Starlette has a stack trace of it."""
    if refused and message["type"] == "lifespan.startup.failed":
        state["refused"] = str(refused[-1])
        message = {**message, "message": state["refused"]}
    await send(message)


def _seed(metrics: Metrics, ready: Prepared, upstreams: Upstreams) -> None:
    metrics.seed(
        version=__version__,
        config_sha256=ready.sha256,
        policy_version=policy_version(ready.policy),
        decisions=ready.router.decisions(),
        arms=ready.router.arms,
        passed=[(PASSED_ROUTE, model) for model in (UNROUTED, *ready.config.models) if ready.config.passthrough],
        models=ready.config.models,
        targets=[(model, target.label) for model in ready.config.models for target in upstreams.targets(model)],
        topics=ready.config.topics,
        fallbacks=ready.router.all_fallbacks(),
        fallback_causes=CAUSES,
        outcomes=OUTCOMES,
        fail_open_causes=FAIL_OPEN_CAUSES,
    )


def _response(request: Request, error: ProxyError) -> Response:
    body = error.anthropic_body() if protocol_of(request.headers) == "anthropic" else error.body()
    response = Response(body, error.status, media_type="application/json")
    for name, value in error.headers:
        response.headers[name.decode("ascii")] = value.decode("ascii")
    return response


async def _answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProxyError)
    return _response(request, error)


async def _answer_starlette(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "POST")
        told = f"{request.method} is not allowed on {request.url.path}; use {allow}."
        return _response(request, WrongMethod(told, allow=allow))
    return _response(request, UnknownPath(f"There is nothing at {request.method} {request.url.path}."))


async def _answer_unforeseen(request: Request, error: Exception) -> Response:  # noqa: ARG001
    # Starlette raises it again after the answer, and the server logs the traceback.
    return _response(request, ProxyError("Internal error; the operator finds it in the log."))


__all__ = ["ConfigSource", "ModelLoader", "build_app", "embedder_name", "fingerprint", "load_minilm", "minilm"]
