"""
The fault matrix, played: every way to fail, with one target, with a second one, with a fallback model.

Each case has a model of its own, so that none finds another's targets at rest. All are played at once, before
anything is looked at: most of them wait for something.
"""

from __future__ import annotations

import itertools
import json
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

from proxy.app import build_app
from proxy.server.protocol import Protocol
from tests.certificates import Authority, serving_with
from tests.relay.wire import MESSAGES, Exchange, RawUpstream, config_of, dead_port, word_model
from tests.serving import serving
from tests.wire.faults import BREAKS, FAULTS, ODDITIES, Fault, good

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
    def label(self) -> str:
        """Its first target."""
        return f"{self.fault.at}/{self.model}"

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
        targets += [f"{{upstream: {other}, name: {name}-second, weight: 0.000001}}" for other in others]
        timeouts = ", timeouts: {first_token: 700ms, whole_answer: 700ms, idle: 700ms}" if hasty else ""
        fallbacks = f", fallbacks: [{fallback}]" if fallback else ""
        models.append(f"  {name}: {{targets: [{', '.join(targets)}]{timeouts}{fallbacks}}}")

    for case in CASES:
        first = case.fault.at
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
    model("small", "bad", fallback="no-larger, large")
    model("no-larger", "bad")
    lines = "\n".join(models)
    lines += "\n  large: {targets: [{upstream: well, name: large}], context: 100000}\n"
    lines = lines.replace("  small: {", "  small: {context: 1000, ").replace(
        "  no-larger: {", "  no-larger: {context: 1000, "
    )
    return f"""
version: 1
upstreams:
  bad: {{base_url: "${{BAD}}/v1", api_key: "${{KEY}}"}}
  open: {{base_url: "${{BAD}}/v1"}}
  well: {{base_url: "${{WELL}}/v1", api_key: "${{KEY}}"}}
  dead: {{base_url: "${{DEAD}}/v1"}}
  misnamed: {{base_url: "${{MISNAMED}}/v1", api_key: "${{KEY}}", tls: {{ca: "${{CA}}"}}}}
models:
{lines}
rewrite: []
default: sound
retry: {{free: 1000000}}
"""


class Ask(NamedTuple):
    """One request to play."""

    model: str
    stream: bool


class Played(NamedTuple):
    """What came of all of them."""

    answers: dict[Ask, httpx.Response]
    """Each with its bytes as they came over the wire."""
    cut: set[Ask]
    """Those whose answer came without its end."""
    asked: dict[str, list[str]]
    """By upstream, the model names under which it was asked, in their order."""
    counted: dict[str, dict[tuple[str, str], int]]
    """Attempts by model, and there by target and outcome."""
    fell_back: dict[str, dict[str, int]]
    """Fallbacks by the model they went on from, and there by cause."""

    def names(self, upstream: str, model: str) -> list[str]:
        """Under which of its names an upstream was asked on behalf of this model."""
        return [name for name in self.asked[upstream] if _model_of(name) == model]


def _model_of(name: str) -> str:
    """The case's own model, from the name that one of its targets has."""
    return name.removesuffix("-other").removesuffix("-second")


def odd_ask(number: int, name: str) -> Ask:
    """Some are told of a stream, the others of a whole answer."""
    return Ask(f"odd-{number}", not any(word in name for word in ("JSON", "compresses", "201")))


ASKS = [
    *(Ask(case.model, case.stream) for case in CASES),
    *(Ask(f"break-{number}", True) for number in range(len(BREAKS))),
    *(odd_ask(number, name) for number, name in enumerate(ODDITIES)),
    Ask("small", True),
    Ask("small", False),
]

PLAYS = {case.model: case.fault.play for case in CASES}
PLAYS |= {f"break-{number}": broken.play for number, broken in enumerate(BREAKS)}
PLAYS |= {f"odd-{number}": play for number, (play, _, _) in enumerate(ODDITIES.values())}


def play(folder: Path) -> Played:
    """
    Play all of them against a real server, and look at everything once.

    Args:
        folder: an empty one, for certificates.
    """
    cut: set[Ask] = set()
    with open_wire(folder) as (bad, well, http):

        def ask(one: Ask) -> httpx.Response:
            body = {"model": one.model, "messages": MESSAGES, "stream": one.stream}
            answer = http.send(http.build_request("POST", "/v1/chat/completions", json=body), stream=True)
            pieces: list[bytes] = []
            try:
                pieces.extend(answer.iter_raw())
            except httpx.RemoteProtocolError:
                cut.add(one)
            answer._content = b"".join(pieces)
            answer.close()
            return answer

        with ThreadPoolExecutor(16) as pool:
            answers = dict(zip(ASKS, pool.map(ask, ASKS), strict=True))
        counted: dict[str, dict[tuple[str, str], int]] = {}
        fell_back: dict[str, dict[str, int]] = {}
        for family in text_string_to_metric_families(http.get("/metrics").text):
            for sample in family.samples:
                labels, value = sample.labels, int(sample.value)
                if value and sample.name == "pointsman_attempts_total":
                    model = _model_of(labels["target"].split("/")[1])
                    counted.setdefault(model, {})[labels["target"], labels["outcome"]] = value
                elif value and sample.name == "pointsman_fallbacks_total":
                    fell_back.setdefault(labels["from"], {})[labels["cause"]] = value
    asked = {
        name: [json.loads(exchange.body)["model"] for exchange in raw.exchanges]
        for name, raw in (("bad", bad), ("well", well))
    }
    return Played(answers, cut, asked, counted, fell_back)


@contextmanager
def _raw(script: Callable[[Exchange], None], tls: ssl.SSLContext | None = None) -> Iterator[RawUpstream]:
    raw = RawUpstream(tls=tls)
    raw.script = script
    try:
        yield raw
    finally:
        raw.close()


def _misbehave(exchange: Exchange) -> None:
    asked = json.loads(exchange.body)
    play = PLAYS.get(asked["model"])
    if play is not None:
        play(exchange, asked["stream"])
        return
    error = b'{"error":{"message":"too long","code":"context_length_exceeded"}}'
    exchange.answer(error, b"content-type: application/json", status=b"400 Bad Request")


def _behave(exchange: Exchange) -> None:
    good(exchange, json.loads(exchange.body)["stream"])


@contextmanager
def open_wire(folder: Path) -> Iterator[tuple[RawUpstream, RawUpstream, httpx.Client]]:
    """The upstream that misbehaves, the one that does well, and a client of Pointsman before both."""
    authority = Authority(folder)
    misnamed = serving_with(authority.sign("misnamed", "subjectAltName=DNS:elsewhere.example"))
    with (
        _raw(_misbehave) as bad,
        _raw(_behave) as well,
        _raw(_behave, misnamed) as another,
        dead_port() as dead,
    ):
        config = config_of(
            _config(),
            BAD=f"http://127.0.0.1:{bad.port}",
            WELL=f"http://127.0.0.1:{well.port}",
            DEAD=f"http://127.0.0.1:{dead}",
            MISNAMED=f"https://127.0.0.1:{another.port}",
            CA=str(authority.certificate),
        )
        with (
            serving(build_app(config, load_model=word_model), http=Protocol) as served,
            httpx.Client(base_url=served.url, timeout=20, headers={"accept-encoding": "identity"}) as http,
        ):
            yield bad, well, http
        assert another.exchanges == [], "it is not who it should be, so it is asked nothing"
