"""Simulated users: they ask through a running Pointsman, and rate what they get by what the answer tells of itself."""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from proxy.simulator.connection import Answer, Connection, NoAnswer
from proxy.simulator.prompts import Prompt, draw_prompts

TIMEOUT_S = 120.0
_COST = re.compile(r"^pointsman_cost_usd_total\{[^}]*\} (\S+)$", re.MULTILINE)


class CannotRun(Exception):
    """What answers there is not what simulated users may rate; the message says why, and the way out."""


class Plan(NamedTuple):
    """What is to be sent."""

    url: str
    requests: int = 600
    model: str = "auto"
    sources: int = 20
    """Users, each with a key of its own."""
    rate_share: float = 1.0
    """Of the answers that are rated."""
    seed: int = 0
    concurrency: int = 8


class Candidate(NamedTuple):
    """A model that could have answered."""

    model: str
    name: str
    """As its upstream knows it."""


class Asked(NamedTuple):
    """One request that was answered."""

    topic: str
    model: str
    """That answered."""
    quality: float
    """The chance that it answers such a prompt right."""
    is_right: bool
    compared: tuple[float, ...]
    """The chances of the candidates."""
    is_rated: bool | None
    """Whether the rating was accepted; None when there was none."""


@dataclass
class Traffic:
    """What became of a plan."""

    candidates: Sequence[Candidate]
    asked: list[Asked] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Of each request without an answer, why."""
    cost_usd: float = 0.0
    """As the server counted it meanwhile, whoever asked; 0 where it knows no prices."""


class _Request(NamedTuple):
    prompt: Prompt
    source: str
    is_rated: bool


def send_traffic(plan: Plan, tell: Callable[[int, int], None]) -> Traffic:
    """
    Send all of it, and post a rating for each answer that shall have one.

    The upstreams are asked to answer at once, whatever their personas' pace.

    Args:
        plan: what to send; the same prompts, users and ratings for the same one.
        tell: is given how many requests are done, and of how many.

    Raises:
        CannotRun: nobody answers, the upstreams are not simulated, or ratings are not kept.
    """
    with closing(_connect(plan)) as http:
        users = _Users(plan, Traffic(_candidates(http)))
        before = _cost(plan)
        requests = deque(_requests(plan))
        users.ask(http, requests.popleft())  # alone: if this is not the demo, no second one is sent
        if users.traffic.errors:
            raise CannotRun(f"The first request got no answer: {users.traffic.errors[0]}.")
        tell(1, plan.requests)
        users.ask_all(requests, tell)
    users.traffic.cost_usd = max(0.0, _cost(plan) - before)
    return users.traffic


class _Users:
    def __init__(self, plan: Plan, traffic: Traffic) -> None:
        self.traffic = traffic
        self._plan = plan
        names = ",".join(quote(candidate.name, safe="") for candidate in traffic.candidates)
        self._headers = {
            "x-simulate-first-token-ms": "0",
            "x-simulate-token-ms": "0",
            "x-simulate-compare": names,
        }

    def ask_all(self, requests: deque[_Request], tell: Callable[[int, int], None]) -> None:
        """As many at once as planned."""

        def work() -> None:
            with closing(_connect(self._plan)) as http:
                while True:
                    try:
                        request = requests.popleft()
                    except IndexError:
                        return
                    self.ask(http, request)
                    tell(self._plan.requests - len(requests), self._plan.requests)

        with ThreadPoolExecutor(self._plan.concurrency) as threads:
            try:
                for done in as_completed([threads.submit(work) for _ in range(self._plan.concurrency)]):
                    done.result()
            finally:
                requests.clear()  # of whoever is stopped, the threads end too

    def ask(self, http: Connection, request: _Request) -> None:
        """One request, and the rating of its answer."""
        body = {"model": self._plan.model, "messages": [{"role": "user", "content": request.prompt.text}]}
        key = {"authorization": f"Bearer {request.source}"}
        try:
            answer = http.post("/v1/chat/completions", body, self._headers | key)
        except NoAnswer as error:
            self.traffic.errors.append(str(error))
            return
        if answer.status != 200:
            self.traffic.errors.append(f"status {answer.status}")
            return
        asked = self._read(answer, request.prompt.topic)
        if request.is_rated:
            rating = {"id": answer.headers["x-pointsman-id"], "rating": int(asked.is_right), "source": request.source}
            asked = asked._replace(is_rated=_rate(http, rating, key))
        self.traffic.asked.append(asked)

    def _read(self, answer: Answer, topic: str) -> Asked:
        headers = answer.headers
        model = headers.get("x-pointsman-model", "")
        if not headers.keys() >= {"x-simulated-quality", "x-simulated-right", "x-simulated-compared"}:
            raise CannotRun(
                f"The answer of {model!r} has no x-simulated-quality: its upstream is not simulated, and a rating "
                "would be made up. `pointsman serve --demo` has simulated upstreams."
            )
        compared = tuple(map(float, headers["x-simulated-compared"].split(",")))
        quality, is_right = float(headers["x-simulated-quality"]), headers["x-simulated-right"] == "1"
        return Asked(topic, model, quality, is_right, compared, None)


def _requests(plan: Plan) -> list[_Request]:
    draw = random.Random(plan.seed)  # noqa: S311 - no secret
    return [
        _Request(prompt, f"user-{draw.randint(1, plan.sources)}", draw.random() < plan.rate_share)
        for prompt in draw_prompts(plan.requests, plan.seed)
    ]


def _connect(plan: Plan) -> Connection:
    try:
        return Connection(plan.url, TIMEOUT_S)
    except ValueError as error:
        raise CannotRun(f"{error}.") from None


def _candidates(http: Connection) -> list[Candidate]:
    """The models of this Pointsman, each with the name of its first target."""
    try:
        told = msgspec.json.decode(http.get("/v1/targets").body)
        # The label of a target is its upstream's name, which has no slash, and the model's.
        return [Candidate(each["model"], each["targets"][0]["target"].split("/", 1)[1]) for each in told["models"]]
    except NoAnswer as error:
        raise CannotRun(f"Nobody answers there: {error}. `pointsman serve --demo` starts a server.") from None
    except (msgspec.DecodeError, LookupError, TypeError):
        raise CannotRun("What answers there is no Pointsman: its /v1/targets does not list models.") from None


def _cost(plan: Plan) -> float:
    """On a connection of its own: after minutes of traffic the server has closed one that was idle."""
    try:
        with closing(_connect(plan)) as http:
            metrics = http.get("/metrics").body.decode("utf-8", "replace")
    except NoAnswer:
        return 0.0
    return sum(map(float, _COST.findall(metrics)))


def _rate(http: Connection, rating: Mapping[str, object], headers: Mapping[str, str]) -> bool:
    """Whether it was accepted."""
    try:
        status = http.post("/v1/feedback", rating, headers).status
    except NoAnswer:
        return False
    if status == 501:
        raise CannotRun(
            "The server keeps no decisions, so none can be rated (501). `store` in routes.yaml turns that on; "
            "--rate-share 0 rates nothing."
        )
    return status == 200
