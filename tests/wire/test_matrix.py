"""The fault matrix: what each way to fail comes to, for the client, for the upstreams and in the metrics."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.wire.faults import BREAKS, HUGE, ODDITIES, Break, answer_of
from tests.wire.matrix import CASES, Ask, Case, Played, odd_ask, play
from tests.wire.page import page

PAGE = Path(__file__).parents[2] / "docs" / "wire.md"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_before_there_is_content(played: Played, case: Case) -> None:
    """The fault is repaired where something else can answer; else the client is told the truth of it."""
    fault, model, first = case.fault, case.model, case.label
    answer = played.answers[Ask(model, case.stream)]
    is_alone = case.setup == "one target"
    listened = 0 if fault.play is None else 1
    if fault.moves_on and not is_alone:
        other = f"well/{model}-second" if case.setup == "second target" else f"well/{model}-other"
        assert (answer.status_code, answer.content) == (200, answer_of(stream=case.stream))
        assert answer.headers["x-pointsman-target"] == other
        assert answer.headers["x-pointsman-attempts"] == "2"
        assert played.names("bad", model) == [model] * listened
        assert played.names("well", model) == [other.removeprefix("well/")]
        assert played.counted[model] == {(first, fault.outcome): 1, (other, "ok"): 1}
        assert played.fell_back.get(model, {}) == ({fault.outcome: 1} if case.setup == "fallback model" else {})
        return
    code = fault.alone[1]
    times = 3 if fault.repeats and is_alone else 1
    assert answer.status_code == fault.alone[0]
    assert answer.headers["x-pointsman-target"] == first
    assert answer.headers["x-pointsman-attempts"] == str(times)
    if fault.is_theirs:
        assert json.loads(answer.content) == {"error": {"message": "theirs", **({"code": code} if code else {})}}
        assert answer.content.startswith(b'{\n "error"'), "byte for byte"
    else:
        assert json.loads(answer.content)["error"]["code"] == code
    assert played.names("bad", model) == [model] * times * listened
    assert played.names("well", model) == []
    assert played.counted[model] == {(first, fault.outcome): times}
    assert played.fell_back.get(model, {}) == {}


@pytest.mark.parametrize(
    ("number", "broken"), [pytest.param(n, broken, id=broken.name.replace(" ", "_")) for n, broken in enumerate(BREAKS)]
)
def test_after_content(played: Played, number: int, broken: Break) -> None:
    """Nobody else is asked: whole events, then one that tells the error, and no end that was not there."""
    model = f"break-{number}"
    answer = played.answers[Ask(model, True)]
    assert answer.status_code == 200
    assert answer.content.startswith(broken.arrives)
    rest = answer.content.removeprefix(broken.arrives)
    if broken.code:
        assert rest.startswith(b"data: ")
        assert rest.endswith(b"\n\n")
        assert json.loads(rest.removeprefix(b"data: "))["error"]["code"] == broken.code
    else:
        assert HUGE.startswith(rest)
    assert played.names("well", model) == []
    assert played.counted[model] == {(f"bad/{model}", broken.outcome): 1}


def test_none_is_cut_that_could_be_told_the_truth(played: Played) -> None:
    untold = {Ask(f"break-{number}", True) for number, broken in enumerate(BREAKS) if not broken.code}
    assert played.cut == untold


@pytest.mark.parametrize(
    ("number", "name"), [pytest.param(n, name, id=name.replace(" ", "_")) for n, name in enumerate(ODDITIES)]
)
def test_what_is_odd_and_right_passes_byte_for_byte(played: Played, number: int, name: str) -> None:
    _, arrives, encoding = ODDITIES[name]
    answer = played.answers[odd_ask(number, name)]
    if encoding:
        assert answer.headers["content-encoding"] == encoding.decode()
        assert httpx.Response(200, headers={"content-encoding": "gzip"}, content=answer.content).content == arrives
    else:
        assert answer.content == arrives
    assert answer.headers["x-pointsman-attempts"] == "1"
    assert played.counted[f"odd-{number}"] == {(f"bad/odd-{number}", "ok"): 1}


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_that_is_too_long_goes_to_a_larger_model_only(played: Played, stream: bool) -> None:
    answer = played.answers[Ask("small", stream)]
    assert (answer.status_code, answer.content) == (200, answer_of(stream=stream))
    assert (answer.headers["x-pointsman-model"], answer.headers["x-pointsman-target"]) == ("large", "well/large")
    assert played.names("bad", "small") == ["small"] * 2, "for each request once"
    assert played.names("bad", "no-larger") == []
    assert played.fell_back["small"] == {"context": 2}


def test_the_page_tells_what_was_seen(played: Played) -> None:
    assert PAGE.read_text("utf-8") == page(played), "python -m tests.wire > docs/wire.md"
