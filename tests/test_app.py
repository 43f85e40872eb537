"""The app as a whole: several in one process, an embedder in trouble, the fingerprint, and the money."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from proxy.app import build_app
from proxy.config import Config
from proxy.embedding import MiniLM, Vector
from proxy.reload.prepare import fingerprint
from tests.relay.wire import House, WordModel, config_of
from tests.relay.wire import house as open_house
from tests.serving import serving
from tests.telemetry.series import series

ROUTES = """
version: 1
upstreams:
  one: {base_url: "${SIM}/one/v1", api_key: "${KEY}"}
  two: {base_url: "${SIM}/two/v1"}
models:
  cheap: {target: {upstream: one, name: gpt-4o-mini}, price: {input: 2.5, cached_input: 0.25, output: 10}}
  plain: {target: {upstream: one, name: gpt-4o}, price: {input: 3, output: 7}}
  thinker: {target: {upstream: one, name: o3-mini}}
  spread: {targets: [{upstream: one, name: gpt-4o}, {upstream: two, name: gpt-4o}]}
default: cheap
rewrite: [routed]
embedding: {threads: 1, queue: 0, deadline: 5s}
topics:
  code: {examples: [fix the bug in my code, write code for a loop]}
  law: {examples: [draft a contract, is the clause valid]}
routes:
  - {name: urgent, when: {header: {x-priority: high}}, use: plain}
  - {name: code, when: {topic: code}, use: thinker}
"""


class GatedModel(WordModel):
    """Holds each text with the word `slow` until it is let, and fails on `bad`."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def embed(self, text: str) -> Vector:
        if "slow" in text:
            assert self.gate.wait(10)
        if "bad" in text:
            raise RuntimeError(text)
        return super().embed(text)


class Gated:
    """A house whose embedder a test can hold up."""

    def __init__(self, stack: ExitStack, embedding: str, *routes: str) -> None:
        self.model = GatedModel()
        text = ROUTES.replace("threads: 1, queue: 0, deadline: 5s", embedding)
        text += "".join(f"  - {route}\n" for route in routes)
        self.house = stack.enter_context(open_house(text, load_model=self._load))
        stack.callback(self.model.gate.set)

    def _load(self, config: Config) -> MiniLM:
        return self.model

    def ask(self, text: str, **headers: str) -> httpx.Response:
        return self.house.chat("auto", messages=[{"role": "user", "content": text}], headers=headers)

    def opened(self) -> dict[str, float]:
        """What failed open so far, by cause."""
        return {
            cause: count
            for cause in ("late", "full", "broken")
            if (count := self.house.metric(f'pointsman_fail_open_total{{cause="{cause}"}}'))
        }


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def way(answer: httpx.Response) -> tuple[int, str, str, str]:
    names = ("x-pointsman-route", "x-pointsman-model", "x-pointsman-reason")
    route, model, reason = (answer.headers[name] for name in names)
    return answer.status_code, route, model, reason


BY_TOPIC = (200, "code", "thinker", "topic")
OPENED = (200, "default", "cheap", "overload")
BY_RULE = (200, "urgent", "plain", "rule")


def test_late_is_decided_without_the_text_and_in_time_the_next_time(stack: ExitStack) -> None:
    gated = Gated(stack, "threads: 2, deadline: 100ms")
    answer = gated.ask("slow bug in my code")
    assert way(answer) == OPENED
    assert "x-pointsman-score" not in answer.headers
    assert gated.opened() == {"late": 1}
    assert way(gated.ask("slow bug in my code", **{"x-priority": "high"})) == BY_RULE
    assert way(gated.ask("fix the bug in my code")) == BY_TOPIC
    gated.model.gate.set()
    gated.house.wait_for_metric("pointsman_embed_queue", 0)
    assert way(gated.ask("slow bug in my code")) == BY_TOPIC
    assert gated.opened() == {"late": 1}


def test_full_is_decided_without_the_text_and_served_once_there_is_room(stack: ExitStack) -> None:
    gated = Gated(stack, "threads: 1, queue: 0, deadline: 5s")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(gated.ask, "slow bug in my code")
        gated.house.wait_for_metric("pointsman_embed_queue", 1)
        assert way(gated.ask("another bug in my code")) == OPENED
        assert gated.opened() == {"full": 1}
        assert way(gated.ask("another bug in my code", **{"x-priority": "high"})) == BY_RULE
        gated.model.gate.set()
        assert way(first.result(5)) == BY_TOPIC
    assert way(gated.ask("another bug in my code")) == BY_TOPIC
    assert gated.opened() == {"full": 1}


