"""Feedback on live decisions corrects a policy: two replicas on one store, of which one applies and one observes."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner

from proxy.app import build_app
from proxy.cli import main
from proxy.config import Config, Corrections, Duration, parse_config
from proxy.embedding import MiniLM
from proxy.learning.archive import Archive
from proxy.learning.corrector import Corrector
from proxy.learning.fit import fit_policy
from proxy.learning.store import Store
from proxy.learning.stored_facts import asked_of
from proxy.learning.stored_rows import LiveRating
from proxy.learning.training_rows import Rows
from proxy.reload.source import ConfigSource
from proxy.routing.inputs import inputs_of
from proxy.routing.policy_file import pack, unpack
from proxy.routing.shape import shape_of
from proxy.simulator import build_simulator
from tests.learning.made import MODELS
from tests.learning.rows import settings
from tests.relay.wire import House, WordModel
from tests.serving import serving

MATHS = "sum integral proof matrix limit prime"
CHAT = "hello weather thanks dinner film music"

FILE = """\
version: 1
policy: {policy}
store: sqlite:///{store}
corrections: {{mode: {mode}, every: 20ms}}
upstreams: {{up: {{base_url: "{upstream}/up/v1"}}}}
models:
  small: {{target: {{upstream: up, name: gpt-4o-mini}}}}
  large: {{target: {{upstream: up, name: gpt-4o}}}}
  coder: {{target: {{upstream: up, name: o3-mini}}}}
default: small
routes: [{{name: all, use: {{learned: [small, large, coder], prefer: quality}}}}]
"""


class Words(WordModel):
    """With a name, for a policy to belong to."""

    def name(self) -> str:
        return "words"


def words(config: Config) -> MiniLM:
    return Words()


def rows() -> Rows:
    """Of maths `coder` is best and `large` next, of chat `small`; all at no known cost."""
    random, model = np.random.default_rng(0), Words()
    kinds = random.integers(0, 2, 240)
    texts = [" ".join(random.choice((MATHS if kind else CHAT).split(), 4)) for kind in kinds]
    chances = np.where(kinds[:, np.newaxis] == 1, [0.3, 0.85, 0.9], [0.95, 0.6, 0.3])
    scores = (random.random(chances.shape) < chances).astype(np.float64)
    shapes = np.stack([shape_of(text) for text in texts])
    inputs = inputs_of(np.stack([model.embed(text) for text in texts]), random.integers(5, 100, 240), shapes)
    return Rows(MODELS, inputs, scores, np.full_like(scores, np.nan), np.ones_like(scores), np.arange(240))


class Replica:
    """One server and a client of it, whose requests are all conversations of their own."""

    _number = count()

    def __init__(self, http: httpx.Client, routes: Path) -> None:
        self.http = http
        self.routes = routes

    def chat(self, text: str = MATHS) -> httpx.Response:
        body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
        headers = {"x-pointsman-conversation": f"c{next(self._number)}"}
        answered = self.http.post("/v1/chat/completions", json=body, headers=headers)
        assert answered.status_code == 200, answered.text
        return answered

    def model(self, text: str = MATHS) -> str:
        return self.chat(text).headers["x-pointsman-model"]

    def rate(self, answered: httpx.Response, rating: float) -> None:
        told = self.http.post("/v1/feedback", json={"id": answered.headers["x-pointsman-id"], "rating": rating})
        assert told.status_code == 200, told.text

    def policy(self) -> dict[str, Any]:
        told = self.http.get("/v1/policy")
        assert told.status_code == 200, told.text
        found: dict[str, Any] = told.json()
        return found

    def corrections(self) -> dict[tuple[int, str], float]:
        """Those that are not 0."""
        regions = self.policy()["regions"]
        cells = [
            (region["region"], each["model"], each["correction"]) for region in regions for each in region["models"]
        ]
        return {(region, model): value for region, model, value in cells if value}

    def shown(self) -> dict[tuple[int, str], float]:
        """The same, as the gauge has them."""
        lines = self.http.get("/metrics").text.splitlines()
        series = [line for line in lines if line.startswith("pointsman_policy_correction{")]
        labels = [line.split('"') for line in series]
        values = [round(float(line.split()[-1]), 4) for line in series]
        return {(int(told[3]), told[1]): value for told, value in zip(labels, values, strict=True) if value}


def until(holds: Callable[[], bool]) -> None:
    """A worker looks at the store in a task of its own; nobody is told when."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def policy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("learned") / "policy.npz"
    path.write_bytes(pack(fit_policy(rows(), embedder="words")))
    return path


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with serving(build_simulator(pace=0)) as served:
        yield served.url


