"""Many texts at once: each embedded once, whatever becomes of the folder."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from proxy.embedding import DIMENSIONS, BulkEmbedder, Vector, VectorCache

TEXTS = [f"text {number}" for number in range(300)]


class Model:
    """Embeds a text as its length, and remembers it."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, text: str) -> Vector:
        self.texts.append(text)
        return np.full(DIMENSIONS, len(text), dtype=np.float32)


class Seen:
    def __init__(self) -> None:
        self.progress: list[tuple[int, int]] = []
        self.problems: list[str] = []

    def embedding(self, done: int, texts: int) -> None:
        self.progress.append((done, texts))

    def cache_unusable(self, problem: str) -> None:
        self.problems.append(problem)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def cache(tmp_path: Path) -> VectorCache:
    return VectorCache(tmp_path / "cache", b"model")


def lengths(vectors: dict[str, Vector]) -> dict[str, int]:
    return {text: int(row[0]) for text, row in vectors.items()}


def test_each_text_is_embedded_once(model: Model, seen: Seen) -> None:
    bulk = BulkEmbedder(model.embed, cache=None, observer=seen).vectors([*TEXTS, *TEXTS], threads=2)
    assert lengths(bulk.vectors) == {text: len(text) for text in TEXTS}
    assert sorted(model.texts) == sorted(TEXTS)
    assert (bulk.from_cache, bulk.embedded) == (0, 300)
    assert (seen.progress[0], seen.progress[-1]) == ((0, 300), (300, 300))
    assert seen.progress == sorted(seen.progress)
    assert len(seen.progress) > 2


def test_what_is_known_or_was_written_is_not_embedded(model: Model, seen: Seen, cache: VectorCache) -> None:
    known = {"known": np.zeros(DIMENSIONS, dtype=np.float32)}
    for expected in ((0, 1), (1, 0)):
        bulk = BulkEmbedder(model.embed, cache=cache, observer=seen).vectors(["new", "known"], threads=1, known=known)
        assert lengths(bulk.vectors) == {"new": 3, "known": 0}
        assert (bulk.from_cache, bulk.embedded) == expected
    assert model.texts == ["new"]
    assert set(cache.read(["new", "known"])) == {"new", "known"}, "all that is in use is kept"
    assert seen.problems == []


def test_nothing_is_nothing(model: Model, seen: Seen, cache: VectorCache) -> None:
    bulk = BulkEmbedder(model.embed, cache=cache, observer=seen).vectors([], threads=1)
    assert (bulk.vectors, bulk.from_cache, bulk.embedded, seen.progress) == ({}, 0, 0, [])
    assert not cache.path.exists()


@pytest.mark.parametrize("threads", [1, 3])
def test_as_many_at_the_same_time_as_there_are_threads(seen: Seen, threads: int) -> None:
    together, inside = threading.Barrier(threads), threading.Semaphore(threads)

    def embed(text: str) -> Vector:
        assert inside.acquire(blocking=False), "more than there are threads"
        together.wait(5)
        inside.release()
        return np.zeros(DIMENSIONS, dtype=np.float32)

    BulkEmbedder(embed, cache=None, observer=seen).vectors(TEXTS[: 3 * threads], threads=threads)


def test_a_text_that_cannot_be_embedded_is_the_callers_matter_and_what_was_saved_stays(
    model: Model, seen: Seen, cache: VectorCache
) -> None:
    def embed(text: str) -> Vector:
        if len(model.texts) >= 290:
            raise RuntimeError("cannot")
        return model.embed(text)

    with pytest.raises(RuntimeError, match="cannot"):
        BulkEmbedder(embed, cache=cache, observer=seen, save_every_s=0).vectors(TEXTS, threads=1)
    assert 128 <= len(cache.read(TEXTS)) < 300


def test_what_a_sibling_writes_meanwhile_is_not_embedded(model: Model, seen: Seen, cache: VectorCache) -> None:
    written = threading.Event()

    def embed(text: str) -> Vector:
        if not written.is_set():
            written.set()
            cache.write({text: Model().embed(text) for text in TEXTS})
        return model.embed(text)

    bulk = BulkEmbedder(embed, cache=cache, observer=seen, save_every_s=0).vectors(TEXTS, threads=1)
    assert lengths(bulk.vectors) == {text: len(text) for text in TEXTS}
    assert bulk.embedded == len(model.texts) < 300
    assert bulk.from_cache == 300 - bulk.embedded


def test_two_that_start_at_once_do_not_begin_with_the_same_texts(seen: Seen) -> None:
    one, other = Model(), Model()
    for model in (one, other):
        BulkEmbedder(model.embed, cache=None, observer=seen).vectors(TEXTS, threads=1)
    assert one.texts[:128] != other.texts[:128]


def test_trouble_costs_time_and_is_told_once(model: Model, seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    cache = VectorCache(tmp_path / "file", b"model")
    bulk = BulkEmbedder(model.embed, cache=cache, observer=seen, save_every_s=0)
    for _ in range(2):
        assert lengths(bulk.vectors(TEXTS, threads=2).vectors) == {text: len(text) for text in TEXTS}
    assert len(model.texts) == 600
    assert len(seen.problems) == 1


def test_new_trouble_is_told_when_it_was_well_meanwhile(model: Model, seen: Seen, cache: VectorCache) -> None:
    bulk = BulkEmbedder(model.embed, cache=cache, observer=seen)
    for texts in (["one"], ["two"]):
        cache.path.parent.mkdir(exist_ok=True)
        cache.path.write_text("damaged")
        bulk.vectors(texts, threads=1)
        assert set(cache.read(texts)) == set(texts)
    assert [problem.partition(" is ")[2] for problem in seen.problems] == [
        "damaged or another program's; a new one takes its place"
    ] * 2
