"""The shipped model behind `MiniLM`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from proxy.embedding import DIMENSIONS, MiniLM
from proxy.shipped import shipped


@pytest.fixture(scope="module")
def model() -> MiniLM:
    return MiniLM(shipped("models/all-MiniLM-L6-v2"), max_tokens=32)


@pytest.mark.parametrize("text", ["", "hi", "¿Qué tal?", "😀 \x00 \ud800", "word " * 500], ids=repr)
def test_every_text_has_a_vector_of_length_one(model: MiniLM, text: str) -> None:
    vector = model.embed(text.encode("utf-8", "replace").decode("utf-8"))
    assert vector.shape == (DIMENSIONS,)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_the_same_text_gives_the_same_bits_from_any_thread_and_beside_any_other(model: MiniLM) -> None:
    texts = [f"sentence number {number} about cats" for number in range(8)]
    alone = [model.embed(text) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(model.embed, texts * 3))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 3, together, strict=True))
    assert np.array_equal(model.embed_all(texts), np.stack(alone))


def test_a_long_text_keeps_its_head_and_its_tail(model: MiniLM) -> None:
    head, tail = "apple " * 10, " zebra" * 10
    ids = model.token_ids(head + "middle " * 100_000 + tail)
    assert len(ids) == 32
    apple, zebra = model.token_ids("apple")[1], model.token_ids("zebra")[1]
    assert ids[1:11] == [apple] * 10
    assert ids[-11:-1] == [zebra] * 10


def test_what_is_alike_lies_near(model: MiniLM) -> None:
    cat, kitten, tax = (model.embed(text) for text in ("a cat", "a small kitten", "how to file a tax return"))
    assert cat @ kitten > 0.5 > cat @ tax


def test_an_incomplete_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.onnx"):
        MiniLM(tmp_path)


@pytest.mark.parametrize("library", ["onnxruntime", "tokenizers"])
def test_vectors_of_another_version_of_a_library_pass_for_others(
    model: MiniLM, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, fingerprint = model.name(), model.fingerprint()
    assert model.fingerprint() == fingerprint
    monkeypatch.setattr(f"{library}.__version__", "0.0.1")
    assert (model.name(), model.fingerprint() != fingerprint) == (name, True)


def test_no_texts_have_no_vectors(model: MiniLM) -> None:
    empty: Callable[[], list[str]] = list
    assert model.embed_all(empty()).shape == (0, DIMENSIONS)


def test_the_runtime_tells_its_makers_nothing(tmp_path: Path) -> None:
    """From 1.32 on it numbers the machine and collects what to send, in a folder of the user's, unless forbidden."""
    program = "from proxy.embedding.shipped_model import minilm; minilm(128).embed('hello')"
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environ = {**kept, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", program], env=environ, check=True)
    assert list(tmp_path.rglob("*")) == []
