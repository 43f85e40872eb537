"""The fault matrix: every way to fail, with one target, with a second one, with a fallback model; streaming and not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx
import pytest

from tests.wire.faults import BREAKS, ODDITIES, Break, answer_of
from tests.wire.stage import CASES, Case, Stage, open_stage


class Played(NamedTuple):
    """What came of all cases, which are played side by side before the first is looked at."""

    stage: Stage
    answers: dict[str, httpx.Response]
    """By model."""
    metrics: str
    """What was counted by then: with a hundred series for each case, a look costs more than a case."""

    def attempts(self, model: str) -> dict[tuple[str, str], float]:
        """Counted attempts by target and outcome, those of this model."""
        found = re.findall(
            rf'^pointsman_attempts_total\{{outcome="(\w+)",target="(\w+/{model}(?:-2|-other)?)"\}} (\S+)',
            self.metrics, re.MULTILINE,
        )  # fmt: skip
        return {(target, outcome): float(value) for outcome, target, value in found}

    def fallbacks(self, model: str) -> dict[str, float]:
        """Counted fallbacks from this model, by cause."""
        return fallbacks_in(self.metrics, model)


def fallbacks_in(metrics: str, model: str) -> dict[str, float]:
    found = re.findall(
        rf'^pointsman_fallbacks_total\{{cause="(\w+)",from="{model}",to="[^"]+"\}} (\S+)', metrics, re.MULTILINE
    )
    return {cause: float(value) for cause, value in found}


def counted(stage: Stage) -> str:
    """The metrics of attempts and fallbacks that are not zero."""
    lines = stage.http.get("/metrics").text.splitlines()
    kept = ("pointsman_attempts_total{", "pointsman_fallbacks_total{")
    return "\n".join(line for line in lines if line.startswith(kept) and not line.endswith(" 0.0"))


@pytest.fixture(scope="module")
def wire() -> Iterator[Played]:
    is_stream = {case.model: case.stream for case in CASES}
    is_stream |= {f"break-{number}": True for number in range(len(BREAKS))}
    for number, (name, (_, _, encoding)) in enumerate(ODDITIES.items()):
        is_stream[f"odd-{number}"] = "JSON" not in name and not encoding and "201" not in name
    with open_stage() as stage, ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda model: stage.chat(model, stream=is_stream[model]), is_stream)
        by_model = dict(zip(is_stream, answers, strict=True))
        yield Played(stage, by_model, counted(stage))


def _label(case: Case) -> str:
    upstream = "dead" if case.fault.play is None else "bad" if case.fault.has_own_key else "open"
    return f"{upstream}/{case.model}"


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_before_there_is_content(wire: Played, case: Case) -> None:
    """The fault is repaired where something else can answer; else the client is told the truth of it."""
    fault, model, first = case.fault, case.model, _label(case)
    answer = wire.answers[model]
    is_alone = case.setup == "one target"
    listened = 0 if fault.play is None else 1
    if fault.moves_on and not is_alone:
        other = f"well/{model}-2" if case.setup == "second target" else f"well/{model}-other"
        assert (answer.status_code, answer.content) == (200, answer_of(stream=case.stream))
        assert answer.headers["x-pointsman-target"] == other
        assert answer.headers["x-pointsman-attempts"] == "2"
        assert wire.stage.asked(wire.stage.bad, model) == [model] * listened
        assert wire.stage.asked(wire.stage.well, model) == [other.removeprefix("well/")]
        assert wire.attempts(model) == {(first, fault.outcome): 1, (other, "ok"): 1}
        assert wire.fallbacks(model) == ({fault.outcome: 1} if case.setup == "fallback model" else {})
        return
    code = fault.alone[1]
    times = 3 if fault.repeats and is_alone else 1
    assert answer.status_code == fault.alone[0]
    assert answer.headers["x-pointsman-target"] == first
    assert answer.headers["x-pointsman-attempts"] == str(times)
    if fault.is_theirs:
        assert json.loads(answer.content) == {"error": {"message": "theirs"}}
        assert answer.content.startswith(b'{\n "error"'), "byte for byte"
    else:
        assert json.loads(answer.content)["error"]["code"] == code
    assert wire.stage.asked(wire.stage.bad, model) == [model] * times * listened
    assert wire.stage.asked(wire.stage.well, model) == []
    assert wire.attempts(model) == {(first, fault.outcome): times}
    assert wire.fallbacks(model) == {}


@pytest.mark.parametrize(
    ("number", "broken"), [pytest.param(n, broken, id=broken.name.replace(" ", "_")) for n, broken in enumerate(BREAKS)]
)
def test_after_content(wire: Played, number: int, broken: Break) -> None:
    """Nobody else is asked: whole events, then one that tells the error, and no end that was not there."""
    model = f"break-{number}"
    answer = wire.answers[model]
    assert answer.status_code == 200
    assert answer.content.startswith(broken.arrives)
    rest = answer.content.removeprefix(broken.arrives)
    assert rest.startswith(b"data: ")
    assert rest.endswith(b"\n\n")
    assert json.loads(rest.removeprefix(b"data: "))["error"]["code"] == broken.code
    assert wire.stage.asked(wire.stage.well, model) == []
    assert wire.attempts(model) == {(f"bad/{model}", broken.outcome): 1}


@pytest.mark.parametrize(
    ("number", "name"), [pytest.param(n, name, id=name.replace(" ", "_")) for n, name in enumerate(ODDITIES)]
)
def test_what_is_odd_and_right_passes_byte_for_byte(wire: Played, number: int, name: str) -> None:
    _, arrives, encoding = ODDITIES[name]
    answer = wire.answers[f"odd-{number}"]
    if encoding:
        assert answer.headers["content-encoding"] == encoding.decode()
        assert httpx.Response(200, headers={"content-encoding": "gzip"}, content=answer.content).content == arrives
    else:
        assert answer.content == arrives
    assert answer.headers["x-pointsman-attempts"] == "1"
    assert wire.attempts(f"odd-{number}") == {(f"bad/odd-{number}", "ok"): 1}


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_that_is_too_long_goes_to_a_larger_model_only(wire: Played, stream: bool) -> None:
    stage = wire.stage
    asked = len(stage.bad.exchanges)
    before = fallbacks_in(counted(stage), "small").get("context", 0)
    answer = stage.chat("small", stream=stream)
    assert (answer.status_code, answer.content) == (200, answer_of(stream=stream))
    assert (answer.headers["x-pointsman-model"], answer.headers["x-pointsman-target"]) == ("large", "well/large")
    assert len(stage.bad.exchanges) == asked + 1, "the one that is no larger is not asked"
    assert fallbacks_in(counted(stage), "small") == {"context": before + 1}
