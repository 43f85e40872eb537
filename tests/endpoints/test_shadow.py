"""What decides in the shadow: counted, kept, and never noticed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.config import ConfigError
from proxy.reload.source import ConfigSource
from proxy.routing.policy import Choice, Policy
from proxy.routing.policy_file import pack
from tests.endpoints.deciding import FILE, Deciding, deciding, policy_for

OF_POLICY = FILE + "shadow: {policy: other.npz}\n"
OF_ROUTES = FILE + "shadow: {routes: other.yaml}\n"
OTHER = """\
version: 1
upstreams: {nowhere: {base_url: "https://127.0.0.1:9/v1", tls: {ca: none.pem}}}
models:
  small: {target: {upstream: nowhere, name: s}, price: {input: 2, output: 4}}
  giant: {target: {upstream: nowhere, name: g}}
default: small
rewrite: []
topics:
  code: {examples: [fix the bug in my code, write code for a loop]}
  law: {examples: [draft a contract, is the clause valid]}
routes:
  - {name: free, when: {header: {x-free: "*"}}, use: small}
  - {name: blocked, when: {text: {contains: password}}, block: {}}
  - {name: coding, when: {topic: code}, use: giant}
"""
CODE = "fix the bug in my code"
TOPICS_TURNED = """\
topics:
  code: {examples: [draft a contract, is the clause valid]}
  law: {examples: [fix the bug in my code, write code for a loop]}
