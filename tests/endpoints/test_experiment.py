"""A split with an arm for the policy, through a server: who is where, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.endpoints.deciding import Deciding, deciding


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    with deciding(tmp_path_factory.mktemp("trial")) as running:
        yield running


def test_a_conversation_stays_in_its_arm_and_every_turn_says_so(trial: Deciding) -> None:
    assert trial.series()['experiment_decisions_total{arm="learned",route="trial"}'] == 0
    seen: dict[str, str] = {}
    for number in range(8):
        turns = (f"conversation {number}", "and then?", "and now?")
        answers = [trial.ask(*turns[: length + 1], x_trial="1") for length in range(3)]
        rows = [trial.row(answer) for answer in answers]
        (arm,) = {row["arm"] for row in rows}
        model, reason = {"large": ("large", "split"), "learned": ("small", "learned")}[arm]
        assert [row["reason"] for row in rows] == [reason, "conversation", "conversation"]
        assert {row["model"] for row in rows} == {model}
        assert rows[0]["propensity"] == pytest.approx(0.6 if arm == "large" else 0.4)
        assert (rows[0]["policy"] is None) == (arm == "large")
        assert all(rows[0]["vector"] for _ in rows), "either arm can be learned from"
        assert answers[0].headers["x-pointsman-reason"] == reason
        seen[arm] = turns[0]
        if len(seen) == 2:
            break
    counted = trial.until('experiment_decisions_total{arm="large",route="trial"}', 3.0 * (number + 1) - _learned(trial))
    assert counted['decisions_total{model="small",reason="learned",route="trial"}'] >= 1
    for arm, text in seen.items():
        body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
        assert trial.http.post("/v1/route", json=body, headers={"x-trial": "1"}).json()["arm"] == arm
    assert trial.row(trial.ask("hello"))["arm"] is None


def _learned(trial: Deciding) -> float:
    return trial.series()['experiment_decisions_total{arm="learned",route="trial"}']
