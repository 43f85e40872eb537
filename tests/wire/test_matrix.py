"""
The fault matrix: every way to fail, with one target, with a second one, with a fallback model; streaming and not.

Each case has a model of its own, so that none finds another's targets at rest.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import httpx
import pytest

from proxy.app import build_app
from proxy.server.protocol import Protocol
from tests.relay.wire import MESSAGES, Exchange, RawUpstream, config_of, dead_port, word_model
from tests.serving import serving
from tests.wire.faults import BREAKS, FAULTS, ODDITIES, Break, Fault, answer_of, good

SETUPS = ("one target", "second target", "fallback model")


class Case(NamedTuple):
    number: int
    fault: Fault
    setup: str
    stream: bool

    @property
    def model(self) -> str:
        return f"case-{self.number}"

    @property
    def id(self) -> str:
        return f"{self.fault.name}-{self.setup}-{'stream' if self.stream else 'whole'}".replace(" ", "_")


CASES = [
    Case(number, fault, setup, stream)
    for number, (fault, setup, stream) in enumerate(itertools.product(FAULTS, SETUPS, (True, False)))
    if fault.only != ("whole" if stream else "stream")
]


def _config() -> str:
    models: list[str] = []

    def model(name: str, first: str, *others: str, hasty: bool = False, fallback: str = "") -> None:
        targets = [f"{{upstream: {first}, name: {name}, weight: 1000000}}"]
        targets += [f"{{upstream: {other}, name: {name}-2, weight: 0.000001}}" for other in others]
        timeouts = ", timeouts: {first_token: 200ms, idle: 200ms}" if hasty else ""
        fallbacks = f", fallbacks: [{fallback}]" if fallback else ""
        models.append(f"  {name}: {{targets: [{', '.join(targets)}]{timeouts}{fallbacks}}}")

    for case in CASES:
        first = "dead" if case.fault.play is None else "bad" if case.fault.has_own_key else "open"
        hasty = case.fault.is_hasty
        if case.setup == "second target":
            model(case.model, first, "well", hasty=hasty)
        elif case.setup == "fallback model":
            model(case.model, first, hasty=hasty, fallback=f"{case.model}-other")
            model(f"{case.model}-other", "well")
        else:
            model(case.model, first, hasty=hasty)
    for number, broken in enumerate(BREAKS):
        model(f"break-{number}", "bad", "well", hasty=broken.is_hasty, fallback="sound")
    for number in range(len(ODDITIES)):
        model(f"odd-{number}", "bad")
    model("sound", "well")
    model("small", "bad", fallback="small-2, large")
    model("small-2", "bad")
    lines = "\n".join(models)
    lines += "\n  large: {targets: [{upstream: well, name: large}], context: 100000}\n"
    lines = lines.replace("  small: {", "  small: {context: 1000, ").replace(
        "  small-2: {", "  small-2: {context: 1000, "
    )
    return f"""
version: 1
upstreams:
  bad: {{base_url: "${{BAD}}/v1", api_key: "${{KEY}}"}}
  open: {{base_url: "${{BAD}}/v1"}}
  well: {{base_url: "${{WELL}}/v1", api_key: "${{KEY}}"}}
  dead: {{base_url: "${{DEAD}}/v1"}}
