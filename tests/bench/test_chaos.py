"""Chaos: a wrong answer is told from a right one and from one that was cut, and a real run has no wrong one."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.chaos import Plan, judge, one_round, routes, upstream
from bench.chaos_report import Held, Round, complaints, show
from bench.client import Reply
from bench.faulty import stream_by
from bench.mortal import start
from bench.processes import Cores
from proxy.app import build_app
from proxy.config import parse_config
from tests.serving import serving

NUMBER = b"00000042"
WHOLE = stream_by("killed", NUMBER)
BEGUN = b"".join(event + b"\n\n" for event in WHOLE.split(b"\n\n")[:3])
ERROR = b'data: {"error":{"message":"gone","type":"server_error","param":null,"code":"upstream_cut"}}\n\n'
CALM = Held(files=17, tasks=3, in_flight=0, rss_mb=140.0)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        pytest.param(WHOLE, "right", id="whole"),
        pytest.param(BEGUN + ERROR, "told", id="cut-and-told"),
        pytest.param(BEGUN, "short", id="cut-and-not-told"),
        pytest.param(BEGUN[:-9] + ERROR, "wrong bytes", id="cut-in-an-event"),
        pytest.param(BEGUN + ERROR + ERROR, "wrong bytes", id="told-twice"),
        pytest.param(BEGUN + ERROR + b"data: [DONE]\n\n", "wrong bytes", id="an-invented-end"),
        pytest.param(BEGUN + ERROR.replace(b"}}", b"},"), "wrong bytes", id="not-well-formed"),
        pytest.param(WHOLE + ERROR, "wrong bytes", id="told-after-the-end"),
        pytest.param(ERROR, "wrong bytes", id="nothing-but-the-error"),
        pytest.param(stream_by("killed", b"00000043"), "wrong bytes", id="of-another-request"),
        pytest.param(BEGUN + stream_by("healthy", NUMBER)[len(BEGUN) :], "wrong bytes", id="from-two-upstreams"),
    ],
)
def test_words(body: bytes, word: str) -> None:
    assert judge(Reply(200, {"x-pointsman-target": "killed/chaos"}, body), NUMBER) == word
    assert judge(Reply(503, {}, body), NUMBER) == "status 503"


def seen(*told: tuple[str, float], **counts: int) -> Round:
    words = Counter({word.replace("_", " "): count for word, count in counts.items()})
    return Round("killed", [5.0, 10.0], 2.0, words, list(told), after=CALM)


def test_only_what_a_kill_cut_is_counted_apart() -> None:
    excused = ("killed", 5.1)
    assert complaints([seen(excused, right=999, told=1)], CALM) == []
    assert seen(excused, right=999, told=1).success == 1.0
    assert complaints([seen(right=9989, status_502=11)], CALM) == [
        "round 1: 99.890% of the requests that could succeed did"
    ]
    for other in (("healthy", 5.1), ("killed", 4.9), ("killed", 12.5)):
        assert len(complaints([seen(other, right=9, told=1)], CALM)) == 1


@pytest.mark.parametrize("word", ["wrong bytes", "short", "lost"])
def test_one_wrong_answer_of_many_is_too_much(word: str) -> None:
    assert complaints([seen(right=1_000_000, **{word: 1})], CALM) == [f"round 1: 1 x {word}"]


def test_what_is_left_behind_is_told() -> None:
    for left in (Held(18, 3, 0, 140), Held(17, 4, 0, 140), Held(17, 3, 1, 140)):
        left_behind = seen(right=9)
        left_behind.after = left
        assert "left something behind" in complaints([left_behind], CALM)[0]
    grown = seen(right=9)
    grown.after = Held(17, 3, 0, 155)
    assert complaints([grown], CALM) == [], "the first round fills what is meant to be filled"
    assert complaints([seen(right=9), grown], CALM) == ["memory grew by 15.0 MB after the first round"]


@pytest.mark.slow
def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The bench's own, with real upstreams and real kills."""
    plan = Plan(seconds=3, streams=20, every=1, dead=0.5, errors=0.2, wait=0.05, pace=0.005)
    with ExitStack() as stack:
        upstreams = {
            name: upstream(name, tmp_path, Cores.choose().load, stack, plan) for name in ("killed", "erring", "healthy")
        }
        text = routes({name: each.port for name, each in upstreams.items()})
        start(upstreams.values())
        app = build_app(parse_config(text, source="routes.yaml", environ={}))
        served = stack.enter_context(serving(app))
        chaos = asyncio.run(one_round(served.port, upstreams["killed"], plan, itertools.count(1)))
    chaos.after = CALM
    assert complaints([chaos], CALM) == []
    assert len(chaos.kills) == 2
    assert chaos.counts["right"] > 100
    assert {target for target, _ in chaos.by_target} == {"killed/chaos", "erring/chaos", "healthy/chaos"}
    show([chaos], CALM, as_json=True)
    assert json.loads(capsys.readouterr().out)["rounds"][0]["requests"] == chaos.requests
    show([chaos], CALM, as_json=False)
    assert "right, byte for byte" in capsys.readouterr().out