"""
COMPLEXITY = "complexity: {{simple: {simple}, complex: {hard}}}\n"


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    other = {"other.npz": pack(policy_for("coder"))}
    with deciding(tmp_path_factory.mktemp("policies"), OF_POLICY, other) as running:
        yield running


@pytest.fixture
def routes(tmp_path: Path) -> Iterator[Deciding]:
    with deciding(tmp_path, OF_ROUTES, {"other.yaml": OTHER}) as running:
        yield running


def would(running: Deciding, *turns: str, **headers: str) -> tuple[str | None, str | None]:
    row = running.row(running.ask(*turns, **headers))
    return row["shadow_route"], row["shadow_model"]


def test_another_policy_is_compared_on_the_same_requests(policies: Deciding) -> None:
    fresh = policies.series()
    assert {name: fresh[f'shadow_decisions_total{{result="{name}"}}'] for name in ("same", "other", "unknown")} == {
        "same": 0, "other": 0, "unknown": 0,
    }  # fmt: skip
    answer = policies.ask("hello there")
    assert answer.headers["x-pointsman-model"] == "small"
    row = policies.row(answer)
    assert (row["model"], row["shadow_route"], row["shadow_model"]) == ("small", "all", "coder")
    told = policies.until('shadow_decisions_total{result="other"}', 1)
    cost = {choice: told[f'shadow_cost_usd_total{{choice="{choice}"}}'] for choice in ("live", "shadow")}
    assert cost["live"] == pytest.approx(row["cost_usd"])
    assert cost["shadow"] == pytest.approx(3 * row["cost_usd"]), "the same tokens at three times the price"
    quality = {
        judge: [told[f'shadow_quality_sum{{choice="{choice}",judge="{judge}"}}'] for choice in ("live", "shadow")]
        for judge in ("live", "shadow")
    }
    assert quality == {"live": [1.0, 0.0], "shadow": [0.0, 1.0]}, "each policy speaks for its own choice"
    assert told['shadow_quality_count{choice="live",judge="live"}'] == 1

    assert would(policies, "hello there", x_fixed="1") == ("fixed", "small")
    told = policies.until('shadow_decisions_total{result="same"}', 1)
    assert told['shadow_decisions_total{result="unknown"}'] == told["shadow_failures_total"] == 0


def test_it_goes_on_with_conversations_as_it_would_have_begun_them(policies: Deciding) -> None:
    first = policies.ask("good morning")
    later = policies.row(policies.ask("good morning", "and then?"))
    assert (later["reason"], later["model"], later["shadow_model"]) == ("conversation", "small", "coder")
    assert policies.row(first)["shadow_model"] == "coder"


def test_one_that_explores_alike_would_choose_as_likely(tmp_path: Path) -> None:
    """By the same lot it draws the same, which says nothing of what it is worth: its chance of that does."""
    explores = FILE.replace("prefer: quality}}\n", "prefer: quality, explore: 0.5}}\n")
    with deciding(tmp_path, explores + "shadow: {policy: live.npz}\n") as running:
        rows = [running.row(running.ask(f"good morning {number}")) for number in range(90)]
        body = {"model": "auto", "messages": [{"role": "user", "content": "good evening"}]}
        explained = {running.http.post("/v1/route", json=body).json()["model"] for _ in range(20)}
    assert explained == {"small"}, "who only asks is told what is thought best"
    assert {row["model"] for row in rows} == {row["shadow_model"] for row in rows} == {"small", "large", "coder"}
    for row in rows:
        assert row["shadow_chance"] == row["propensity"]
        assert row["shadow_model"] == row["model"]
        assert row["predicted"] == float(row["model"] == "small"), "of what answered, against which ratings are held"


def test_it_goes_on_from_a_response_as_well(policies: Deciding) -> None:
    def respond(**fields: str) -> tuple[str, str]:
        answer = policies.http.post("/v1/responses", json={"model": "auto", **fields})
        row = policies.row(answer)
        assert row["model"] == "small"
        return answer.json()["id"], row["shadow_model"]

    named, model = respond(input="good day")
    assert model == "coder"
    assert respond(input="and then?", previous_response_id=named)[1] == "coder"


def test_answers_are_what_they_are_without_it(policies: Deciding, tmp_path: Path) -> None:
    with deciding(tmp_path) as plain:
        answers = [running.ask("tell me more") for running in (policies, plain)]
        series = plain.series()
    shadowed, alone = ([name for name, _ in answer.headers.raw] for answer in answers)
    assert shadowed == alone
    told = [{name: value for name, value in answer.json().items() if name != "id"} for answer in answers]
    assert told[0]["choices"] == told[1]["choices"]
    assert not [name for name in series if name.startswith("shadow")], "nothing to see where there is none"


def test_a_whole_file_may_know_other_models_and_refuse(routes: Deciding) -> None:
    assert would(routes, CODE) == ("coding", "giant")
    assert would(routes, "the password is in my code") == ("blocked", "-")
    assert would(routes, "hello", x_free="1") == ("free", "small")
    named = routes.http.post(
        "/v1/chat/completions", json={"model": "unheard-of", "messages": [{"role": "user", "content": "hi"}]}
    )
    assert named.status_code == 200
    row = routes.row(named)
    assert (row["shadow_route"], row["shadow_model"]) == ("-", "-"), "it would not have served that name"
    told = routes.until('shadow_decisions_total{result="other"}', 3)
    assert told['shadow_decisions_total{result="same"}'] == 1


def test_a_whole_file_has_topics_and_a_complexity_of_its_own(tmp_path: Path) -> None:
    """Also where they are named as those of the live one."""
    routes = "  - {name: hard, when: {complexity: {min: 0.5}}, use: giant}\n"
    own = OTHER + routes + COMPLEXITY.format(simple="[hello there]", hard="[prove the theorem]")
    live = OF_ROUTES + TOPICS_TURNED + COMPLEXITY.format(simple="[prove the theorem]", hard="[hello there]")
    with deciding(tmp_path, live, {"other.yaml": own}) as running:
        assert would(running, CODE) == ("coding", "giant")
        assert would(running, "prove the theorem") == ("hard", "giant")
        assert would(running, "hello there") == ("default", "small")


@pytest.mark.parametrize("text", [OF_POLICY, OF_ROUTES], ids=["of-the-shadow", "of-its-routes"])
def test_another_policy_of_the_same_name_is_taken_up(tmp_path: Path, text: str) -> None:
    files: dict[str, str | bytes] = {"other.npz": pack(policy_for("coder"))}
    files["other.yaml"] = FILE.replace("live.npz", "other.npz")
    with deciding(tmp_path, text, files) as running:
        assert would(running, "good morning") == ("all", "coder")
        running.put("other.npz", pack(policy_for("large")))
        running.until('config_reloads_total{result="ok"}', 1)
        assert would(running, "good evening") == ("all", "large")


def test_it_embeds_what_was_not_looked_at_and_only_when_nobody_else_waits(routes: Deciding) -> None:
    assert would(routes, CODE, x_fixed="1") == ("coding", "giant"), "the live route needs no text, the other one does"
    lookups = routes.series()['embed_cache_total{result="miss"}']
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(routes.ask, "slow words")
        routes.until("embed_queue", 1)
        assert would(routes, "fix the bug", x_fixed="1") == (None, None)
        routes.until('shadow_decisions_total{result="unknown"}', 1)
        assert would(routes, "hello", x_fixed="1", x_free="1") == ("free", "small")
        routes.words.gate.set()
        assert waits.result().headers["x-pointsman-model"] == "small"
    told = routes.until('shadow_decisions_total{result="other"}', 1)
    assert told['embed_cache_total{result="miss"}'] == lookups + 1, "what it embeds is nobody's miss"


def test_one_that_cannot_be_read_changes_nothing(routes: Deciding, caplog: pytest.LogCaptureFixture) -> None:
    routes.put("other.yaml", OTHER.replace("use: giant", "use: gaint"))
    routes.until('config_reloads_total{result="invalid"}', 1)
    (failed,) = [record for record in caplog.records if record.getMessage() == "config reload failed"]
    (problem,) = failed.__dict__["problems"]
    assert "other.yaml:14:46 routes[2].use" in problem
    assert "did you mean 'giant'?" in problem
    assert would(routes, CODE) == ("coding", "giant")

    routes.put("other.yaml", OTHER.replace("use: giant", "use: small"))
    routes.until('config_reloads_total{result="ok"}', 1)
    assert would(routes, CODE) == ("coding", "small")
    routes.put("other.yaml", OTHER + "policy: theirs.npz\n")
    routes.until('config_reloads_total{result="ok"}', 2)
    routes.put("theirs.npz", b"no policy")
    routes.until('config_reloads_total{result="invalid"}', 2)
    routes.put("routes.yaml", FILE)
    routes.until('config_reloads_total{result="ok"}', 3)
    assert would(routes, CODE) == (None, None)


def test_one_that_fails_is_counted_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = policy_for("coder")
    beyond = replace(sound, about={"fails": True})
    choose = Policy.choose

    def chosen(policy: Policy, *given: Any, **named: Any) -> Choice:
        if policy.about.get("fails"):  # no file that is read makes one fail, so a fault has to be put there
            raise OverflowError
        return choose(policy, *given, **named)

    monkeypatch.setattr(Policy, "choose", chosen)
    with deciding(tmp_path, OF_POLICY, {"other.npz": pack(beyond)}) as running:
        for text in ("one", "two"):
            assert running.row(running.ask(text))["shadow_model"] is None
        told = running.until("shadow_failures_total", 2)
        assert told['shadow_decisions_total{result="unknown"}'] == 2
        running.put("other.npz", pack(sound))
        running.until('config_reloads_total{result="ok"}', 1)
        assert would(running, "three") == ("all", "coder")
    failed = [record for record in caplog.records if record.getMessage() == "the shadow failed"]
    assert [(record.levelno, record.__dict__["error"]) for record in failed] == [(logging.ERROR, "OverflowError")]


@pytest.mark.parametrize(
    ("text", "files", "said"),
    [
        pytest.param(OF_ROUTES, {}, "there is no file", id="no-routes"),
        pytest.param(OF_POLICY, {}, "there is no file", id="no-policy"),
        pytest.param(OF_ROUTES, {"other.yaml": "version: 2\n"}, "other.yaml:1:10", id="bad-routes"),
        pytest.param(FILE + "shadow: {}\n", {}, "needs 'policy' for another policy, or 'routes'", id="nothing"),
        pytest.param(
            FILE + "shadow: {policy: a, routes: b}\n", {}, "shadow.routes: cannot stand beside 'policy'", id="both"
        ),
    ],
)
def test_what_cannot_be_a_shadow_is_a_mistake_of_the_file(
    tmp_path: Path, text: str, files: dict[str, str], said: str
) -> None:
    for name, content in {"routes.yaml": text, **files}.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError) as caught:
        ConfigSource(tmp_path / "routes.yaml", {"SIM": "http://sim", "STORE": "s.db"}).load()
    assert said in str(caught.value)
