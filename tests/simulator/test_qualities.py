"""What a simulated model is worth, and what its answers tell of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from proxy.simulator import Qualities
from proxy.simulator.__main__ import main
from proxy.simulator.prompts import TOPICS, draw_prompts, topic_of
from proxy.simulator.qualities import BadQualities, read_qualities
from tests.simulator.conftest import Upstream
from tests.simulator.test_process import process

LOGIC = "Prove by induction that the rationals are countable"


@pytest.fixture
def upstream(upstream: Upstream) -> Iterator[Upstream]:
    yield upstream
    upstream.simulator.qualities.reset()


def told(answer: httpx.Response) -> tuple[float, int]:
    return float(answer.headers["x-simulated-quality"]), int(answer.headers["x-simulated-right"])


def test_prompts_are_thousands_of_several_topics_and_known_again() -> None:
    prompts = draw_prompts(20_000, seed=1)
    assert len({prompt.text for prompt in prompts}) == 20_000
    assert not [prompt for prompt in prompts if re.search(r"[{}\n]|  ", prompt.text)]
    assert all(topic_of(f" {prompt.text}\n") == prompt.topic for prompt in prompts[:200])
    assert topic_of("Prove by magic that the rationals are countable") is None
    assert (draw_prompts(50, seed=1), draw_prompts(50, seed=2) == prompts[:50]) == (prompts[:50], False)
    assert not set(prompts[:9000]) & set(draw_prompts(9000, seed=1, backwards=True))
    share = Counter(prompt.topic for prompt in prompts[:2000])
    assert set(share) == set(TOPICS)
    assert min(share.values()) > 2000 / len(TOPICS) * 0.7
    assert len(draw_prompts(25_000, seed=1)) == 25_000


def test_the_demos_models_differ_and_none_is_best_at_everything() -> None:
    qualities = Qualities()
    demo = ("gpt-4o-mini", "gpt-4o", "o3-mini")
    first = {prompt.topic: prompt.text for prompt in draw_prompts(1000, seed=0)}
    best = {topic: max(demo, key=lambda model: qualities.of(model, text)) for topic, text in first.items()}
    assert set(best.values()) == {"gpt-4o", "o3-mini"}
    assert any(qualities.of("gpt-4o", text) - qualities.of("gpt-4o-mini", text) < 0.05 for text in first.values())
    assert qualities.of("gpt-4o+cut-3", LOGIC) == qualities.of("gpt-4o", LOGIC)


def test_answers_are_right_as_often_as_told_and_the_same_again() -> None:
    qualities = Qualities()
    texts = [prompt.text for prompt in draw_prompts(4000, seed=5)]
    rights = [qualities.is_right("gpt-4o-mini", text) for text in texts]
    expected = [qualities.of("gpt-4o-mini", text) for text in texts]
    assert abs(sum(rights) - sum(expected)) < 4 * (0.25 * len(texts)) ** 0.5
    assert rights == [Qualities().is_right("gpt-4o-mini", text) for text in texts]
    assert rights != [qualities.is_right("gpt-4o-mini", text, "another seed") for text in texts]
    qualities.change({"gpt-4o-mini": {"default": 0.2}})
    worse = [qualities.is_right("gpt-4o-mini", text) for text in texts]
    assert all(before or not now for before, now in zip(rights, worse, strict=True))
    assert 0 < sum(worse) < sum(rights)


def test_a_change_keeps_what_was_said_of_others_and_a_reset_what_was_said_at_first() -> None:
    qualities = Qualities({"mine": {"default": 0.25}})
    qualities.change({"gpt-4o": {"default": 0.5}})
    qualities.change({"mine": {"default": 0.75}})
    assert [qualities.of(model, LOGIC) for model in ("mine", "gpt-4o")] == [0.75, 0.5]
    qualities.reset()
    assert [qualities.of(model, LOGIC) for model in ("mine", "gpt-4o")] == [0.25, Qualities().of("gpt-4o", LOGIC)]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": LOGIC}]}),
        ("chat/completions", {"messages": [{"role": "user", "content": LOGIC}], "stream": True}),
        ("completions", {"prompt": LOGIC}),
        ("responses", {"input": LOGIC}),
        ("messages", {"messages": [{"role": "user", "content": LOGIC}], "max_tokens": 50}),
    ],
)
def test_every_way_to_ask_a_model_tells(upstream: Upstream, path: str, body: dict[str, object]) -> None:
    headers = {"x-simulate-compare": "gpt-4o-mini, o3%2Dmini", "anthropic-version": "2023-06-01"}
    answer = upstream.http.post(f"/east/v1/{path}", json={"model": "gpt-4o", **body}, headers=headers)
    assert told(answer) == (0.55, int(upstream.simulator.qualities.is_right("gpt-4o", LOGIC)))
    assert answer.headers["x-simulated-compared"] == "0.25,0.9"


def test_what_is_no_answer_of_a_model_does_not(upstream: Upstream) -> None:
    for answer in (
        upstream.http.get("/east/v1/models"),
        upstream.http.post("/east/v1/embeddings", json={"model": "m", "input": LOGIC}),
        upstream.chat(LOGIC, headers={"x-simulate-status": "500"}),
    ):
        assert "x-simulated-quality" not in answer.headers
    assert told(upstream.chat("hello there"))[0] == 0.7


@pytest.mark.parametrize("path", ["/_simulator/qualities", "/east/v1/_simulator/qualities"])
def test_a_model_gets_silently_worse_and_well_again(upstream: Upstream, path: str) -> None:
    before = upstream.http.get(path).json()
    assert before["gpt-4o"]["logic"] == told(upstream.chat(LOGIC, model="gpt-4o"))[0]
    now = upstream.http.patch(path, json={"gpt-4o": {"default": 0, "sql": 0.3}})
    assert (now.json()["gpt-4o"]["sql"], now.json()["o3-mini"]) == (0.3, before["o3-mini"])
    assert told(upstream.chat(LOGIC, model="gpt-4o")) == (0, 0)
    assert told(upstream.chat(LOGIC, model="o3-mini"))[0] == before["o3-mini"]["logic"]
    refused = upstream.http.patch(path, json={"gpt-4o": {"default": 2}})
    assert (refused.status_code, "not a number from 0 to 1" in refused.text) == (400, True)
    assert upstream.http.put(path).status_code == 405
    assert upstream.http.delete(path).json() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "not JSON"),
        (b"[1]", "not an object"),
        (b'{"m": 0.5}', "'m': give an object with a 'default'"),
        (b'{"m": {"sql": 0.5}}', "'m': give an object with a 'default'"),
        (b'{"m": {"default": 0.5, "sqk": 1}}', "there is no topic 'sqk'; there are default, debugging, sql"),
        (b'{"m": {"default": true}}', "default is True, not a number from 0 to 1"),
        (b'{"m": {"default": -0.1}}', "default is -0.1, not a number from 0 to 1"),
    ],
)
def test_what_is_no_set_of_qualities_is_told(content: bytes, said: str) -> None:
    with pytest.raises(BadQualities, match=re.escape(said)):
        read_qualities(content)


def test_a_process_takes_them_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "qualities.json"
    path.write_text(json.dumps({"mine": {"default": 0.125}}))
    with process("--instant", "--qualities", str(path)) as (_, url):
        body = {"model": "mine", "messages": [{"role": "user", "content": LOGIC}]}
        assert told(httpx.post(f"{url}/v1/chat/completions", json=body))[0] == 0.125


def test_a_file_that_is_none_ends_the_process_with_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text("{")
    for name, said in (("bad.json", "bad.json: not JSON"), ("none", "none: cannot be read: No such file")):
        with pytest.raises(SystemExit, match="2"):
            main(["--qualities", str(tmp_path / name)])
        assert said in capsys.readouterr().err
