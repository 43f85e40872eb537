"""`pointsman traffic`: what it tells, and whom it refuses to rate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from proxy.app import build_app
from proxy.cli import main
from proxy.config import load_config, parse_config
from proxy.learning.reading import read_rated
from proxy.shipped import shipped
from proxy.simulator import Knobs, Qualities, Simulator, build_simulator
from proxy.simulator.prompts import TOPICS, draw_prompts
from proxy.simulator.tally import tally
from proxy.simulator.traffic import Asked, Candidate, Traffic
from tests.serving import serving

FILE = """\
version: 1
upstreams: {{one: {{base_url: "{url}/one/v1"}}}}
models:
  small: {{target: {{upstream: one, name: gpt-4o-mini}}}}
  large: {{target: {{upstream: one, name: gpt-4o}}}}
default: small
retry: {{attempts: 1}}
routes: [{{name: dear, when: {{model: dear}}, use: large}}]
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["traffic", *map(str, arguments)])


@contextmanager
def pointsman(upstream: object) -> Iterator[str]:
    """Without a store."""
    with serving(upstream) as served:
        config = parse_config(FILE.format(url=served.url), source="x", environ={})
        with serving(build_app(config)) as proxy:
            yield proxy.url


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return build_simulator(pace=0, known={"gpt-4o-mini": {"default": 0.25}, "gpt-4o": {"default": 0.75, "sql": 0.125}})


@pytest.fixture(scope="module")
def unrated(simulator: Simulator) -> Iterator[str]:
    with pointsman(simulator) as url:
        yield url


def test_its_figures_are_those_of_the_simulators_qualities(unrated: str) -> None:
    told = run("--url", unrated, "--requests", 80, "--rate-share", 0, "--json")
    found = json.loads(told.stdout)
    sql = next(each["requests"] for each in found["topics"] if each["topic"] == "sql") / 80
    assert found["quality"] == pytest.approx(0.25)
    assert found["oracle"] == pytest.approx(0.75 - 0.5 * sql)
    assert found["regret"] == pytest.approx(0.5 - 0.5 * sql)
    assert found["best_single"]["model"] == "large"
    assert found["best_single"]["quality"] == pytest.approx(0.75 - 0.625 * sql)
    assert found["cost_usd"] is None
    assert {each["topic"] for each in found["topics"]} == set(TOPICS)
    assert {each["best"] for each in found["topics"]} == {"small", "large"}
    again = run("--url", unrated, "--requests", 80, "--rate-share", 0, "--json", "--concurrency", 1)
    assert json.loads(again.stdout)["right"] == found["right"], "the same seed, so the same prompts and draws"

    told = run("--url", f"{unrated}/", "--requests", 20, "--rate-share", 0, "--model", "dear")
    assert (told.exit_code, told.stderr) == (0, "")
    assert "large  100.0%" in told.stdout
    assert "0 accepted, 0 refused" in told.stdout


def test_ratings_are_told_apart_by_whether_they_were_accepted() -> None:
    asked = [Asked("sql", "small", 0.5, True, (0.5,), is_rated) for is_rated in (True, True, True, False, None)]
    assert tally(Traffic([Candidate("small", "s")], asked))["ratings"] == {"accepted": 3, "refused": 1}


def test_what_is_not_answered_is_counted_and_not_rated(unrated: str, simulator: Simulator) -> None:
    simulator.script(Knobs(compare=("gpt-4o-mini", "gpt-4o")), Knobs(status=500), Knobs(status=418))
    told = run("--url", unrated, "--requests", 10, "--rate-share", 0, "--concurrency", 1, "--json")
    found = json.loads(told.stdout)
    assert (told.exit_code, found["requests"], found["errors"]) == (0, 10, {"status 500": 1, "status 418": 1})
    assert sum(each["requests"] for each in found["models"]) == 8
    simulator.log.clear()
    simulator.script(Knobs(status=401))
    told = run("--url", unrated, "--requests", 50)
    assert (told.exit_code, told.stdout) == (1, "")
    assert "The first request got no answer: status 401." in told.stderr
    assert len(simulator.log) == 1, "somebody else's server is not asked 50 times"


def test_ratings_that_would_be_lost_or_made_up_are_refused(unrated: str) -> None:
    told = run("--url", unrated, "--requests", 50)
    assert (told.exit_code, told.stdout) == (1, "")
    assert "keeps no decisions" in told.stderr
    assert "--rate-share 0" in told.stderr

    asked: list[Request] = []

    async def chat(request: Request) -> JSONResponse:
        asked.append(request)
        return JSONResponse({"choices": []})

    with pointsman(Starlette(routes=[Route("/one/v1/chat/completions", chat, methods=["POST"])])) as url:
        told = run("--url", url, "--requests", 50)
    assert told.exit_code == 1
    assert "not simulated" in told.stderr
    assert "serve --demo" in told.stderr
    assert len(asked) == 1


def test_who_is_not_there_or_no_pointsman_is_told() -> None:
    assert "Nobody answers there: Connection refused." in run("--url", "http://127.0.0.1:9").stderr
    assert "'localhost:8080' is not http://HOST:PORT" in run("--url", "localhost:8080").stderr

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    with serving(Starlette(routes=[Route("/{path:path}", hello)])) as served:
        told = run("--url", served.url)
    assert (told.exit_code, "is no Pointsman" in told.stderr) == (1, True)


def test_prompts_rated_for_every_model_are_what_train_reads(tmp_path: Path) -> None:
    path = tmp_path / "rated.jsonl"
    told = run("--rated", path, "-c", shipped("routes.yaml"), "--requests", 60, "--seed", 3)
    assert (told.exit_code, "60 prompts, each rated for small, large, reasoner" in told.stdout) == (0, True)
    read = read_rated(path)
    assert (read.found, read.models) == (60, ("small", "large", "reasoner"))
    names = {name: model.all_targets[0].name for name, model in load_config(shipped("routes.yaml"), {}).models.items()}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        assert row["scores"] == {name: Qualities().is_right(names[name], row["prompt"]) for name in names}
        assert 0 < row["costs"]["small"] < row["costs"]["large"] / 10
    rated = {json.loads(line)["prompt"] for line in path.read_text().splitlines()}
    assert not rated & {prompt.text for prompt in draw_prompts(60, seed=3)}, "what is trained on is not what is asked"
    before = path.read_bytes()
    assert run("--rated", path, "-c", shipped("routes.yaml"), "--requests", 60, "--seed", 3).exit_code == 0
    assert path.read_bytes() == before
    told = run("--rated", tmp_path / "none" / "rated.jsonl", "--requests", 1_000_000)
    assert (told.exit_code, f"there is no folder {tmp_path / 'none'}." in told.stderr) == (2, True)
