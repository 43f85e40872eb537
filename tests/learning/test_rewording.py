"""Rewordings change what is said and not what is asked."""

from __future__ import annotations

import numpy as np

from proxy.learning.fit import fit_policy
from proxy.learning.rewording import REWORDINGS, flip_rates
from tests.learning.made import made


def test_each_rewording_is_another_text() -> None:
    text = "What is the Capital\nof France?"
    said = {change(text) for change in REWORDINGS.values()}
    assert len(said) == len(REWORDINGS)
    assert text not in said


def test_a_vector_that_stays_flips_nothing_and_one_that_turns_around_does() -> None:
    rows = made()
    policy = fit_policy(rows, embedder="e")
    texts = [f"Question {number}?" for number in range(40)]

    def embed(said: object, sign: float = 1.0) -> dict[str, np.ndarray]:
        assert isinstance(said, list)
        return {
            text: rows.inputs[int(text.split()[-1].strip("?")) if text in texts else 0, :768]
            * (1 if text in texts else sign)
            for text in said
        }

    assert set(flip_rates(policy, {texts[0]: 20.0}, embed)) == set(REWORDINGS)
    assert set(flip_rates(policy, {texts[0]: 20.0}, embed).values()) == {0.0}
