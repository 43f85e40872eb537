"""Models, embeddings and legacy completions, through the official client."""

import base64
import math

import pytest

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