@pytest.fixture
def replica(tmp_path: Path, policy_file: Path, upstream: str) -> Iterator[Callable[..., Replica]]:
    """Opens replicas on one store."""
    with ExitStack() as stack:

        def opened(mode: str, store: str = "store.db", policy: Path = policy_file) -> Replica:
            text = FILE.format(policy=policy, store=tmp_path / store, mode=mode, upstream=upstream)
            routes = tmp_path / f"{mode}.yaml"
            routes.write_text(text)
            config = parse_config(text, source="routes.yaml", environ={})
            served = stack.enter_context(serving(build_app(config, load_model=words)))
            return Replica(stack.enter_context(httpx.Client(base_url=served.url, timeout=20)), routes)

        yield opened


def live_ratings(told: dict[str, Any]) -> int:
    return int(told["corrections"]["ratings"])


def test_bad_feedback_moves_traffic_where_it_is_applied_and_a_reset_brings_it_back(
    replica: Callable[..., Replica],
) -> None:
    applying, observing = replica("apply"), replica("observe")
    assert (applying.model(), observing.model(), applying.model(CHAT)) == ("coder", "coder", "small")
    assert applying.policy()["corrections"]["ratings"] == 0
    assert applying.corrections() == applying.shown() == {}

    for _ in range(12):
        answered = observing.chat()
        assert answered.headers["x-pointsman-model"] == "coder"
        observing.rate(answered, 0.0)
    until(lambda: live_ratings(applying.policy()) == live_ratings(observing.policy()) == 12)

    ((region, model),) = applying.corrections()
    assert model == "coder"
    assert applying.corrections()[region, model] == -0.2
    assert applying.corrections() == observing.corrections(), "it is a function of what the store holds"
    assert applying.shown() == observing.shown() == applying.corrections()
    assert (applying.model(), observing.model()) == ("large", "coder")
    assert (applying.model(CHAT), observing.model(CHAT)) == ("small", "small"), "other texts are another region"
    body = {"model": "auto", "messages": [{"role": "user", "content": MATHS}]}
    candidates = {each["model"]: each for each in applying.http.post("/v1/route", json=body).json()["candidates"]}
    assert (candidates["coder"]["correction"], candidates["large"]["correction"]) == (-0.2, 0.0)

    told = CliRunner().invoke(main, ["reset-corrections", "-c", str(applying.routes)])
    assert told.exit_code == 0, told.output
    assert "12 ratings no longer count" in told.output
    until(lambda: live_ratings(applying.policy()) == live_ratings(observing.policy()) == 0)
    assert applying.corrections() == applying.shown() == observing.shown() == {}
    assert applying.model() == "coder"


def test_ratings_of_the_live_policys_choices_correct_no_shadow(
    tmp_path: Path, policy_file: Path, upstream: str
) -> None:
    """Else the shadow would seem to agree with whatever users make of the live one."""
    with watched(tmp_path, policy_file, upstream) as (one, put, text):
        put(one.routes, f"{text}shadow: {{policy: {policy_file}}}\n".encode())
        until(lambda: 'shadow_decisions_total{result="other"} 0.0' in one.http.get("/metrics").text)
        while (answered := one.chat()).headers["x-pointsman-model"] == "coder":
            one.rate(answered, 0.0)
        until(lambda: 'shadow_decisions_total{result="other"} 1.0' in one.http.get("/metrics").text)


def test_what_comes_with_a_text_steers_no_policy(replica: Callable[..., Replica]) -> None:
    """It would make every model dearer, and a policy that was trained on bare prompts take it for a long one."""
    asked = replica("observe")

    def told(*before: dict[str, str], **more: Any) -> Any:
        body = {"model": "auto", "messages": [*before, {"role": "user", "content": MATHS}], **more}
        return asked.http.post("/v1/route", json=body).json()["candidates"]

    alone = told()
    assert told({"role": "system", "content": "Follow the style guide. " * 500}) == alone
    assert told({"role": "user", "content": CHAT}, {"role": "assistant", "content": CHAT * 50}) == alone
    tool = {"type": "function", "function": {"name": "look", "description": "Looks. " * 500}}
    assert told(tools=[tool]) == alone


