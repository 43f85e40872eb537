"""Bad days, as OpenAI's Python SDK meets them through Pointsman: its own exceptions, and nothing left running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from proxy.simulator import Knobs, Log, Simulator
from tests.clients.calls import ask, messages, simulate
from tests.clients.conftest import pointsman
from tests.serving import serving

CLASSES = [
    (400, openai.BadRequestError),
    (401, openai.AuthenticationError),
    (403, openai.PermissionDeniedError),
    (404, openai.NotFoundError),
    (409, openai.ConflictError),
    (422, openai.UnprocessableEntityError),
    (429, openai.RateLimitError),
    (500, openai.InternalServerError),
    (502, openai.InternalServerError),
    (503, openai.InternalServerError),
]


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("status", "kind"), CLASSES)
def test_each_status_of_an_upstream_raises_its_class(
    client: OpenAI, log: Log, status: int, kind: type[openai.APIStatusError], is_stream: bool
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, stream=is_stream, extra_headers=simulate(status=status))
    assert type(caught.value) is kind
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)
    assert (caught.value.request_id or "").startswith("req_")
    assert caught.value.response.headers["x-pointsman-route"] == "code"
    assert len(log) == 1


def test_each_status_raises_its_class_asynchronously(base_url: str) -> None:
    async def fail(client: AsyncOpenAI, status: int) -> type[Exception]:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(
                model="auto", messages=messages(), extra_headers=simulate(status=status)
            )
        return type(caught.value)

    async def talk() -> list[type[Exception]]:
        async with AsyncOpenAI(base_url=base_url, api_key="sk-test", max_retries=0) as client:
            return [await fail(client, status) for status, _ in CLASSES]

    assert asyncio.run(talk()) == [kind for _, kind in CLASSES]


@pytest.mark.parametrize(
    ("call", "kind", "code"),
    [
        pytest.param(
            lambda client: ask(client, model="unknown"), openai.NotFoundError, "model_not_found", id="unknown-model"
        ),
        pytest.param(
            lambda client: client.models.retrieve("unknown"),
            openai.NotFoundError,
            "model_not_found",
            id="unknown-model-looked-up",
        ),
        pytest.param(
            lambda client: client.post("/chat/completions", body={"model": "auto"}, cast_to=object),
            openai.BadRequestError,
            "missing_required_parameter",
            id="no-messages",
        ),
        pytest.param(
            lambda client: client.post("/files%00", cast_to=object),
            openai.NotFoundError,
            "unknown_url",
            id="path-that-is-not-served",
        ),
    ],
)
def test_pointsmans_own_errors_raise_theirs(
    insistent_url: str, log: Log, call: Callable[[OpenAI], Any], kind: type[openai.APIStatusError], code: str
) -> None:
    with OpenAI(base_url=insistent_url, api_key="sk-test", max_retries=0) as client, pytest.raises(kind) as caught:
        call(client)
    assert caught.value.code == code
    assert len(log) == 0


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_the_sdks_own_retry_works(base_url: str, simulator: Simulator, log: Log, status: int) -> None:
    simulator.script(Knobs(status=status, retry_after="0.01"))
    with OpenAI(base_url=base_url, api_key="sk-test", max_retries=1) as client:
        assert ask(client).choices[0].finish_reason == "stop"
    assert [entry.status for entry in log.entries()] == [status, 200]
    assert [entry.header("x-stainless-retry-count") for entry in log.entries()] == ["0", "1"]


def test_a_retry_that_fails_too_raises(base_url: str, log: Log) -> None:
    with OpenAI(base_url=base_url, api_key="sk-test", max_retries=1) as client, pytest.raises(openai.RateLimitError):
        ask(client, extra_headers=simulate(status=429, retry_after=0.01))
    assert len(log) == 2


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_a_client_that_gives_up_raises_and_frees_the_upstream(client: OpenAI, log: Log, is_stream: bool) -> None:
    with pytest.raises(openai.APITimeoutError):
        ask(client, stream=is_stream, timeout=0.2, extra_headers=simulate(stall_headers=1))
    log.wait_for(lambda entry: entry.disconnected_at is not None)


def test_a_client_that_gives_up_amid_a_stream_frees_the_upstream(client: OpenAI, log: Log) -> None:
    seen = 0
    with pytest.raises(openai.APITimeoutError):
        for _ in ask(client, stream=True, timeout=0.2, extra_headers=simulate(stall=3)):
            seen += 1
    assert seen == 3
    log.wait_for(lambda entry: entry.disconnected_at is not None)


@pytest.mark.parametrize("pieces", [{}, {"chunk_bytes": 7}], ids=["event-by-event", "in-small-pieces"])
@pytest.mark.parametrize("events", [2, 3])
def test_a_cut_stream_raises_after_its_last_whole_event(client: OpenAI, events: int, pieces: dict[str, int]) -> None:
    whole = [chunk.choices for chunk in ask(client, stream=True)]
    seen = []
    with pytest.raises(openai.APIError, match="broke off") as caught:
        for chunk in ask(client, stream=True, extra_headers=simulate(cut=events, **pieces)):
            seen.append(chunk.choices)  # noqa: PERF401  # a comprehension would lose those before the error
    assert type(caught.value) is openai.APIError  # neither a parser's complaint nor a lost connection
    assert caught.value.code == "upstream_cut"
    assert seen == whole[:events]


async def torn(scope: Any, receive: Any, send: Any) -> None:
    """An upstream that breaks off inside its second event; the simulator cuts only between two."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    choice = b'{"index":0,"delta":{"content":"Hi"},"finish_reason":null}'
    event = b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[' + choice + b"]}\n\n"
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": event + event[:40], "more_body": True})
    # Returning with the body unfinished makes uvicorn close the connection.


def test_a_stream_cut_inside_an_event_is_no_parsers_complaint() -> None:
    seen = 0
    with (
        serving(torn) as upstream,
        pointsman(upstream.url + "/v1", '["*"]') as url,
        OpenAI(base_url=url, api_key="sk-test", max_retries=0) as client,
        pytest.raises(openai.APIError, match="broke off") as caught,
    ):
        for _ in ask(client, stream=True):
            seen += 1
    assert type(caught.value) is openai.APIError
    assert seen == 1


def test_a_cut_stream_raises_asynchronously(base_url: str) -> None:
    async def talk() -> int:
        seen = 0
        async with AsyncOpenAI(base_url=base_url, api_key="sk-test", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="auto", messages=messages(), stream=True, extra_headers=simulate(cut=3)
            )
            with pytest.raises(openai.APIError, match="broke off") as caught:
                async for _ in stream:
                    seen += 1
        assert type(caught.value) is openai.APIError
        return seen

    assert asyncio.run(talk()) == 3


@pytest.mark.parametrize(
    ("is_stream", "cut"),
    [
        pytest.param(False, "headers", id="before-the-headers"),
        pytest.param(True, "headers", id="before-the-headers-of-a-stream"),
        pytest.param(True, "0", id="before-the-first-event"),
        pytest.param(True, "1", id="after-an-event-that-only-names-the-role"),
        pytest.param(False, "3", id="in-the-middle-of-a-whole-answer"),
    ],
)
def test_an_upstream_cut_before_anything_was_sent_on_is_an_honest_502(
    client: OpenAI, is_stream: bool, cut: str
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, stream=is_stream, extra_headers=simulate(cut=cut))
    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_unavailable"


@pytest.mark.parametrize("events", [1, 3])
def test_closing_a_stream_early_frees_the_upstream(client: OpenAI, log: Log, events: int) -> None:
    with ask(client, stream=True, extra_headers=simulate(stall=3)) as stream:
        for _ in range(events):
            next(stream)
    entry = log.wait_for(lambda entry: entry.disconnected_at is not None)
    assert not entry.complete


def test_cancelling_a_task_frees_the_upstream(base_url: str, log: Log) -> None:
    async def talk() -> None:
        async with AsyncOpenAI(base_url=base_url, api_key="sk-test", max_retries=0) as client:
            call = client.chat.completions.create(
                model="auto", messages=messages(), extra_headers=simulate(stall_headers=1)
            )
            task = asyncio.create_task(call)
            await asyncio.to_thread(log.wait_for, lambda entry: True)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(talk())
    log.wait_for(lambda entry: entry.disconnected_at is not None)
