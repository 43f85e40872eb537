"""A split with an arm for the policy, through a server: who is where, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.routing.policy_file import pack
from tests.endpoints.deciding import Deciding, deciding, policy_for


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


@pytest.mark.parametrize("headers", [{}, {"x_trial": "1"}], ids=["learned", "an-arm"])
def test_what_the_policy_chose_blindly_is_not_what_the_next_turns_go_by(
    headers: dict[str, str], tmp_path: Path
) -> None:
    # Of what it knows nothing of it thinks that `small` is best, of all else that `coder` is.
    policy = replace(policy_for("coder"), means=policy_for("small").means)
    with deciding(tmp_path, files={"live.npz": pack(policy)}) as running:
        for number in range(64):
            first = running.ask(f"bad {number}", **headers)
            if first.headers["x-pointsman-reason"] == "overload":
                break
        assert first.headers["x-pointsman-model"] == "small"
        ways = [
            running.ask(*(f"bad {number}", "and then?", "and now?")[:length], **headers).headers for length in (2, 3)
        ]
    assert [way["x-pointsman-model"] for way in ways] == ["coder", "coder"]
    assert [way["x-pointsman-reason"] for way in ways] == ["learned", "conversation"]
