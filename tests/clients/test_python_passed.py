"""What is not routed, through OpenAI's Python SDK: it reaches the model that it names, or the default's upstream."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from proxy.simulator import Log
from proxy.simulator.speech import FRAME_BYTES, FRAMES_PER_WORD
from tests.clients.calls import simulate

MEGABYTES = os.urandom(1 << 20) * 4


@pytest.mark.parametrize(
    ("model", "served"),
    [
        pytest.param("text-embedding-3-small", "text-embedding-3-small", id="unknown-here"),
        pytest.param("large", "gpt-4o", id="a-model-here"),
        pytest.param("auto", "gpt-4o-mini", id="auto"),
    ],
)
def test_embeddings(client: OpenAI, log: Log, model: str, served: str) -> None:
    answer = client.embeddings.create(model=model, input=["one", "two"])
    assert [len(item.embedding) for item in answer.data] == [16, 16]
    assert json.loads(log.last.body)["model"] == served


def test_moderations(client: OpenAI) -> None:
    calm, violent = client.moderations.create(input=["I like tea", "I will kill you"]).results
    assert (calm.flagged, violent.flagged) == (False, True)


def test_images(client: OpenAI, log: Log) -> None:
    answer = client.images.generate(model="gpt-image-1", prompt="one pixel")
    assert base64.b64decode((answer.data or [])[0].b64_json or "").startswith(b"\x89PNG")
    assert json.loads(log.last.body)["model"] == "gpt-image-1"


def test_speech_is_streamed_to_a_file(client: OpenAI, direct: OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "speech.mp3"
    words = " ".join(["word"] * 200)
    with client.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input=words) as answer:
        answer.stream_to_file(path)
    assert path.stat().st_size == 200 * FRAMES_PER_WORD * FRAME_BYTES
    straight = direct.audio.speech.create(model="tts-1", voice="alloy", input=words)
    assert path.read_bytes() == straight.read()


def test_speech_arrives_while_the_upstream_is_still_speaking(client: OpenAI, log: Log) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="one two three", extra_headers=simulate(stall=2)
    ) as answer:
        pieces = answer.iter_bytes(FRAME_BYTES)  # closes the answer when it goes
        assert len(next(pieces)) == FRAME_BYTES
        assert log.last.ended_at is None
    log.wait_for(lambda entry: entry.disconnected_at is not None)


def test_speech_that_is_cut_is_no_whole_speech(client: OpenAI) -> None:
    # Nothing can be said within sound, so the body is left without its end.
    with pytest.raises(openai.APIConnectionError):
        client.audio.speech.create(model="tts-1", voice="alloy", input="one two three", extra_headers=simulate(cut=2))


@pytest.mark.parametrize(
    ("model", "served"),
    [pytest.param("whisper-1", "whisper-1", id="unknown-here"), pytest.param("large", "gpt-4o", id="a-model-here")],
)
def test_a_recording_of_some_megabytes(client: OpenAI, log: Log, model: str, served: str) -> None:
    answer = client.audio.transcriptions.create(model=model, file=("talk.wav", MEGABYTES))
    assert answer.text == f"This is {served} at sim (simulated). You sent talk.wav of {len(MEGABYTES)} bytes."
    assert MEGABYTES in log.last.body


def test_the_life_of_a_file(client: OpenAI) -> None:
    made = client.files.create(file=("data.jsonl", MEGABYTES), purpose="batch")
    assert made.bytes == len(MEGABYTES)
    assert client.files.retrieve(made.id) == made
    assert made.id in [file.id for file in client.files.list(purpose="batch", limit=1)]
    assert client.files.content(made.id).read() == MEGABYTES
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


def test_a_model_of_ones_own_is_deleted(client: OpenAI, log: Log) -> None:
    assert client.models.delete("ft:gpt-4o:me::1").deleted
    assert (log.last.method, log.last.path.rpartition("/")[2]) == ("DELETE", "ft:gpt-4o:me::1")


def test_responses_that_were_kept(client: OpenAI) -> None:
    made = client.responses.create(model="auto", input="hello there")
    assert client.responses.retrieve(made.id) == made
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, openai.BadRequestError), (404, openai.NotFoundError), (429, openai.RateLimitError), (503, openai.InternalServerError)],
)  # fmt: skip
def test_error_classes(client: OpenAI, status: int, kind: type[openai.APIStatusError]) -> None:
    for call in (
        lambda: client.files.list(extra_headers=simulate(status=status)),
        lambda: client.embeddings.create(model="e", input="x", extra_headers=simulate(status=status)),
        lambda: client.files.create(file=("a", b"x"), purpose="batch", extra_headers=simulate(status=status)),
    ):
        with pytest.raises(openai.APIStatusError) as caught:
            call()
        assert type(caught.value) is kind


def test_a_path_that_the_upstream_does_not_know_is_its_to_refuse(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="Invalid URL"):
        client.fine_tuning.jobs.list()


def test_asynchronous(base_url: str) -> None:
    async def talk() -> tuple[int, str, bytes]:
        async with AsyncOpenAI(base_url=base_url, api_key="sk-test", max_retries=0) as client:
            embeddings, heard, made = await asyncio.gather(
                client.embeddings.create(model="e", input="x"),
                client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"sound")),
                client.files.create(file=("a", b"content"), purpose="batch"),
            )
            return len(embeddings.data), heard.text, (await client.files.content(made.id)).read()

    assert asyncio.run(talk()) == (1, "This is whisper-1 at sim (simulated). You sent a.wav of 5 bytes.", b"content")