def put(text: str, kind: bool) -> str:
    """The same text, with numbers or words to choose from."""
    return f"{text}\nA. {12 if kind else 'twelve'}\nB. {7 if kind else 'seven'}"


def test_how_a_text_is_put_decides_and_is_kept_for_the_next_policy(
    replica: Callable[..., Replica], tmp_path: Path
) -> None:
    """Whatever the vector says, `coder` is good at those with numbers to choose from, and `small` at the others."""
    random, model = np.random.default_rng(0), Words()
    kinds = (random.random(400) < 0.5).tolist()
    texts = [put(" ".join(random.choice(MATHS.split(), random.integers(3, 9))), kind) for kind in kinds]
    scores = (random.random((400, 3)) < [([0.2, 0.5, 0.9] if kind else [0.9, 0.5, 0.2]) for kind in kinds]).astype(
        float
    )
    inputs = inputs_of(
        np.stack([model.embed(text) for text in texts]), np.full(400, 12), np.stack([shape_of(text) for text in texts])
    )
    rated = Rows(MODELS, inputs, scores, np.full_like(scores, np.nan), np.ones_like(scores), np.arange(400))
    own = tmp_path / "put.npz"
    own.write_bytes(pack(fit_policy(rated, embedder="words")))
    one = replica("observe", policy=own)
    assert (one.model(put(MATHS, True)), one.model(put(MATHS, False))) == ("coder", "small")
    one.rate(one.chat(put(MATHS, True)), 1.0)
    with Archive(settings(f"sqlite:///{tmp_path / 'store.db'}")) as archive:
        (row,) = [row for piece in archive.decisions(("facts",), rated=True) for row in piece]
    assert asked_of(row.facts)[1] == pytest.approx(shape_of(put(MATHS, True)), rel=1e-3)


