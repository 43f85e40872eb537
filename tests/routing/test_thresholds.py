"""Thresholds from labelled texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.thresholds import FOLDS, Compared, Counts, Scored, best_threshold, folds_of, tune


def of(own: list[float], others: list[float]) -> list[Scored]:
    """Texts whose best topic is code: these scores of code's own, those of no topic."""
    return [
        *(Scored(f"own {n}", "code", "code", score) for n, score in enumerate(own)),
        *(Scored(f"other {n}", None, "code", score) for n, score in enumerate(others)),
    ]


@pytest.mark.parametrize(
    ("own", "others", "present", "expected"),
    [
        pytest.param([0.8, 0.9, 0.95], [0.6, 0.65, 0.7], 0.5, 0.75, id="rises-over-foreign-texts"),
        pytest.param([0.3, 0.4, 0.45], [0.1, 0.1, 0.2], 0.5, 0.25, id="falls-under-its-own-texts"),
        pytest.param([0.8, 0.9, 0.95], [0.1, 0.2, 0.3], 0.5, 0.5, id="stays-where-all-is-right"),
        pytest.param([0.8, 0.9, 0.95], [0.1, 0.2, 0.3], 0.7, 0.7, id="stays-at-the-files-own"),
        pytest.param([0.8, 0.9], [0.6, 0.7], 0.5, 0.5, id="stays-with-four-texts"),
        pytest.param([0.8, 0.9, 0.95, 0.97], [0.99], 0.5, 0.5, id="one-odd-text-moves-nothing"),
        pytest.param([0.49, 0.8, 0.9, 0.95], [0.1], 0.5, 0.29, id="a-text-just-below-is-let-in"),
        pytest.param([0.9, 0.91, 0.92], [0.6, 0.7, 0.8, 0.95, 0.96], 0.5, 0.85, id="some-stay-wrong"),
        pytest.param([], [0.6, 0.6, 0.6, 0.6, 0.6], 0.5, 0.8, id="only-foreign"),
        pytest.param([0.4, 0.4, 0.4, 0.4, 0.4], [], 0.5, 0.2, id="only-its-own"),
        pytest.param([0.8999] * 3, [0.8998] * 3, 0.5, 0.8999, id="as-many-digits-as-it-takes"),
        pytest.param([0.899999] * 3, [0.899998] * 3, 0.5, 0.5, id="what-four-digits-cannot-part-stays"),
        pytest.param([0.2, 0.9, 0.9, 0.9], [0.4], 0.0, 0.0, id="a-threshold-of-0"),
        pytest.param([0.6, 0.6, 0.6, 0.6], [0.9], 1.0, 1.0, id="a-threshold-of-1"),
        pytest.param([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], 0.5, 0.5, id="the-surest-scores"),
    ],
)
def test_best_threshold(own: list[float], others: list[float], present: float, expected: float) -> None:
    assert best_threshold(of(own, others), present) == expected


SCORED = st.builds(
    Scored,
    st.text(max_size=3),
    st.sampled_from(["code", "law", None]),
    st.sampled_from(["code", "law"]),
    st.floats(0, 1),
)


@given(st.lists(SCORED, max_size=30), st.floats(0, 1))
def test_on_its_own_texts_a_threshold_is_never_worse(texts: list[Scored], present: float) -> None:
    one = [text for text in texts if text.best == "code"]
    fitted = best_threshold(one, present)
    right = [sum((text.score >= threshold) == text.belongs for text in one) for threshold in (present, fitted)]
    assert 0 <= fitted <= 1
    assert right[0] <= right[1]


@given(st.lists(SCORED, max_size=30))
def test_folds_keep_equal_texts_together_and_do_not_depend_on_order(texts: list[Scored]) -> None:
    folds = folds_of(texts)
    by_text = dict(zip(((text.best, text.text) for text in texts), folds, strict=True))
    assert folds == [by_text[text.best, text.text] for text in texts]
    assert folds_of(texts[::-1]) == folds[::-1]


def test_folds_share_each_topic_out_evenly() -> None:
    texts = [Scored(str(n), best, best, 0.5) for best in ("code", "law") for n in range(10)]
    folds = folds_of(texts)
    for part in (folds[:10], folds[10:]):
        assert sorted(part) == sorted([*range(FOLDS)] * 2)


@given(st.lists(SCORED, max_size=40))
def test_everything_is_counted_once(texts: list[Scored]) -> None:
    found = tune(texts, {"code": 0.5, "law": 0.6})
    for counts in (found.overall.before, found.overall.after):
        assert (counts.texts, counts.of_topics + counts.foreign) == (len(texts), len(texts))
        assert counts.taken + counts.strayed <= counts.of_topics
        assert counts.fallen <= counts.foreign
    assert found.overall.after.right - found.overall.before.right == found.overall.won - found.overall.lost
    assert sum(its.before.texts for its in found.by_topic.values()) == len(texts)


@pytest.mark.parametrize(
    ("topic", "score", "expected"),
    [
        pytest.param("code", 0.7, Counts(1, right=1, of_topics=1, taken=1), id="taken"),
        pytest.param("code", 0.6, Counts(1, right=1, of_topics=1, taken=1), id="the-threshold-is-inclusive"),
        pytest.param("code", 0.5, Counts(1, of_topics=1), id="lost"),
        pytest.param("law", 0.7, Counts(1, of_topics=1, strayed=1), id="strayed"),
        pytest.param("law", 0.5, Counts(1, right=1, of_topics=1), id="another-topic-falls-through"),
        pytest.param(None, 0.7, Counts(1, foreign=1), id="foreign-taken"),
        pytest.param(None, 0.5, Counts(1, right=1, foreign=1, fallen=1), id="foreign-falls-through"),
    ],
)
def test_counts(topic: str | None, score: float, expected: Counts) -> None:
    counts = Counts()
    counts.add(Scored("x", topic, "code", score), 0.6)
    assert counts == expected


@pytest.mark.parametrize(
    ("won", "lost", "expected"),
    [(0, 0, False), (1, 0, False), (2, 0, True), (10, 8, False), (12, 3, True), (3, 12, False)],
)
def test_more_must_be_won_than_chance_would(won: int, lost: int, expected: bool) -> None:
    assert Compared(won=won, lost=lost).improves is expected


def test_a_shift_that_all_texts_share_is_found_and_holds() -> None:
    texts = of([0.75 + n / 100 for n in range(20)], [0.55 + n / 100 for n in range(10)])
    found = tune(texts, {"code": 0.5, "law": 0.5})
    assert 0.64 < found.thresholds["code"] <= 0.75
    assert found.thresholds["law"] == 0.5
    assert (found.overall.won, found.overall.lost, found.overall.improves) == (10, 0, True)
    assert found.by_topic["law"] == Compared()


def test_labels_without_a_pattern_improve_nothing() -> None:
    texts = of([n / 20 for n in range(20)], [n / 20 + 0.01 for n in range(19)])
    assert not tune(texts, {"code": 0.5}).overall.improves