models:
{lines}
rewrite: []
default: sound
retry: {{free: 1000000}}
"""


class Wire(NamedTuple):
    bad: RawUpstream
    well: RawUpstream
    http: httpx.Client

    def chat(self, model: str, *, stream: bool) -> httpx.Response:
        """The answer with its bytes as they came over the wire."""
        body = {"model": model, "messages": MESSAGES, "stream": stream}
        request = self.http.build_request("POST", "/v1/chat/completions", json=body)
        answer = self.http.send(request, stream=True)
        answer._content = b"".join(answer.iter_raw())
        answer.close()
        return answer

    def asked(self, upstream: RawUpstream, model: str) -> list[str]:
        """The model names under which an upstream was asked on behalf of this model."""
        names = [json.loads(exchange.body)["model"] for exchange in upstream.exchanges]
        return [name for name in names if name in (model, f"{model}-2", f"{model}-other")]

    def attempts(self, model: str) -> dict[tuple[str, str], float]:
        """Counted attempts by target and outcome, those of this model."""
        found: dict[tuple[str, str], float] = {}
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith("pointsman_attempts_total{") and not line.endswith(" 0.0"):
                labels, value = line.removeprefix("pointsman_attempts_total{").split("} ")
                outcome, target = (part.split("=", 1)[1].strip('"') for part in labels.split(","))
                if target.split("/")[1] in (model, f"{model}-2", f"{model}-other"):
                    found[target, outcome] = float(value)
        return found

    def fallbacks(self, model: str) -> dict[str, float]:
        """Counted fallbacks from this model, by cause."""
        found: dict[str, float] = {}
        for line in self.http.get("/metrics").text.splitlines():
            if (
                line.startswith("pointsman_fallbacks_total{")
                and f'from="{model}"' in line
                and not line.endswith(" 0.0")
            ):
                found[line.split('cause="')[1].split('"')[0]] = float(line.rsplit(" ", 1)[1])
        return found


PLAYS = {case.model: case.fault.play for case in CASES}
PLAYS |= {f"break-{number}": broken.play for number, broken in enumerate(BREAKS)}
PLAYS |= {f"odd-{number}": play for number, (play, _, _) in enumerate(ODDITIES.values())}


@contextmanager
def _raw() -> Iterator[RawUpstream]:
    raw = RawUpstream()
    try:
        yield raw
    finally:
        raw.close()


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    def misbehave(exchange: Exchange) -> None:
        asked = json.loads(exchange.body)
        play = PLAYS.get(asked["model"])
        if play is not None:
            play(exchange, asked["stream"])
            return
        error = b'{"error":{"message":"too long","code":"context_length_exceeded"}}'
        exchange.answer(error, b"content-type: application/json", status=b"400 Bad Request")

    def behave(exchange: Exchange) -> None:
        good(exchange, json.loads(exchange.body)["stream"])

    with _raw() as bad, _raw() as well, dead_port() as dead:
        bad.script, well.script = misbehave, behave
        config = config_of(
            _config(),
            BAD=f"http://127.0.0.1:{bad.port}",
            WELL=f"http://127.0.0.1:{well.port}",
            DEAD=f"http://127.0.0.1:{dead}",
        )
        with (
            serving(build_app(config, load_model=word_model), http=Protocol) as served,
            httpx.Client(base_url=served.url, timeout=10, headers={"accept-encoding": "identity"}) as http,
        ):
            yield Wire(bad, well, http)


def _label(case: Case) -> str:
    upstream = "dead" if case.fault.play is None else "bad" if case.fault.has_own_key else "open"
    return f"{upstream}/{case.model}"


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_before_there_is_content(wire: Wire, case: Case) -> None:
    """The fault is repaired where something else can answer; else the client is told the truth of it."""
    fault, model, first = case.fault, case.model, _label(case)
    answer = wire.chat(model, stream=case.stream)
    is_alone = case.setup == "one target"
    listened = 0 if fault.play is None else 1
    if fault.moves_on and not is_alone:
        other = f"well/{model}-2" if case.setup == "second target" else f"well/{model}-other"
        assert (answer.status_code, answer.content) == (200, answer_of(stream=case.stream))
        assert answer.headers["x-pointsman-target"] == other
        assert answer.headers["x-pointsman-attempts"] == "2"
        assert wire.asked(wire.bad, model) == [model] * listened
        assert wire.asked(wire.well, model) == [other.removeprefix("well/")]
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
    assert wire.asked(wire.bad, model) == [model] * times * listened
    assert wire.asked(wire.well, model) == []
    assert wire.attempts(model) == {(first, fault.outcome): times}
    assert wire.fallbacks(model) == {}


@pytest.mark.parametrize(
    ("number", "broken"), [pytest.param(n, broken, id=broken.name.replace(" ", "_")) for n, broken in enumerate(BREAKS)]
)
def test_after_content(wire: Wire, number: int, broken: Break) -> None:
    """Nobody else is asked: whole events, then one that tells the error, and no end that was not there."""
    model = f"break-{number}"
    answer = wire.chat(model, stream=True)
    assert answer.status_code == 200
    assert answer.content.startswith(broken.arrives)
    rest = answer.content.removeprefix(broken.arrives)
    assert rest.startswith(b"data: ")
    assert rest.endswith(b"\n\n")
    assert json.loads(rest.removeprefix(b"data: "))["error"]["code"] == broken.code
    assert wire.asked(wire.well, model) == []
    assert wire.attempts(model) == {(f"bad/{model}", broken.outcome): 1}


@pytest.mark.parametrize(
    ("number", "name"), [pytest.param(n, name, id=name.replace(" ", "_")) for n, name in enumerate(ODDITIES)]
)
def test_what_is_odd_and_right_passes_byte_for_byte(wire: Wire, number: int, name: str) -> None:
    _, arrives, encoding = ODDITIES[name]
    answer = wire.chat(f"odd-{number}", stream="JSON" not in name and not encoding and "201" not in name)
    if encoding:
        assert answer.headers["content-encoding"] == encoding.decode()
        assert httpx.Response(200, headers={"content-encoding": "gzip"}, content=answer.content).content == arrives
    else:
        assert answer.content == arrives
    assert answer.headers["x-pointsman-attempts"] == "1"
    assert wire.attempts(f"odd-{number}") == {(f"bad/odd-{number}", "ok"): 1}


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_that_is_too_long_goes_to_a_larger_model_only(wire: Wire, stream: bool) -> None:
    before = len(wire.bad.exchanges)
    answer = wire.chat("small", stream=stream)
    assert (answer.status_code, answer.content) == (200, answer_of(stream=stream))
    assert (answer.headers["x-pointsman-model"], answer.headers["x-pointsman-target"]) == ("large", "well/large")
    assert len(wire.bad.exchanges) == before + 1, "the one that is no larger is not asked"
    assert wire.fallbacks("small") == {"context": 1 + (not stream)}
