"""
What faults are played on: a model for each case, so that none finds another's targets at rest.

An upstream that misbehaves as the model's name says, one that does well, one that is not there, and Pointsman.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import httpx

from proxy.app import build_app
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


class Stage(NamedTuple):
    """Pointsman, and both upstreams behind it."""

    bad: RawUpstream
    well: RawUpstream
    url: str
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


@contextmanager
def open_stage() -> Iterator[Stage]:
    """Everything in its place, nothing asked yet."""

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
            serving(build_app(config, load_model=word_model)) as served,
            httpx.Client(base_url=served.url, timeout=10, headers={"accept-encoding": "identity"}) as http,
        ):
            yield Stage(bad, well, served.url, http)
