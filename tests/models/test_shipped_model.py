"""The shipped model is the one that provenance.json describes, and its vectors are the published network's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

MODELS = Path(__file__).parents[2] / "models"
SHIPPED = MODELS / "all-MiniLM-L6-v2"
PROVENANCE: dict[str, Any] = json.loads((SHIPPED / "provenance.json").read_text())
# Of the mean cosine: another processor rounds a little differently. Plain dynamic int8 is .006 lower.
HAIR = 0.0005


def open_session(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(SHIPPED / "model.onnx", options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def session() -> Any:
    return open_session(threads=1)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return (MODELS / "evaluation.txt").read_text(encoding="utf-8").splitlines()


def run(session: Any, ids: Sequence[Sequence[int]], mask: Sequence[Sequence[int]] | None = None) -> NDArray[np.float32]:
    rows = np.array(ids, np.int64)
    inputs = {"input_ids": rows, "attention_mask": np.ones_like(rows) if mask is None else np.array(mask, np.int64)}
    vectors: NDArray[np.float32] = session.run(["embedding"], inputs)[0]
    return vectors


def embed(session: Any, tokenizer: Tokenizer, texts: Sequence[str]) -> NDArray[np.float32]:
    return np.concatenate([run(session, [tokenizer.encode(text).ids]) for text in texts])


@pytest.mark.parametrize("name", sorted(PROVENANCE["files"]))
def test_file_is_the_recorded_one(name: str) -> None:
    data = (SHIPPED / name).read_bytes()
    recorded = PROVENANCE["files"][name]
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (recorded["sha256"], recorded["bytes"])


def test_every_shipped_file_is_recorded() -> None:
    present = {path.name for path in SHIPPED.iterdir() if not path.name.startswith(".")}
    assert present == {*PROVENANCE["files"], "provenance.json"}


def test_recipe_used_the_calibration_texts_as_they_are() -> None:
    recorded = PROVENANCE["recipe"]["calibration_sha256"]
    assert hashlib.sha256((MODELS / "calibration.txt").read_bytes()).hexdigest() == recorded


def test_no_evaluation_text_was_calibrated_on(texts: list[str]) -> None:
    assert not set(texts) & set((MODELS / "calibration.txt").read_text(encoding="utf-8").splitlines())


def test_inputs_and_outputs(session: Any) -> None:
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("input_ids", "tensor(int64)", ["batch", "tokens"]),
        ("attention_mask", "tensor(int64)", ["batch", "tokens"]),
    ]
    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [
        ("embedding", "tensor(float)", ["batch", 768])
    ]


def test_tokenizer_gives_the_known_ids(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("hello world").ids == [101, 7592, 2088, 102]


def test_tokenizer_neither_cuts_nor_pads(tokenizer: Tokenizer) -> None:
    assert tokenizer.truncation is None
    assert tokenizer.padding is None
    assert len(tokenizer.encode("word " * 300).ids) == 302


def test_vectors_are_of_length_one(session: Any, tokenizer: Tokenizer, texts: list[str]) -> None:
    lengths = np.linalg.norm(embed(session, tokenizer, texts), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)


def test_vectors_are_those_of_the_published_network(session: Any, tokenizer: Tokenizer, texts: list[str]) -> None:
    """As near to float32 as provenance.json says."""
    exact = np.load(Path(__file__).with_name("reference.npy")).astype(np.float32)
    assert exact.shape == (len(texts), 768)
    cosine = np.sum(exact * embed(session, tokenizer, texts), axis=1)
    assert cosine.mean() >= PROVENANCE["cosine_to_float32"]["mean"] - HAIR
    assert cosine.min() >= PROVENANCE["cosine_to_float32"]["least"] - 4 * HAIR


def test_same_text_same_vector(session: Any, tokenizer: Tokenizer, texts: list[str]) -> None:
    """To the last bit: on repeated runs, after other texts, on one thread or two."""
    first = embed(session, tokenizer, texts)
    np.testing.assert_array_equal(embed(session, tokenizer, texts[::-1])[::-1], first)
    np.testing.assert_array_equal(embed(open_session(threads=2), tokenizer, texts), first)


def test_padding_is_not_read(session: Any) -> None:
    """
    Masked tokens change the range of the 8-bit rounding, never the meaning.

    Read as text, the same tokens turn the vector by far more.
    """
    ids, noise = [101, 7592, 2088, 102], [4231, 9999, 17005, 2561]
    alone = run(session, [ids])[0]
    masked = run(session, [ids + noise], [[1] * 4 + [0] * 4])[0]
    read = run(session, [ids + noise])[0]
    assert alone @ masked > 0.99
    assert alone @ read < 0.9


def test_longest_text_is_accepted(session: Any) -> None:
    """The network has 512 positions."""
    assert np.isfinite(run(session, [[101, *[7592] * 510, 102]])).all()