def test_broken_is_one_texts_matter(stack: ExitStack) -> None:
    gated = Gated(stack, "threads: 1, queue: 0, deadline: 5s")
    assert way(gated.ask("bad bug in my code")) == OPENED
    assert way(gated.ask("fix the bug in my code")) == BY_TOPIC
    assert way(gated.ask("bad bug in my code")) == OPENED
    assert gated.opened() == {"broken": 2}
    assert gated.house.metric('pointsman_decisions_total{model="cheap",reason="overload",route="default"}') == 2


def test_what_no_topic_was_found_for_is_not_refused_as_one_of_no_topic(stack: ExitStack) -> None:
    others = "{name: others, when: {not: {topic: code}}, block: {status: 403}}"
    gated = Gated(stack, "threads: 1, queue: 0, deadline: 5s", others)
    assert gated.ask("draft a contract").status_code == 403
    assert way(gated.ask("bad bug in my code")) == OPENED
    assert way(gated.ask("")) == (200, "default", "cheap", "default")


def test_route_tells_that_the_text_could_not_be_looked_at(stack: ExitStack) -> None:
    gated = Gated(stack, "threads: 1, queue: 0, deadline: 5s")
    body = {"model": "auto", "messages": [{"role": "user", "content": "bad bug"}]}
    told = gated.house.http.post("/v1/route", json=body).json()
    assert (told["route"], told["reason"], told["topic"]) == ("default", "overload", None)
    assert "broken" in told["note"]


def test_a_model_that_does_not_load_stops_the_start(caplog: pytest.LogCaptureFixture) -> None:
    def load(config: Config) -> MiniLM:
        raise FileNotFoundError("model.onnx is missing")

    with pytest.raises(RuntimeError), serving(build_app(config_of(ROUTES, SIM="http://127.0.0.1:9"), load_model=load)):
        pass
    assert "model.onnx is missing" in caplog.text


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house(ROUTES) as house:
        yield house


def test_two_apps_in_one_process_count_apart_and_one_can_start_again(house: House) -> None:
    decided = 'decisions_total{model="cheap",reason="pinned",route="pinned"}'
    app = build_app(config_of(ROUTES, SIM="http://127.0.0.1:9"), load_model=lambda _: WordModel())
    for _ in range(2):  # once more after its lifespan has ended
        before = series(house.http.get("/metrics").text)
        with serving(app) as other, httpx.Client(base_url=other.url) as client:
            assert series(client.get("/metrics").text)[decided] == 0
            assert client.post("/v1/chat/completions", json={"model": "cheap", "messages": []}).status_code == 502
            assert series(client.get("/metrics").text)[decided] == 1
        assert series(house.http.get("/metrics").text) == before


# The fingerprint.

BASE = ROUTES.replace("${SIM}", "http://sim")
OTHERWISE = re.sub(r"#.*", "", BASE).replace("{input: 3, output: 7}", "{output: 7.0, input: 3.0}").replace(
    "deadline: 5s", "deadline: 5000ms"
) + "tests: []\nserver: {body_timeout: 60s}\n"  # fmt: skip


def mark(text: str, **environ: str) -> str:
    return fingerprint(config_of(text, **environ))


def test_the_fingerprint_is_the_same_for_the_same_meaning() -> None:
    assert re.fullmatch("[0-9a-f]{64}", mark(BASE))
    assert mark(BASE) == mark(BASE)
    assert mark(BASE) == mark("# a comment\n" + BASE + "\n")
    assert mark(BASE) == mark(OTHERWISE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("input: 3", "input: 3.01", id="price"),
        pytest.param("deadline: 5s", "deadline: 6s", id="duration"),
        pytest.param("http://sim/two", "http://sim/three", id="address"),
        pytest.param("default: cheap", "default: plain", id="default"),
        pytest.param("[routed]", "[]", id="rewrite"),
        pytest.param("a loop", "a loop!", id="example"),
        pytest.param("x-priority: high", "x-priority: low", id="condition"),
        pytest.param("name: urgent", "name: hurried", id="name"),
        pytest.param("name: o3-mini", "name: o4-mini", id="target"),
        pytest.param("two, name: gpt-4o}", "two, name: gpt-4o, weight: 2}", id="weight"),
    ],
)
def test_the_fingerprint_differs_for_another_meaning(old: str, new: str) -> None:
    assert BASE.count(old) == 1
    assert mark(BASE.replace(old, new)) != mark(BASE)