def test_a_store_in_trouble_keeps_the_last_corrections_and_fails_no_request(
    replica: Callable[..., Replica], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = replica("apply")
    one.rate(one.chat(), 0.0)
    until(lambda: bool(one.corrections()))
    before = one.corrections()
    with broken(tmp_path / "store.db"):
        until(lambda: one.policy()["note"] is not None)
        assert "does not answer" in one.policy()["note"]
        assert one.chat().status_code == 200
        assert one.corrections() == one.shown() == before
    until(lambda: one.policy()["note"] is None)
    said = Counter(record.message for record in caplog.records if record.name == "proxy.learning.corrector")
    assert said == {"corrections not up to date": 1, "corrections up to date again": 1}


def test_damaged_ratings_are_left_out_and_counted_and_hinder_no_reload(
    tmp_path: Path, policy_file: Path, upstream: str
) -> None:
    with watched(tmp_path, policy_file, upstream) as (one, put, text):
        for _ in range(4):
            one.rate(one.chat(), 0.0)
        until(lambda: live_ratings(one.policy()) == 4)
        sound = one.corrections()
        assert sound
        with closing(sqlite3.connect(tmp_path / "store.db")) as store, store:
            for source, rating, at in (
                ("text", "'up'", "strftime('%s')"),
                ("much", 7, "strftime('%s')"),
                ("when", 1.0, "'noon'"),
            ):
                store.execute(
                    f"INSERT INTO feedback SELECT id, '{source}', {rating}, NULL, {at} FROM decisions LIMIT 1"
                )
        until(lambda: one.policy()["corrections"]["damaged"] == 3)
        assert (live_ratings(one.policy()), one.policy()["note"]) == (4, None)
        assert one.corrections() == pytest.approx(sound, abs=1e-3)
        put(one.routes, text.replace("every: 20ms", "every: 30ms").encode())
        until(lambda: 'config_reloads_total{result="ok"} 1.0' in one.http.get("/metrics").text)
        assert one.policy()["corrections"]["every_s"] == 0.03
        assert 'config_reloads_total{result="error"} 0.0' in one.http.get("/metrics").text
        one.rate(one.chat(), 0.0)
        until(lambda: live_ratings(one.policy()) == 5)


class StrangeStore(Store):
    """What it tells nobody has foreseen."""

    async def live_ratings(self, policy: str, **_: object) -> list[LiveRating]:
        return [policy]  # type: ignore[list-item]


def test_an_unforeseen_trouble_ends_neither_a_start_nor_a_stop(
    tmp_path: Path, policy_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = unpack(policy_file.read_bytes())

    async def corrected() -> tuple[bool, int]:
        looks, enough = count(1), asyncio.Event()

        def tell(_: Corrector) -> None:
            if next(looks) == 3:
                enough.set()
                raise RuntimeError

        corrector = Corrector(
            StrangeStore(settings(f"sqlite:///{tmp_path / 'x.db'}")),
            policy,
            Corrections(mode="apply", every=Duration(0.001)),
            tell,
        )
        await corrector.start()
        await asyncio.wait_for(enough.wait(), 20)
        await corrector.stop()
        return corrector.is_broken, next(looks)

    assert asyncio.run(corrected()) == (True, 4)
    (told,) = [record for record in caplog.records if record.name == "proxy.learning.corrector"]
    assert (told.getMessage(), told.exc_info is not None) == ("corrections not up to date", True)


def test_a_reload_while_the_store_is_in_trouble_keeps_them_within_the_new_bounds(
    tmp_path: Path, policy_file: Path, upstream: str, caplog: pytest.LogCaptureFixture
) -> None:
    with watched(tmp_path, policy_file, upstream) as (one, put, text):
        ratings = 0
        while (answered := one.chat()).headers["x-pointsman-model"] == "coder":
            one.rate(answered, 0.0)
            ratings += 1
        until(lambda: live_ratings(one.policy()) == ratings)
        before = one.corrections()
        assert -0.2 <= min(before.values()) < -0.05
        with broken(tmp_path / "store.db"):
            until(lambda: one.policy()["note"] is not None)
            seen = one.policy()["corrections"]["seen"]
            put(one.routes, text.replace("every: 20ms", "every: 30ms").encode())
            until(lambda: one.policy()["corrections"]["every_s"] == 0.03)
            told = one.policy()
            assert told["note"] == "the store does not answer; these are the last that it told"
            assert (live_ratings(told), told["corrections"]["seen"]) == (ratings, seen)
            assert one.corrections() == one.shown() == before
            assert one.model() == "large"
            put(one.routes, text.replace("every: 20ms", "every: 30ms, most: 0.05").encode())
            until(lambda: one.policy()["corrections"]["most"] == 0.05)
            assert list(one.corrections().values()) == [-0.05]
        until(lambda: one.policy()["note"] is None)
    said = [record.message for record in caplog.records if record.name == "proxy.learning.corrector"]
    assert said == ["corrections not up to date"], "one trouble, whatever is reloaded meanwhile"


def test_a_start_while_the_store_is_in_trouble_says_that_nothing_was_told(
    replica: Callable[..., Replica], tmp_path: Path
) -> None:
    (tmp_path / "store.db").mkdir()
    told = replica("apply").policy()
    assert told["note"] == "the store does not answer; it has told nothing yet"
    assert told["corrections"]["seen"] is None


@contextmanager
def broken(file: Path) -> Iterator[None]:
    """A folder stands where the file was."""
    files = [path for path in file.parent.iterdir() if path.name.startswith(file.name)]
    for path in files:
        path.rename(path.with_name(f"aside-{path.name}"))
    file.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(file)


def test_what_regions_are_about_is_told_and_without_a_store_that_there_is_none(
    policy_file: Path, upstream: str
) -> None:
    lines = FILE.format(policy=policy_file, store="", mode="observe", upstream=upstream).splitlines(keepends=True)
    topics = f"topics: {{maths: {{examples: [{MATHS}, sum, limit]}}, chat: {{examples: [{CHAT}]}}}}\n"
    config = parse_config("".join(line for line in lines if "store" not in line) + topics, source="x", environ={})
    with serving(build_app(config, load_model=words)) as served:
        told = httpx.get(served.url + "/v1/policy").json()
        assert httpx.get(served.url + "/readyz").json()["policy"] == told["version"]
    assert (told["mode"], told["corrections"]) == ("observe", None)
    assert "'store' in routes.yaml" in told["note"]
    named = [(one["topic"], one["examples"]) for region in told["regions"] for one in region["topics"]]
    assert sum(count for _, count in named) == 4
    assert {name for name, _ in named} == {"maths", "chat"}


def test_without_a_policy_there_is_none_to_show(house: House) -> None:
    told = house.http.get("/v1/policy")
    assert (told.status_code, told.json()["error"]["code"]) == (404, "no_policy")
    assert "names none" in told.json()["error"]["message"]


Put = Callable[[Path, bytes], None]


@contextmanager
def watched(tmp_path: Path, policy_file: Path, upstream: str) -> Iterator[tuple[Replica, Put, str]]:
    """A server that applies, on files that it watches; what puts new ones there; and its routes.yaml."""
    policy, routes = tmp_path / "policy.npz", tmp_path / "routes.yaml"
    shutil.copy(policy_file, policy)
    text = FILE.format(policy=policy, store=tmp_path / "store.db", mode="apply", upstream=upstream)

    def put(file: Path, content: bytes) -> None:
        fresh = file.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.replace(file)

    put(routes, text.encode())
    source = ConfigSource(routes, {})
    with (
        serving(build_app(source.load(), load_model=words, source=source, poll_s=0.01)) as served,
        httpx.Client(base_url=served.url, timeout=20) as http,
    ):
        yield Replica(http, routes), put, text


def test_another_policy_begins_without_corrections(tmp_path: Path, policy_file: Path, upstream: str) -> None:
    policy, routes = tmp_path / "policy.npz", tmp_path / "routes.yaml"
    with watched(tmp_path, policy_file, upstream) as (one, put, text):
        first = one.policy()["version"]
        one.rate(one.chat(), 0.0)
        until(lambda: bool(one.corrections() and one.shown()))
        put(policy, pack(fit_policy(rows(), embedder="words", seed=1)))
        until(lambda: one.policy()["version"] != first)
        assert live_ratings(one.policy()) == 0
        assert one.corrections() == one.shown() == {}, "another policy's regions are others"
        put(policy, policy_file.read_bytes())
        until(lambda: one.policy()["version"] == first and bool(one.shown()))
        put(routes, text.replace("mode: apply", "mode: off").encode())
        until(lambda: one.policy()["mode"] == "off")
        assert one.corrections() == {}
        until(lambda: "pointsman_policy_correction{" not in one.http.get("/metrics").text)
        assert one.chat().status_code == 200


def test_the_corrections_that_are_shown_are_the_new_ones_while_the_old_configuration_is_in_use(
    tmp_path: Path, policy_file: Path, upstream: str
) -> None:
    """Two that look at the store would show now this, now that."""
    with watched(tmp_path, policy_file, upstream) as (one, put, text):
        one.rate(one.chat(), 0.0)
        until(lambda: bool(one.shown()))
        address = (one.http.base_url.host, one.http.base_url.port or 80)
        with socket.create_connection(address) as waiting:
            waiting.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\ncontent-length: 9\r\n\r\n{")
            until(lambda: "pointsman_in_flight 1.0" in one.http.get("/metrics").text)
            put(one.routes, text.replace("mode: apply", "mode: off").encode())
            until(lambda: one.policy()["mode"] == "off" and not one.shown())
            began = time.monotonic()
            while time.monotonic() < began + 0.2:  # in which the old one would look ten times
                assert not one.shown()
            assert "pointsman_in_flight 1.0" in one.http.get("/metrics").text


def test_off_computes_nothing_and_says_so(replica: Callable[..., Replica]) -> None:
    one = replica("off")
    told = one.policy()
    assert (told["mode"], told["corrections"], told["note"]) == ("off", None, "corrections are off")
    assert "pointsman_policy_correction{" not in one.http.get("/metrics").text
    assert [each["model"] for each in told["models"]] == list(MODELS)
    cells = [each for region in told["regions"] for each in region["models"]]
    assert sum(each["ratings"] for each in cells) == 3 * len(rows())
    assert all(0 <= each["quality"] <= 1 and not each["applied"] and each["correction"] == 0 for each in cells)
    assert (told["embedder"], len(told["version"])) == ("words", 12)
