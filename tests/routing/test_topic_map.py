"""The plane that topics are shown in."""

from __future__ import annotations

import numpy as np
import pytest

from proxy.embedding import DIMENSIONS, Vectors
from proxy.routing.topic_map import draw_map


def made(*counts: int, seed: int = 0) -> list[Vectors]:
    """Topics of so many examples, each about a direction of its own."""
    random = np.random.default_rng(seed)
    topics = []
    for topic, count in enumerate(counts):
        rows = random.normal(0, 0.01, (count, DIMENSIONS))
        rows[:, topic] += 1
        topics.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return topics


def test_topics_stand_apart_and_so_do_texts_that_it_has_not_seen() -> None:
    drawn = draw_map(made(8, 6, 7))
    centres = np.stack([drawn.place(rows).mean(axis=0) for rows in made(8, 6, 7)])
    for topic, rows in enumerate(made(20, 20, 20, seed=1)):
        distances = np.linalg.norm(drawn.place(rows)[:, None] - centres, axis=2)
        assert (distances.argmin(axis=1) == topic).all()


@pytest.mark.parametrize("counts", [(1,), (2,), (9,), (1, 1), (5, 4), (3, 2, 4, 1)], ids=str)
def test_however_few_there_are_it_is_a_map_and_the_same_one_each_time(counts: tuple[int, ...]) -> None:
    drawn, again = draw_map(made(*counts)), draw_map(made(*counts))
    assert np.array_equal(drawn.axes, again.axes)
    assert drawn.axes.shape == (DIMENSIONS, 2)
    lengths = np.linalg.norm(drawn.axes, axis=0)
    assert all(length == pytest.approx(1, abs=1e-5) or length == 0 for length in lengths)
    assert drawn.axes[:, 0] @ drawn.axes[:, 1] == pytest.approx(0, abs=1e-5)
    places = drawn.place(np.concatenate(made(*counts)))
    assert places.shape == (sum(counts), 2)
    assert np.allclose(places.mean(axis=0), 0, atol=1e-5)


def test_the_order_of_examples_flips_no_axis() -> None:
    topics = made(8, 6, 7)
    mirrored = draw_map([rows[::-1] for rows in topics])
    assert np.allclose(draw_map(topics).axes, mirrored.axes, atol=1e-5)