def test_the_order_of_routes_is_meaning() -> None:
    lines = BASE.rstrip("\n").split("\n")
    swapped = "\n".join([*lines[:-2], lines[-1], lines[-2]])
    assert mark(swapped) != mark(BASE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("small: {target: {upstream: a, name: s}}", "large: {target: {upstream: a, name: l}}", id="models"),
        pytest.param("small: 50", "large: 50", id="arms"),
    ],
)
def test_so_is_the_order_of_names(one: str, other: str) -> None:
    text = (
        "version: 1\nupstreams: {a: {base_url: http://sim}}\n"
        "models: {small: {target: {upstream: a, name: s}}, large: {target: {upstream: a, name: l}}}\n"
        "default: small\nroutes: [{name: trial, use: {split: {small: 50, large: 50}}}]\n"
    )
    swapped = text.replace(f"{one}, {other}", f"{other}, {one}")
    assert swapped != text
    assert mark(swapped) != mark(text)


def test_the_fingerprint_tells_nothing_of_a_secret() -> None:
    """Else it could be guessed and checked by whoever may read /metrics."""
    assert mark(BASE, KEY="sk-one") == mark(BASE, KEY="sk-two")


# The money.


def usage_of(answer: httpx.Response) -> tuple[int, int, int, int]:
    usage = answer.json()["usage"]
    return (
        usage["prompt_tokens"],
        usage["prompt_tokens_details"]["cached_tokens"],
        usage["completion_tokens"],
        usage["completion_tokens_details"]["reasoning_tokens"],
    )


def tokens(house: House, model: str) -> tuple[float, ...]:
    kinds = ("prompt", "cached", "completion", "reasoning")
    return tuple(house.metric(f'pointsman_tokens_total{{kind="{kind}",model="{model}"}}') for kind in kinds)


@pytest.mark.parametrize(
    ("model", "prices"),
    [
        pytest.param("cheap", (2.5, 0.25, 10.0), id="cached-tokens-have-a-price"),
        pytest.param("plain", (3.0, 3.0, 7.0), id="cached-tokens-cost-as-others"),
        pytest.param("thinker", (0.0, 0.0, 0.0), id="no-price"),
    ],
)
def test_tokens_and_what_they_cost_to_the_last_digit(
    house: House, model: str, prices: tuple[float, float, float]
) -> None:
    cost = f'pointsman_cost_usd_total{{model="{model}"}}'
    words = [{"role": "user", "content": "hello there my good old friend of many many words"}]
    tokens_before, cost_before = tokens(house, model), house.metric(cost)
    answer = house.chat(model, messages=words, headers={"x-simulate-cached-tokens": "4"})
    prompt, cached, completion, reasoning = usage_of(answer)
    assert (cached, prompt > 4, completion > 0) == (4, True, True)
    assert (reasoning > 0) == (model == "thinker")
    house.wait_for_metric(f'pointsman_tokens_total{{kind="prompt",model="{model}"}}', tokens_before[0] + prompt)
    assert tuple(
        now - before for now, before in zip(tokens(house, model), tokens_before, strict=True)
    ) == (prompt, cached, completion, reasoning)  # fmt: skip
    fresh, again, out = prices
    expected = ((prompt - cached) * fresh + cached * again + completion * out) / 1e6
    assert house.metric(cost) - cost_before == pytest.approx(expected, rel=1e-12, abs=1e-18)


@pytest.mark.parametrize("wants_usage", [True, False])
def test_a_stream_counts_its_usage_when_it_says_so(house: House, wants_usage: bool) -> None:
    before = tokens(house, "plain")
    cost_before = house.metric('pointsman_cost_usd_total{model="plain"}')
    headers = {"x-simulate-tokens": "11", "x-simulate-cached-tokens": "0"}
    house.chat("plain", stream=True, stream_options={"include_usage": wants_usage}, headers=headers)
    after = tokens(house, "plain")
    cost = house.metric('pointsman_cost_usd_total{model="plain"}') - cost_before
    if wants_usage:
        assert after[2] - before[2] == 11
        assert cost == pytest.approx(((after[0] - before[0]) * 3 + 11 * 7) / 1e6)
    else:
        assert (after, cost) == (before, 0)


# Several targets of one model.


def test_each_target_of_a_model_gets_its_share(house: House) -> None:
    seen = Counter(house.chat("spread").headers["x-pointsman-target"] for _ in range(40))
    assert set(seen) == {"one/gpt-4o", "two/gpt-4o"}
    assert seen == Counter(
        f"{entry.path.split('/')[1]}/gpt-4o" for entry in house.simulator.log.entries()[-40:]
    )  # fmt: skip
    for target in seen:
        assert house.metric(f'pointsman_attempts_total{{outcome="ok",target="{target}"}}') >= seen[target]
