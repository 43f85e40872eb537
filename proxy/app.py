"""The app: which URL goes where, the start and the end, and how errors are answered."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
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
from proxy.config import Config, ConfigError, load_shadow
from proxy.embedding import Embedder, MiniLM
from proxy.embedding.shipped_model import minilm
from proxy.endpoints.current import Active
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
from proxy.endpoints.targets import ListTargets
from proxy.endpoints.ui import Page
from proxy.errors import ProxyError, UnknownPath, WrongMethod
from proxy.reload.activating import Activator
from proxy.reload.loading import LoadingLog, load, loaders
from proxy.reload.policies import policy_of
from proxy.reload.prepare import TestsFailed
from proxy.reload.reloader import Reloader
from proxy.reload.shadowing import shadowing_of
from proxy.reload.source import ConfigSource
from proxy.reload.watching import watching
from proxy.routing.apis import APIS, protocol_of
from proxy.routing.passthrough import is_ours
from proxy.telemetry.metrics import Metrics, ReloadMetrics
from proxy.telemetry.recorder import Recorder
from proxy.telemetry.tracing import tracing

POLL_S = 1.0

ModelLoader = Callable[[Config], MiniLM]


def load_minilm(config: Config) -> MiniLM:
    """The embedding model that comes with the package, for this file's texts."""
    return minilm(config.text.max_tokens)


def build_app(
    config: Config,
    *,
    load_model: ModelLoader = load_minilm,
    source: ConfigSource | None = None,
    poll_s: float = POLL_S,
    cache_dir: Path | None = None,
) -> ASGIApp:
    """
    An ASGI app for one routes.yaml; may be called as often as wanted in one process.

    Args:
        config: what routes.yaml says.
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
                state = await stack.enter_async_context(_started(config, load_model, source, poll_s, cache_dir))
            except (ConfigError, TestsFailed) as error:
                refused.append(error)
                raise
            yield state

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
            Route("/route", OneCall(admission), methods=["POST"]),
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
        if path.startswith("/v1/") and method in METHODS and not is_ours(method, path[4:]):
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


@asynccontextmanager
async def _started(
    config: Config,
    load_model: ModelLoader,
    source: ConfigSource | None,
    poll_s: float,
    cache_dir: Path | None,
) -> AsyncIterator[dict[str, Any]]:
    """The state that requests find, until the block ends; arguments as of `build_app`."""
    model = load_model(config)
    bulk, fitter = loaders(model, cache_dir, LoadingLog())
    routes = load_shadow(config, os.environ) if source is None else source.shadow
    policy, shadow = policy_of(config, model.name), shadowing_of(config, routes, model.name)
    prepared = load(config, model.embed, bulk, fitter, policy, shadow)
    recorder = Recorder(Metrics())
    registry = recorder.metrics.registry
    model.embed("warm up")  # the first run of a session allocates; no request should wait for that
    async with AsyncExitStack() as stack:
        embedder = stack.enter_context(
            closing(
                Embedder(
                    model.embed,
                    threads=config.embedding.threads,
                    queue=config.embedding.queue,
                    deadline_s=config.embedding.deadline,
                    cache=config.embedding.cache,
                    observer=recorder,
                )
            )
        )
        tracer = await stack.enter_async_context(tracing(os.environ, registry, version=__version__))
        activator = Activator(embedder=embedder, recorder=recorder, tracer=tracer)
        in_use = await stack.enter_async_context(activator.activated(prepared))
        reloader: Reloader | None = None
        if source is not None:
            reloader = Reloader(
                source, prepared, embed=model.embed, bulk=bulk, fitter=fitter,
                policy_of=lambda written, used: policy_of(written, model.name, used),
                shadow_of=lambda written: shadowing_of(written, source.shadow, model.name),
                swap=in_use.swap, metrics=ReloadMetrics(registry), poll_s=poll_s,
            )  # fmt: skip
            await stack.enter_async_context(watching(reloader))
        yield {"current": in_use.current, "reloads": reloader, "readiness": Readiness()}


async def _send_in_words(
    send: Send, state: dict[str, Any], refused: Sequence[ConfigError | TestsFailed], message: Message
) -> None:
    """Say in words what an operator can mend, where Starlette would send a stack trace; the server reads the state."""
    if refused and message["type"] == "lifespan.startup.failed":
        state["refused"] = str(refused[-1])
        message = {**message, "message": state["refused"]}
    await send(message)


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
    told = f"There is nothing at {request.method} {request.url.path}."
    if not request.url.path.startswith("/v1/"):
        told += " OpenAI's API is below /v1, with which a client's base_url ends; Anthropic's SDK adds it by itself."
    return _response(request, UnknownPath(told))


async def _answer_unforeseen(request: Request, error: Exception) -> Response:  # noqa: ARG001
    # Starlette raises it again after the answer, and the server logs the traceback.
    return _response(request, ProxyError("Internal error; the operator finds it in the log."))
