"""The app: which URL goes where, what lives as long as it, and how errors are answered."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy import __version__
from proxy.config import Config
from proxy.embedding import Embedder, MiniLM
from proxy.embedding.pool import FAIL_OPEN_CAUSES
from proxy.endpoints.chat import ChatCompletions
from proxy.endpoints.models import GetModel, ListModels
from proxy.endpoints.operating import Health, PrometheusMetrics, Ready
from proxy.endpoints.route import ExplainRoute
from proxy.endpoints.running import Running
from proxy.errors import ProxyError, UnknownPath, WrongMethod
from proxy.relay.relay import OUTCOMES
from proxy.relay.upstreams import TransportFactory, open_upstreams
from proxy.routing.router import Router
from proxy.routing.topics import Topics, spoken
from proxy.shipped import shipped
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.record import Recorder

logger = logging.getLogger(__name__)

ModelLoader = Callable[[Config], MiniLM]


def load_minilm(config: Config) -> MiniLM:
    """The embedding model that comes with the package."""
    return MiniLM(shipped("models/all-MiniLM-L6-v2"), max_tokens=config.text.max_tokens)


def fit_topics(config: Config, model: MiniLM) -> Topics | None:
    """The topics of a routes.yaml, fitted on its examples; None when it has none."""
    if not config.topics:
        return None
    examples = {name: model.embed_all(topic.examples) for name, topic in config.topics.items()}
    names = model.embed_all(spoken(name) for name in config.topics)
    return Topics.fit(examples, names, {name: topic.threshold for name, topic in config.topics.items()})


def build_app(
    config: Config, *, transport: TransportFactory | None = None, load_model: ModelLoader = load_minilm
) -> ASGIApp:
    """
    An ASGI app for one routes.yaml; may be called as often as wanted in one process.

    Args:
        config: what routes.yaml says.
        transport: makes the transport of each upstream; connections over aiohttp when None.
        load_model: loads the embedding model.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:  # noqa: ARG001
        model = load_model(config)
        topics = fit_topics(config, model)
        router = Router(config)
        recorder = Recorder(Metrics())
        embedder = Embedder(
            model.embed,
            threads=config.embedding.threads,
            queue=config.embedding.queue,
            deadline_s=config.embedding.deadline,
            cache=config.embedding.cache,
            observer=recorder,
        )
        model.embed("warm up")  # the first run of a session allocates; no request should wait for that
        async with open_upstreams(config, transport) as upstreams:
            recorder.metrics.seed(
                version=__version__,
                config_sha256=fingerprint(config),
                decisions=router.decisions(),
                models=config.models,
                targets=[target.label for target in upstreams.all_targets()],
                topics=config.topics,
                outcomes=OUTCOMES,
                fail_open_causes=FAIL_OPEN_CAUSES,
            )
            try:
                yield {"running": Running(config, router, topics, embedder, upstreams, recorder)}
            finally:
                embedder.close()

    chat = ChatCompletions()
    starlette = Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/models", ListModels(), methods=["GET"]),
            Route("/v1/models/{name:path}", GetModel(), methods=["GET"]),
            Route("/v1/route", ExplainRoute(), methods=["POST"]),
            Route("/healthz", Health(), methods=["GET"]),
            Route("/readyz", Ready(), methods=["GET"]),
            Route("/metrics", PrometheusMetrics(), methods=["GET"]),
        ],
        lifespan=lifespan,
        exception_handlers={ProxyError: _answer, HTTPException: _answer_starlette, Exception: _answer_unforeseen},
    )
    starlette.router.redirect_slashes = False  # a client that redirects a POST may drop its body

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # The one path that is busy goes past Starlette's layers, a twentieth of the time of a request: its endpoint
        # answers every error itself.
        if scope["type"] == "http" and scope["path"] == "/v1/chat/completions" and scope["method"] == "POST":
            await chat(scope, receive, send)
        else:
            await starlette(scope, receive, send)

    return app


def fingerprint(config: Config) -> str:
    """A hash that is the same for the same meaning and tells nothing of a secret."""

    def plain(value: Any) -> Any:
        return str(value)

    return hashlib.sha256(msgspec.json.encode(config, enc_hook=plain, order="sorted")).hexdigest()


def _response(error: ProxyError) -> Response:
    response = Response(error.body(), error.status, media_type="application/json")
    for name, value in error.headers:
        response.headers[name.decode("ascii")] = value.decode("ascii")
    return response


async def _answer(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, ProxyError)
    return _response(error)


async def _answer_starlette(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "POST")
        return _response(
            WrongMethod(f"{request.method} is not allowed on {request.url.path}; use {allow}.", allow=allow)
        )
    return _response(UnknownPath(f"There is nothing at {request.method} {request.url.path}."))


async def _answer_unforeseen(request: Request, error: Exception) -> Response:  # noqa: ARG001
    # Starlette raises it again after the answer, and the server logs the traceback.
    return _response(ProxyError("Internal error; the operator finds it in the log."))


__all__ = ["build_app", "fingerprint", "fit_topics", "load_minilm"]
