"""Topics over the real model's vectors."""

from __future__ import annotations

import numpy as np
import pytest

from proxy.embedding import MiniLM, Vectors
from proxy.routing.topic_calibration import LIKELIEST
from proxy.routing.topic_findings import Findings, find
from proxy.routing.topics import FITTED_THRESHOLD, Topics, TopicScores, spoken
from proxy.shipped import shipped

EXAMPLES = {
    "code": ["Write a Python function", "Fix this bug in my loop", "Why does my program crash?", "Refactor this class"],
    "weather": ["Will it rain tomorrow?", "How hot is it in Madrid?", "Is a storm coming?", "Do I need an umbrella?"],
    "music": ["Play some jazz", "Who sang this song?", "Turn up the volume", "Put on my workout playlist"],
}


@pytest.fixture(scope="module")
def model() -> MiniLM:
    return MiniLM(shipped("models/all-MiniLM-L6-v2"))


def fit(model: MiniLM, examples: dict[str, list[str]], thresholds: dict[str, float | None] | None = None) -> Topics:
    rows: dict[str, Vectors] = {name: model.embed_all(texts) for name, texts in examples.items()}
    return Topics.fit(rows, model.embed_all(spoken(name) for name in examples), thresholds)


@pytest.fixture(scope="module")
def topics(model: MiniLM) -> Topics:
    return fit(model, EXAMPLES)


def scores(model: MiniLM, topics: Topics, text: str) -> TopicScores:
    return topics.scores(model.embed(text))


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("My for loop never ends, what is wrong?", "code"),
        ("What will the weather be like on Sunday?", "weather"),
        ("Play the new album by that band", "music"),
    ],
)
def test_a_text_of_a_topic_finds_it_and_passes(model: MiniLM, topics: Topics, text: str, best: str) -> None:
    found = scores(model, topics, text)
    assert (found.best, found.passes) == (best, True)
    assert found.ranked[0] == (best, found.score)
    assert [name for name, _ in found.ranked] != []
    assert all(0 <= value <= 1 for _, value in found.ranked)


@pytest.mark.parametrize("text", ["What is the boiling point of helium?", "Who was the first emperor of Rome?"])
def test_a_text_of_no_topic_falls_through(model: MiniLM, topics: Topics, text: str) -> None:
    found = scores(model, topics, text)
    assert not found.passes
    assert found.threshold == FITTED_THRESHOLD


MANY = {
    **EXAMPLES,
    "cooking": ["How long do I boil an egg?", "A recipe for lentil soup", "What goes with roast lamb?"],
    "travel": ["Book a flight to Lisbon", "Find me a hotel near the beach", "Do I need a visa for Japan?"],
    "money": ["What is my account balance?", "Transfer ten dollars to Ana", "Is there a fee for paying abroad?"],
    "health": ["My knee hurts when I run", "How much sleep does a child need?", "Is this rash an allergy?"],
}


def test_among_more_topics_than_are_looked_at_closely_nothing_changes(model: MiniLM) -> None:
    """The nearest examples of the likeliest topics stand for those of all."""
    topics = fit(model, MANY)
    assert len(MANY) > LIKELIEST
    for name, texts in MANY.items():
        found = scores(model, topics, texts[0])
        assert (found.best, found.passes) == (name, True)
        assert found.ranked[0] == (name, found.score)
        assert {topic for topic, _ in found.ranked} == MANY.keys()
    assert not scores(model, topics, "Who was the first emperor of Rome?").passes
    assert scores(model, topics, "Which herbs suit a stew?").best == "cooking"


def test_the_same_vector_gets_the_same_scores(model: MiniLM) -> None:
    again, once = (scores(model, fit(model, EXAMPLES), "Fix my loop").values for _ in range(2))
    assert np.array_equal(again, once)


def test_a_threshold_of_the_file_replaces_the_fitted_one(model: MiniLM) -> None:
    strict = fit(model, EXAMPLES, {"code": 1.0, "weather": None})
    assert not scores(model, strict, "Fix my loop").passes
    assert scores(model, strict, "Fix my loop").threshold == 1.0
    lenient = fit(model, EXAMPLES, dict.fromkeys(EXAMPLES, 0.0))
    assert scores(model, lenient, "What is the boiling point of helium?").passes


@pytest.mark.parametrize(
    "examples",
    [
        pytest.param({"code": ["Write a Python function"]}, id="one-topic-one-example"),
        pytest.param({"code": EXAMPLES["code"], "hi": ["hello"]}, id="a-topic-with-one-example"),
        pytest.param({"code": ["Write a Python function"] * 5, "hi": ["hello"] * 5}, id="examples-all-the-same"),
    ],
)
def test_few_or_equal_examples_still_work(model: MiniLM, examples: dict[str, list[str]]) -> None:
    found = scores(model, fit(model, examples), "Write a Python function")
    assert (found.best, found.passes) == ("code", True)
    assert np.isfinite(found.values).all()


@pytest.mark.parametrize(("name", "words"), [("card_arrival", "card arrival"), ("a.b:c/d-e", "a b c d e")])
def test_a_name_is_spoken(name: str, words: str) -> None:
    assert spoken(name) == words


def test_the_best_score_is_the_same_alone_and_among_all(model: MiniLM, topics: Topics) -> None:
    for text in ("Fix my loop", "Is a storm coming?", "What is the boiling point of helium?", "hm"):
        found = scores(model, topics, text)
        assert found.values[found.best_index] == pytest.approx(found.score, abs=1e-6)
        assert found.values.max() == found.values[found.best_index]


def test_a_topic_far_from_the_text_has_a_low_score_beside_a_sure_one(model: MiniLM, topics: Topics) -> None:
    """An example's own words are as near as can be to one topic, and say nothing for the others."""
    for name, texts in EXAMPLES.items():
        for text in texts:
            ranked = scores(model, topics, text).ranked
            assert ranked[0][0] == name
            assert ranked[1][1] < 0.3 < FITTED_THRESHOLD < ranked[0][1]


def found_in(model: MiniLM, examples: dict[str, list[str]]) -> Findings:
    rows: dict[str, Vectors] = {name: model.embed_all(texts) for name, texts in examples.items()}
    return find(rows, model.embed_all(spoken(name) for name in examples))


def test_topics_apart_give_no_findings(model: MiniLM) -> None:
    assert found_in(model, EXAMPLES) == Findings((), ())


def test_an_example_in_the_wrong_topic_is_found(model: MiniLM) -> None:
    examples = {**EXAMPLES, "weather": [*EXAMPLES["weather"], "Play my favourite song"]}
    found = found_in(model, examples)
    assert [(one.topic, one.index, one.best) for one in found.misplaced] == [("weather", 4, "music")]
    assert found.misplaced[0].margin > 0
    assert found.overlaps == (), "one stray example is no overlap"


def test_topics_of_the_same_kind_overlap(model: MiniLM) -> None:
    rain = ["Will it snow tonight?", "What is the forecast?", "Is it sunny today?", "Will there be a thunderstorm?"]
    found = found_in(model, {**EXAMPLES, "forecast": rain})
    assert found.overlaps
    for one in found.overlaps:
        assert {one.topic, one.other} == {"weather", "forecast"}
        assert one.share == len(one.examples) / 4 >= 0.5


@pytest.mark.parametrize("examples", [{"code": ["Fix my loop"]}, {"code": ["Fix my loop"], "hi": ["hello"]}])
def test_findings_of_single_examples_do_not_fail(model: MiniLM, examples: dict[str, list[str]]) -> None:
    assert found_in(model, examples).overlaps == ()
