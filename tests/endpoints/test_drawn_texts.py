"""A split by shares alone looks at no text to decide; what it draws is looked at afterwards, to be learned from."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proxy.embedding import Vector
from proxy.learning.stored_facts import asked_of
from proxy.learning.stored_rows import vector_of
from proxy.routing.policy_file import pack
from proxy.routing.shape import shape_of
from tests.cli.test_train import run
from tests.endpoints.deciding import FILE, Deciding, Words, deciding, policy_for

SPLIT = FILE.replace(
    "\n  - {name: all,",
    '\n  - {name: even, when: {header: {x-even: "*"}}, use: {split: {small: 1, large: 1}}}\n  - {name: all,',
)


@pytest.fixture
def split(tmp_path: Path) -> Iterator[Deciding]:
    with deciding(tmp_path, SPLIT) as running:
        yield running


def drawn(running: Deciding, text: str) -> dict[str, Any]:
    answer = running.ask(text, x_even="1")
    assert answer.headers["x-pointsman-reason"] == "split"
    return running.row(answer)


def test_the_text_of_what_was_drawn_is_kept_as_a_vector_and_a_policy_is_trained_on_it(split: Deciding) -> None:
    texts = [f"question {number} of {number % 7} and {number % 11}" for number in range(80)]
    rows = [drawn(split, text) for text in texts]
    for text, row in zip(texts, rows, strict=True):
        assert row["propensity"] == 0.5
        assert np.allclose(vector_of(row["vector"]), split.words.embed(text), atol=1e-3)
        assert asked_of(row["facts"])[1] == pytest.approx(shape_of(text), rel=1e-3)
        if row["model"] == "large":
            split.http.post("/v1/feedback", json={"id": row["id"], "rating": "down"})
    assert split.series()['embed_cache_total{result="miss"}'] == 0, "no request waited for it"

    store, out = f"sqlite:///{split.folder / 'store.db'}", split.folder / "new.npz"
    told = run("train", "--store", store, "--folds", 2, "--out", out, "--json")
    assert (told.exit_code, told.stderr) == (0, "")
    found = json.loads(told.stdout)
    assert (found["rows"], found["left_out"]) == (80, {})


def test_each_picture_is_a_question_of_its_own(split: Deciding) -> None:
    def ask(picture: int, *later: dict[str, Any]) -> dict[str, Any]:
        shown = {"type": "image_url", "image_url": {"url": f"https://pictures.example/{picture}.png"}}
        said = [{"type": "text", "text": "Describe what can be seen in this picture"}, shown]
        body = {"model": "auto", "messages": [{"role": "user", "content": said}, *later]}
        headers = {"x-even": "1", "authorization": "Bearer sk-one"}
        answer = split.http.post("/v1/chat/completions", json=body, headers=headers)
        return split.row(answer, headers)

    rows = [ask(picture) for picture in range(12)]
    assert {row["retry_of"] for row in rows} == {None}
    assert len({row["conversation_hash"] for row in rows}) == 12
    assert {row["model"] for row in rows} == {"small", "large"}, "each is drawn for"
    later = [{"role": "assistant", "content": "a cat"}, {"role": "user", "content": "and its colour?"}]
    for picture, row in enumerate(rows):
        assert ask(picture, *later)["conversation_hash"] == row["conversation_hash"]
    assert ask(11)["retry_of"] == rows[11]["id"]


def test_what_nothing_can_be_learned_from_is_not_looked_at(split: Deciding) -> None:
    assert split.row(split.ask("hello", x_fixed="1"))["vector"] is None


def test_it_waits_for_a_moment_when_nobody_elses_is_and_not_for_long(split: Deciding) -> None:
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(split.ask, "slow words")
        split.until("embed_queue", 1)
        row = drawn(split, "never seen")
        assert (row["vector"], json.loads(row["facts"]).get("shape")) == (None, None)
        answer = split.ask("seen later", x_even="1")
        split.words.gate.set()
        assert split.row(answer)["vector"] is not None
        assert waits.result().headers["x-pointsman-model"] == "small"


def test_what_was_answered_is_kept_though_the_end_comes_while_texts_are_looked_at(tmp_path: Path) -> None:
    with deciding(tmp_path, SPLIT) as running:
        running.words.takes_s = 0.3  # longer than the store takes to end
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: running.ask(f"question {number}", x_even="1"), range(8)))
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert connection.execute("SELECT count(*) FROM decisions").fetchone() == (8,)


def test_a_shadow_looks_at_the_same(tmp_path: Path) -> None:
    with deciding(
        tmp_path, SPLIT + "shadow: {policy: other.npz}\n", {"other.npz": pack(policy_for("coder"))}
    ) as running:
        row = drawn(running, "good morning")
        assert row["vector"] is not None
        assert (row["shadow_route"], row["shadow_model"]) == ("even", row["model"])


@pytest.mark.parametrize("headers", [{}, {"x_even": "1"}], ids=["to-decide", "afterwards"])
def test_of_a_long_text_the_beginning_and_the_end_are_looked_at(split: Deciding, headers: dict[str, str]) -> None:
    """What waits for the embedder, and what is remembered, is no larger than what that can read."""
    text = "first " * 5_000 + "middle " * 5_000 + "last " * 5_000
    vector = vector_of(split.row(split.ask(text, **headers))["vector"])
    likeness = {word: float(vector @ split.words.embed(word)) for word in ("first", "middle", "last")}
    assert min(likeness["first"], likeness["last"]) > 0.5 > 0.3 > likeness["middle"]


def test_what_could_not_be_looked_at_is_not_tried_again_when_the_answer_is_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for the store nor for the shadow: the embedder that was late would be given the same work twice more."""
    seen: list[str] = []

    sound = Words.embed

    def embed(words: Words, text: str) -> Vector:
        seen.append(text)
        return sound(words, text)

    monkeypatch.setattr(Words, "embed", embed)
    text = SPLIT + "shadow: {policy: other.npz}\n"
    with deciding(tmp_path, text, {"other.npz": pack(policy_for("coder"))}) as running:
        seen.clear()  # of the start
        row = running.row(running.ask("bad words", x_trial="1"))
    assert (row["vector"], row["shadow_model"], row["propensity"] < 1) == (None, None, True)
    assert seen == ["bad words"]
