"""The probe stands at the minimum of its own loss, and its probabilities are some."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.routing.arrays import Floats, Ints
from proxy.routing.probe import INVERSE_REGULARISATION, Probe, fit_probe


class Data(NamedTuple):
    vectors: Floats
    labels: Ints
    classes: int


def unit(rows: Floats) -> Floats:
    result: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return result


@st.composite
def data(draw: st.DrawFn) -> Data:
    """Rows of length 1; some the same, some classes with no row."""
    rows, dimensions, classes = draw(st.integers(1, 12)), draw(st.integers(1, 6)), draw(st.integers(1, 4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors = unit(generator.normal(size=(rows, dimensions)))
    if draw(st.booleans()):
        vectors = vectors[generator.integers(0, rows, rows)]
    labels = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)), dtype=np.int64)
    return Data(vectors, labels, classes)


def log_probabilities(probe: Probe, vectors: Floats) -> Floats:
    """(rows, dimensions) to (rows, classes); each row's exponentials sum to 1."""
    logits = probe.logits(vectors)
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def loss(probe: Probe, given_data: Data) -> float:
    """What `fit_probe` says it minimises, from the outside."""
    log_p = log_probabilities(probe, given_data.vectors)
    penalty = float((probe.weights**2).sum()) / INVERSE_REGULARISATION + 1e-6 * float((probe.bias**2).sum())
    return 0.5 * penalty - float(log_p[np.arange(len(given_data.labels)), given_data.labels].sum())


def moved(probe: Probe, step: Floats) -> Probe:
    return Probe(probe.centre, probe.weights + step[:-1], probe.bias + step[-1])


def gradient(probe: Probe, given_data: Data) -> Floats:
    """By central differences."""
    shape = (len(probe.weights) + 1, given_data.classes)
    found = np.zeros(shape)
    for at in np.ndindex(shape):
        step = np.zeros(shape)
        step[at] = 1e-5
        found[at] = (loss(moved(probe, step), given_data) - loss(moved(probe, -step), given_data)) / 2e-5
    return found


def one_bad_step(seed: int, rows: int, dimensions: int, classes: int) -> Data:
    """Data on whose way to the minimum a step gains next to nothing, and the one after it does."""
    generator = np.random.default_rng(seed)
    return Data(unit(generator.normal(size=(rows, dimensions))), generator.integers(0, classes, rows), classes)


@settings(max_examples=60)
@given(data())
@example(one_bad_step(1657, 11, 6, 4))
@example(one_bad_step(637, 12, 1, 4))
@example(one_bad_step(2516, 4, 2, 2))
def test_the_gradient_vanishes_where_the_fit_ends(given_data: Data) -> None:
    probe = fit_probe(*given_data)
    start = Probe(probe.centre, np.zeros_like(probe.weights), np.zeros_like(probe.bias))
    left = float(np.linalg.norm(gradient(probe, given_data)))
    assert left < 0.02 * max(1.0, float(np.linalg.norm(gradient(start, given_data))))
    assert loss(probe, given_data) <= loss(start, given_data) + 1e-9


@settings(max_examples=30)
@given(data(), st.integers(0, 2**32 - 1))
def test_no_step_in_any_direction_gains(given_data: Data, seed: int) -> None:
    probe = fit_probe(*given_data)
    generator = np.random.default_rng(seed)
    here = loss(probe, given_data)
    for size in (1e-3, 0.1, 10.0):
        step = size * generator.normal(size=(len(probe.weights) + 1, given_data.classes))
        assert here <= loss(moved(probe, step), given_data) + 1e-3


@settings(max_examples=40)
@given(data(), st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 1.0, 1e3, 1e8]))
def test_probabilities_sum_to_one_and_are_finite(given_data: Data, seed: int, size: float) -> None:
    probe = fit_probe(*given_data)
    unseen = size * np.random.default_rng(seed).normal(size=(5, given_data.vectors.shape[1]))
    for vectors in (given_data.vectors, unseen):
        log_p = log_probabilities(probe, vectors)
        assert log_p.shape == (len(vectors), given_data.classes)
        assert np.isfinite(log_p).all()
        assert np.exp(log_p).sum(axis=1) == pytest.approx(np.ones(len(vectors)))


@settings(max_examples=20)
@given(data())
def test_the_same_data_gives_the_same_probe_to_the_bit(given_data: Data) -> None:
    before = given_data.vectors.copy()
    first, second = fit_probe(*given_data), fit_probe(*given_data)
    for one, other in zip(
        (first.centre, first.weights, first.bias), (second.centre, second.weights, second.bias), strict=True
    ):
        assert np.array_equal(one, other)
    assert np.array_equal(given_data.vectors, before), "what is given is not changed"


CORNERS = unit(np.eye(3) + 0.05)
NEAR_CORNERS = unit(np.vstack([CORNERS + 0.1 * noise for noise in np.random.default_rng(5).normal(size=(4, 3, 3))]))
OF_CORNERS = np.tile(np.arange(3), 4)


def test_each_class_is_found_where_its_rows_are() -> None:
    probe = fit_probe(NEAR_CORNERS, OF_CORNERS, 3)
    probabilities = np.exp(log_probabilities(probe, CORNERS))
    assert list(probabilities.argmax(axis=1)) == [0, 1, 2]
    assert probabilities.diagonal().min() > 0.8
    assert probe.centre == pytest.approx(NEAR_CORNERS.mean(axis=0))


def test_a_class_without_rows_is_unlikely_everywhere() -> None:
    probe = fit_probe(NEAR_CORNERS, OF_CORNERS, 5)
    anywhere = unit(np.random.default_rng(7).normal(size=(200, 3)))
    empty = np.exp(log_probabilities(probe, anywhere))[:, 3:]
    assert empty.max() < 0.01


def test_the_names_of_the_classes_do_not_matter() -> None:
    order = np.array([2, 0, 1])
    straight = log_probabilities(fit_probe(NEAR_CORNERS, OF_CORNERS, 3), CORNERS)
    renamed = log_probabilities(fit_probe(NEAR_CORNERS, order[OF_CORNERS], 3), CORNERS)
    assert renamed[:, order] == pytest.approx(straight, abs=1e-3)


def test_more_rows_of_one_class_make_it_likelier_where_nothing_is_known() -> None:
    many = np.concatenate([np.zeros(9, np.int64), np.ones(3, np.int64)])
    probe = fit_probe(np.tile(unit(np.ones((1, 3))), (12, 1)), many, 2)
    assert np.exp(log_probabilities(probe, unit(np.ones((1, 3))))[0]) == pytest.approx([0.75, 0.25], abs=0.01)


def test_many_logits_are_fitted_in_single_precision_and_tell_the_same_apart() -> None:
    """Above half a million logits; the same rows in two fits, one with classes that have none."""
    generator = np.random.default_rng(11)
    corners = unit(generator.normal(size=(20, 16)))
    labels = np.tile(np.arange(20), 20)
    rows = unit(corners[labels] + 0.05 * generator.normal(size=(400, 16)))
    few, many = fit_probe(rows, labels, 20), fit_probe(rows, labels, 1300)
    assert (many.logits(rows).argmax(axis=1) == labels).all()
    assert many.weights.dtype == few.weights.dtype == np.float64
