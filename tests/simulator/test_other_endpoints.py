"""All endpoints that have no file of their own here, through the official client."""

import base64
import math
import time

import httpx
import pytest
from openai.types import ImagesResponse, ModerationCreateResponse, ModerationTextInputParam
from openai.types.audio import Transcription

from proxy.simulator.speech import FRAME_BYTES, FRAMES_PER_WORD
from tests.simulator.conftest import Upstream


def test_models(upstream: Upstream) -> None:
    listed = [model.id for model in upstream.openai.models.list()]
    assert "gpt-4o" in listed
    assert upstream.openai.models.retrieve("any/name").id == "any/name"


def test_embeddings(upstream: Upstream) -> None:
    answer = upstream.openai.embeddings.create(model="e", input=["one", "two", "one"])
    one, two, again = (item.embedding for item in answer.data)
    assert one == again != two
    assert math.hypot(*one) == pytest.approx(1)
    assert answer.usage.total_tokens > 0
    as_floats = upstream.openai.embeddings.create(model="e", input="one", encoding_format="float")
    assert as_floats.data[0].embedding == pytest.approx(one)
    raw = upstream.http.post("/v1/embeddings", json={"model": "e", "input": "one", "encoding_format": "base64"}).json()
    assert len(base64.b64decode(raw["data"][0]["embedding"])) == 4 * len(one)
    wide = upstream.openai.embeddings.create(model="e", input=[1, 2], dimensions=100)
    assert [len(item.embedding) for item in wide.data] == [100]


@pytest.mark.parametrize("fields", [{}, {"input": []}, {"input": 3}, {"input": "x", "dimensions": 0}])
def test_bad_embeddings(upstream: Upstream, fields: dict[str, object]) -> None:
    answer = upstream.http.post("/v1/embeddings", json={"model": "e", **fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in ("input", "dimensions")


def test_legacy_completions(upstream: Upstream) -> None:
    whole = upstream.openai.completions.create(model="m", prompt="Once upon", max_tokens=5)
    assert whole.object == "text_completion"
    assert (whole.choices[0].finish_reason, whole.usage and whole.usage.completion_tokens) == ("length", 5)
    stream = upstream.openai.completions.create(model="m", prompt="Once upon", max_tokens=5, stream=True)
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == "length"
    assert upstream.http.post("/v1/completions", json={"model": "m"}).json()["error"]["param"] == "prompt"


def test_moderations(upstream: Upstream) -> None:
    calm, violent = upstream.openai.moderations.create(input=["I like tea", "I will kill you"]).results
    assert (calm.flagged, violent.flagged) == (False, True)
    assert violent.categories.violence
    parts = upstream.openai.moderations.create(model="m", input=[ModerationTextInputParam(type="text", text="stab")])
    ModerationCreateResponse.model_validate(parts.to_dict())
    assert (parts.model, [result.flagged for result in parts.results]) == ("m", [True])
    assert upstream.http.post("/v1/moderations", json={}).json()["error"]["param"] == "input"


def test_images(upstream: Upstream) -> None:
    answer = upstream.openai.images.generate(prompt="a red pixel", n=2)
    ImagesResponse.model_validate(answer.to_dict())
    one, other = (base64.b64decode(image.b64_json or "") for image in answer.data or [])
    assert one.startswith(b"\x89PNG")
    assert one != other
    assert upstream.http.post("/v1/images/generations", json={"n": 1}).json()["error"]["param"] == "prompt"


def test_speech_comes_in_pieces(upstream: Upstream) -> None:
    body = {"model": "tts", "voice": "alloy", "input": "five words of plain text"}
    pause = {"x-simulate-token-ms": "10"}
    with upstream.http.stream("POST", "/v1/audio/speech", json=body, headers=pause) as answer:
        pieces = list(answer.iter_raw())
    assert answer.headers["content-type"] == "audio/mpeg"
    assert len(pieces) > 1
    sound = b"".join(pieces)
    assert len(sound) == 5 * FRAMES_PER_WORD * FRAME_BYTES
    frames = {sound[at : at + FRAME_BYTES] for at in range(0, len(sound), FRAME_BYTES)}
    assert len(frames) == 5 * FRAMES_PER_WORD, "no two are alike"
    assert all(frame.startswith(b"\xff\xfb") for frame in frames)
    assert (
        upstream.http.post("/v1/audio/speech", json=body | {"response_format": "pcm"}).headers["content-type"]
        == "audio/pcm"
    )
    for name in ("input", "voice", "response_format"):
        error = upstream.http.post("/v1/audio/speech", json=body | {name: "flac" if "_" in name else ""}).json()[
            "error"
        ]
        assert error["param"] == name


def test_transcriptions(upstream: Upstream) -> None:
    heard = upstream.openai.audio.transcriptions
    sound = bytes(range(256)) * 100
    answer = heard.create(model="whisper-1", file=("hello.mp3", sound))
    Transcription.model_validate(answer.to_dict())
    assert answer.text == "This is whisper-1 at east (simulated). You sent hello.mp3 of 25600 bytes."
    assert heard.create(model="m", file=("a.wav", b""), response_format="text") == (
        "This is m at east (simulated). You sent a.wav of 0 bytes.\n"
    )
    assert upstream.http.post("/v1/audio/transcriptions", data={"model": "m"}).status_code == 400


NEW = [
    ("responses", {"model": "m", "input": "hi"}),
    ("messages", {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}),
    ("audio/speech", {"model": "m", "input": "one two three four five", "voice": "alloy"}),
]


@pytest.mark.parametrize(("path", "fields"), NEW, ids=[path for path, _ in NEW])
def test_the_bad_days_are_those_of_chat(upstream: Upstream, path: str, fields: dict[str, object]) -> None:
    """Cut, stalled, refused, late, in odd pieces: whatever the API."""

    def ask(timeout: float = 5, **knobs: object) -> httpx.Response:
        headers = {f"x-simulate-{name.replace('_', '-')}": str(value) for name, value in knobs.items()}
        headers["anthropic-version"] = "2023-06-01"
        return upstream.http.post(f"/v1/{path}", json=fields | {"stream": True}, headers=headers, timeout=timeout)

    whole = ask(seed=1)
    assert ask(seed=1, chunk_bytes=50).content == whole.content
    assert (ask(status=503).status_code, ask(html=1).text[:6]) == (503, "<html>")
    for knobs in ({"cut": 2}, {"cut": "headers"}):
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            ask(**knobs)
    for knobs in ({"stall": 2}, {"stall_headers": 1}):
        upstream.simulator.log.clear()
        with pytest.raises(httpx.ReadTimeout):
            ask(timeout=0.05, **knobs)
        entry = upstream.simulator.log.wait_for(lambda entry: entry.disconnected_at is not None)
        assert entry.events == knobs.get("stall", 0)
    started = time.monotonic()
    ask(first_token_ms=40, token_ms=5, tokens=5)
    assert time.monotonic() - started >= 0.06
