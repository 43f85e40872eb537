"""Fits on disk: every bit comes back, for the same examples only, and whatever else is there is told."""

from __future__ import annotations

import hashlib
import inspect
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from proxy.embedding import DIMENSIONS, Vectors
from proxy.kept import CacheUnusable
from proxy.reload.fitting import TopicFitter
from proxy.routing import probe, topic_calibration, topic_fit
from proxy.routing.kept_fits import METHOD, KeptFits, fit_key
from proxy.routing.topic_fit import TopicFit, fit_topics


def unit(count: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, DIMENSIONS))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def topics(*counts: int) -> tuple[dict[str, Vectors], Vectors]:
    return {f"topic-{n}": unit(count, n) for n, count in enumerate(counts)}, unit(len(counts), 99)


@pytest.fixture
def kept(tmp_path: Path) -> KeptFits:
    return KeptFits(tmp_path / "cache")


@pytest.fixture(scope="module")
def fit() -> TopicFit:
    return fit_topics(*topics(3, 4))


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").iterdir())


def test_every_bit_comes_back(kept: KeptFits, fit: TopicFit) -> None:
    key = fit_key(*topics(3, 4))
    assert kept.read(key) is None
    kept.write(key, fit)
    found = kept.read(key)
    assert found is not None
    assert found.weights.tobytes() == fit.weights.tobytes()
    assert found.weights.dtype == np.float32
    assert found.weights.flags.c_contiguous
    assert found.bias.tobytes() == fit.bias.tobytes()
    assert found.calibration == fit.calibration


def test_a_key_is_of_vectors_groups_and_order_and_not_of_names() -> None:
    examples, names = topics(3, 4)
    key = fit_key(examples, names)
    assert fit_key({"a": examples["topic-0"], "b": examples["topic-1"]}, names) == key
    moved = {"a": examples["topic-0"][:2], "b": np.vstack([examples["topic-0"][2:], examples["topic-1"]])}
    turned = {"b": examples["topic-1"], "a": examples["topic-0"]}
    changed = {"a": examples["topic-0"].copy(), "b": examples["topic-1"]}
    changed["a"][0, 0] += np.float32(1e-6)
    others = [(moved, names), (turned, names), (changed, names), (examples, names[::-1])]
    assert len({key, *(fit_key(*other) for other in others)}) == 5


def test_what_is_damaged_is_said_and_replaced(kept: KeptFits, fit: TopicFit, tmp_path: Path) -> None:
    kept.write("key", fit)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    earlier = whole.replace(b"topics %d" % METHOD, b"topics 0")
    assert earlier != whole
    for content in (b"", whole[:-40], earlier, whole[:200] + b"!" + whole[201:]):
        path.write_bytes(content)
        with pytest.raises(CacheUnusable, match="is damaged or another program's"):
            kept.read("key")
    kept.write("key", fit)
    assert kept.read("key") is not None


def test_a_folder_that_is_a_file_is_said(tmp_path: Path, fit: TopicFit) -> None:
    (tmp_path / "cache").write_text("mine")
    kept = KeptFits(tmp_path / "cache")
    with pytest.raises(CacheUnusable, match="cannot be read"):
        kept.read("key")
    with pytest.raises(CacheUnusable, match=r"cannot be written: .*; the next start fits again"):
        kept.write("key", fit)
    assert (tmp_path / "cache").read_text() == "mine"


def test_the_longest_unused_go(tmp_path: Path, fit: TopicFit) -> None:
    kept = KeptFits(tmp_path / "cache", room=2)
    for age, key in ((30, "one"), (20, "two")):
        kept.write(key, fit)
        (path,) = (path for path in files(tmp_path) if key in path.name)
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert kept.read("one") is not None, "and is the one used last from now on"
    kept.write("three", fit)
    assert [key for key in ("one", "two", "three") if kept.read(key) is not None] == ["one", "three"]


def test_a_change_of_the_method_is_not_forgotten() -> None:
    """An old fit must not be found by a new method. Raise METHOD where fits change; then note the new digest here."""
    source = "".join(inspect.getsource(module) for module in (probe, topic_calibration, topic_fit))
    assert (METHOD, hashlib.sha256(source.encode()).hexdigest()[:16]) == (2, "6bb3bb33a04fc77d")


def test_a_process_remembers_the_last_fits_and_no_more() -> None:
    """Else each reload with other examples would take memory for good."""
    fitter = TopicFitter()
    several = [topics(count, 3) for count in range(2, 8)]
    assert [fitter.fit(*each)[1] for each in several] == ["examples"] * 6
    assert fitter.fit(*several[-1])[1] == "memory"
    assert fitter.fit(*several[0])[1] == "examples"
