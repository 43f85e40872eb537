"""`pointsman replay` on a store that a server might have written."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.config import Text
from proxy.embedding.shipped_model import minilm
from proxy.learning.fit import fit_policy
from proxy.learning.store import Store
from proxy.learning.stored_facts import kept
from proxy.learning.stored_rows import DecisionRow, Rating
from proxy.routing.asks import Asks
from proxy.routing.policy import ALWAYS_SINGLE, STEPS
from proxy.routing.policy_file import pack
from tests.learning.made import MODELS, made
from tests.learning.rows import row, settings
from tests.routing.requests import facts, user

BASE = """\
version: 1
upstreams:
  sim: {base_url: http://127.0.0.1:9/v1}
models:
  small: {target: {upstream: sim, name: s}, price: {input: 1, output: 2}}
  large: {target: {upstream: sim, name: l}, price: {input: 10, cached_input: 5, output: 20}}
  other: {target: {upstream: sim, name: o}}
default: small
"""
OLD = BASE + "routes:\n  - {name: long, when: {tokens: {min: 1000}}, use: large}\n"
TOPICS = """\
topics:
  code: {examples: [Fix the bug in my Python loop, Write a SQL query, Why does this function raise an exception]}
  law: {examples: [Draft a rental contract, Is this clause valid?, What does the law say about notice periods]}
"""


NOBODY_ASKS = Asks()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], env={"COLUMNS": "200", "POINTSMAN_CONFIG": None})


def fill(url: str, rows: list[DecisionRow], ratings: dict[str, float] | None = None) -> str:
    async def write() -> None:
        store = Store(settings(url))
        await store.write(rows)
        for name, value in (ratings or {}).items():
            await store.rate(Rating(name, value, "user"), None)
        await store.close()

    asyncio.run(write())
    return url


def decided(number: int, said: str = "hi", *, asks: Asks = NOBODY_ASKS, **fields: Any) -> DecisionRow:
    """A decision of `small` by default, for 1,000 tokens of which 400 were cached, and 100 in the answer."""
    asked = fields.pop("asked", None) or facts(user(said))
    plain: dict[str, Any] = {
        "route": "default", "model": "small", "reason": "default", "prompt_tokens": 1_000, "cached_tokens": 400,
        "completion_tokens": 100, "cost_usd": 0.0012, "facts": kept(asked, asks, Text()),
    }  # fmt: skip
    made = plain | fields
    return row(number, **{"answered": made["model"], **made})


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return written


def told(*arguments: object) -> dict[str, Any]:
    result = run("replay", *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_what_changes_and_what_that_costs(tmp_path: Path, write: Any) -> None:
    long = facts(user("word " * 2_000))
    moved: dict[str, Any] = {"route": "long", "model": "large", "reason": "rule", "cost_usd": 0.02}
    rows = [decided(n) for n in range(3)] + [decided(3, asked=long, **moved), decided(4, asked=long, **moved)]
    rows += [decided(5, reason="conversation"), decided(6, reason="overload"), decided(7, facts=None)]
    url = fill(f"sqlite:///{tmp_path}/s.db", rows)
    new = write("new.yaml", BASE + "routes:\n  - {name: short, when: {tokens: {max: 999}}, use: large}\n")
    found = told("--routes", new, "--store", url)
    assert (found["looked_at"], found["stay"], found["change"]) == (8, 0, 5)
    assert found["left_out"] == {"conversation": 1, "overload": 1}
    assert list(found["untold"].values()) == [1]
    assert found["changes"] == [
        {"from": {"route": "default", "model": "small"}, "to": {"route": "short", "model": "large"}, "decisions": 3},
        {"from": {"route": "long", "model": "large"}, "to": {"route": "default", "model": "small"}, "decisions": 2},
    ]
    cost = found["cost"]
    assert cost["decisions"] == 5
    assert cost["old_usd"] == pytest.approx(3 * 0.0012 + 2 * 0.02)
    # 600 fresh tokens, 400 cached ones and 100 of the answer; then 1,000 and 100 where cached ones cost the same
    assert cost["new_usd"] == pytest.approx(3 * (600 * 10 + 400 * 5 + 100 * 20) / 1e6 + 2 * 0.0012)
    assert cost["difference_usd_per_1000"] == pytest.approx(200 * cost["difference_usd"])
    assert [each["id"] for each in found["examples"]][:2] == ["ptm-3", "ptm-4"]
    assert found["examples"][0]["text"] is None

    same = told("--routes", write("old.yaml", OLD), "--store", url)
    assert (same["stay"], same["change"], same["cost"]["difference_usd"]) == (5, 0, 0)
    shown = run("replay", "--routes", new, "--store", url, "--fail-on-change")
    assert shown.exit_code == 1
    assert "default · small" in shown.stdout
    assert "8 decisions" in shown.stdout
    assert run("replay", "--routes", tmp_path / "old.yaml", "--store", url, "--fail-on-change").exit_code == 0
    assert told("--routes", new, "--store", url, "--limit", 2)["looked_at"] == 2
    assert told("--routes", new, "--store", url, "--since", "1h")["looked_at"] == 0


def test_what_was_written_to_the_cache_costs_its_price_there(tmp_path: Path, write: Any) -> None:
    rows = [decided(0, cache_write_tokens=200), decided(1, cache_write_tokens=None)]  # none is known of older ones
    url = fill(f"sqlite:///{tmp_path}/s.db", rows)
    dearer = BASE.replace("cached_input: 5, ", "cached_input: 5, cache_write: 12.5, ").replace(
        "default: small", "default: large"
    )
    cost = told("--routes", write("new.yaml", dearer), "--store", url)["cost"]
    first, second = 400 * 10 + 400 * 5 + 200 * 12.5 + 100 * 20, 600 * 10 + 400 * 5 + 100 * 20
    assert cost["new_usd"] == pytest.approx((first + second) / 1e6)


def test_decisions_whose_cost_is_not_known_are_told_apart(tmp_path: Path, write: Any) -> None:
    rows = [decided(0), decided(1, cost_usd=None), decided(2, cost_usd=None)]
    url = fill(f"sqlite:///{tmp_path}/s.db", rows)
    shown = run("replay", "--routes", write("old.yaml", OLD), "--store", url).stdout
    assert "Cost of 1 decisions (2 more have no known cost): 0.0012 USD now" in shown


def test_what_was_not_kept_cannot_be_told_and_what_was_can(tmp_path: Path, write: Any) -> None:
    asked = facts(headers={"x-team": "red", "x-tier": "gold"})
    rows = [
        decided(0, asked=asked, asks=Asks(headers=("x-team",)), text="hi"),
        decided(1, "a bug", text="a bug"),
        decided(2),
    ]
    url = fill(f"sqlite:///{tmp_path}/s.db", rows)
    team = write("team.yaml", BASE + "routes: [{name: red, when: {header: {X-Team: red}}, use: large}]")
    assert (told("--routes", team, "--store", url)["change"], told("--routes", team, "--store", url)["untold"]) == (
        1, {"header x-team": 2},
    )  # fmt: skip
    words = write("words.yaml", BASE + "routes: [{name: bug, when: {text: {contains: BUG}}, use: large}]")
    found = told("--routes", words, "--store", url)
    assert (found["stay"], found["change"], found["untold"]) == (1, 1, {"the text": 1})
    assert found["examples"][0]["text"] == "a bug"


def test_topics_are_tried_on_vectors_and_on_texts_that_have_none(tmp_path: Path, write: Any) -> None:
    embed = minilm(128).embed
    rows = [
        decided(0, vector=embed("Fix the bug in this Python function")),
        decided(1, text="Write a SQL query that counts rows"),
        decided(2, vector=embed("Is this rental contract valid?")),
        decided(3),
    ]
    url = fill(f"sqlite:///{tmp_path}/s.db", rows)
    new = BASE + TOPICS + "routes: [{name: code, when: {topic: code}, use: large}]\n"
    found = told("--routes", write("new.yaml", new), "--store", url)
    assert (found["stay"], found["change"]) == (1, 2)
    assert list(found["untold"].values()) == [1]
    assert "vector" in next(iter(found["untold"]))
    other = write("other.yaml", new + "text: {turns: 2}\n")
    found = told("--routes", other, "-c", write("old.yaml", BASE + f"store: '{url}'"))
    assert (found["change"], found["untold"]) == (0, {"the text as its `text` now has it": 4})


def test_a_damaged_vector_tells_nothing(tmp_path: Path, write: Any) -> None:
    vector = minilm(128).embed("Fix the bug in this Python function")
    url = fill(f"sqlite:///{tmp_path}/s.db", [decided(0, vector=vector), decided(1, vector=vector[:3])])
    new = BASE + TOPICS + "routes: [{name: code, when: {topic: code}, use: large}]\n"
    found = told("--routes", write("new.yaml", new), "--store", url)
    assert (found["change"], found["untold"]) == (1, {"the text's vector (it is damaged)": 1})


def test_of_a_split_only_its_shares_are_a_change(tmp_path: Path, write: Any) -> None:
    shares = "routes: [{{name: trial, use: {{split: {{small: {}, large: {}}}}}}}]\n"
    rows = [
        decided(
            n, route="trial", model=model, reason="split", arm=model, propensity=0.5, conversation_hash=b"%016d" % n
        )
        for n, model in enumerate(["small", "large"] * 40)
    ]
    url = fill(f"sqlite:///{tmp_path}/s.db", rows, {f"ptm-{n}": float(n % 2 == 1) for n in range(80)})
    old = write("old.yaml", BASE + shares.format(50, 50) + f"store: '{url}'\n")
    assert told("--routes", old, "--store", url)["change"] == told("--routes", old, "-c", old)["change"] == 0
    found = told("--routes", write("none.yaml", BASE + shares.format(0, 1)), "--store", url)
    assert (found["stay"], found["change"]) == (40, 40)
    # each answer of `large` was rated 1, and half of the decisions were its
    rating = found["rating"]
    assert (rating["difference"], rating["decisions"], rating["effective"]) == (0.5, 80, 40)
    assert rating["enough"]
    assert rating["low"] == pytest.approx(0.5 - 1.96 * 0.5 / 80**0.5, abs=1e-3)
    moved = told("--routes", write("more.yaml", BASE + shares.format(40, 60)), "-c", old)
    assert 0 < moved["change"] < 24
    assert all(each["from"]["model"] == "small" for each in moved["changes"])


def test_the_policys_arm_is_drawn_as_any_other(tmp_path: Path, write: Any) -> None:
    use = "{split: {large: 50, learned: 50}, learned: [small, large]}"
    trial = write("trial.yaml", BASE + f"routes: [{{name: trial, use: {use}}}]\n")
    rows = [
        decided(n, route="trial", model=model, reason="split", arm=arm, propensity=0.5, conversation_hash=b"%016d" % n)
        for n, (arm, model) in enumerate([("learned", "small"), ("large", "large")] * 40)
    ]
    url = fill(f"sqlite:///{tmp_path}/s.db", rows, {f"ptm-{n}": float(n % 2 == 1) for n in range(80)})
    found = told("--routes", trial, "--store", url)
    assert (found["stay"], found["change"], found["rating"]["difference"]) == (80, 0, None)


def test_ratings_of_routes_that_stay_as_they_are_tell_nothing_of_the_change(tmp_path: Path, write: Any) -> None:
    trial: dict[str, Any] = {"route": "trial", "reason": "learned", "propensity": 0.6, "asked": facts(model="trial")}
    rows = [decided(n, **trial) for n in range(100)] + [decided(100 + n) for n in range(5)]
    url = fill(f"sqlite:///{tmp_path}/s.db", rows, {f"ptm-{n}": float(n % 2) for n in range(105)})
    routes = "routes: [{name: trial, when: {model: trial}, use: {learned: [small, large], explore: 0.5}}]\n"
    old = write("old.yaml", BASE + routes + f"store: '{url}'\n")
    new = write("new.yaml", BASE.replace("default: small", "default: large") + routes)
    found = told("--routes", new, "-c", old)
    assert (found["stay"], found["change"], found["rating"]["decisions"]) == (100, 5, 0)


def test_a_new_price_is_a_new_cost(tmp_path: Path, write: Any) -> None:
    url = fill(f"sqlite:///{tmp_path}/s.db", [decided(n) for n in range(3)])
    old = write("old.yaml", BASE + f"store: '{url}'\n")
    new = write("new.yaml", BASE.replace("{input: 1, output: 2}", "{input: 2, output: 4}"))
    found = told("--routes", new, "-c", old)
    assert (found["stay"], found["change"]) == (3, 0)
    assert found["cost"]["difference_usd"] == pytest.approx(3 * 0.0012)


@pytest.fixture
def smart(tmp_path: Path) -> str:
    """A routes.yaml whose policy takes `coder`, and a store where `large` was explored once."""
    learned = fit_policy(made(120), embedder=minilm(128).name())
    means = np.array([2.0 if name == "coder" else 0.0 for name in MODELS], dtype=np.float32)
    prefer = np.tile(np.array([0.0, ALWAYS_SINGLE], dtype=np.float32), (STEPS, 1))
    (tmp_path / "p.npz").write_bytes(pack(replace(learned, means=means, prefer=prefer)))
    explored = decided(
        0, route="smart", model="large", reason="learned", propensity=0.1, vector=made(1).inputs[0, :768]
    )
    url = fill(f"sqlite:///{tmp_path}/s.db", [explored])
    text = BASE.replace(
        "other: {target: {upstream: sim, name: o}",
        "coder: {target: {upstream: sim, name: o}, price: {input: 900, output: 900}",
    )
    text += "policy: p.npz\nroutes: [{name: smart, use: {learned: [small, large, coder], prefer: quality}}]\n"
    return text + f"store: '{url}'\n"


def test_both_ways_cost_what_the_policy_expects_where_another_model_answered(smart: str, write: Any) -> None:
    """A price of the tokens that `large` took says little of what `coder` would have taken."""
    old = write("old.yaml", smart)
    dearer = write("dearer.yaml", smart.replace("input: 900", "input: 901"))
    for new in (dearer, write("new.yaml", smart.replace("large, coder]", "large]"))):
        found = told("--routes", new, "-c", old)
        assert found["looked_at"] == 1
        assert found["cost"]["old_usd"] == pytest.approx(0.001, rel=0.5)
        assert found["cost"]["new_usd"] == pytest.approx(0.001, rel=0.5)


@pytest.mark.parametrize("before", ["large, coder]", "large]"], ids=["the-same-model", "another-model"])
def test_a_new_price_is_a_new_cost_of_what_the_policy_expects(smart: str, write: Any, before: str) -> None:
    def new_usd(old: str, new: str) -> float:
        routes = write("new.yaml", smart.replace("{input: 900, output: 900}", new))
        then = write("old.yaml", smart.replace("{input: 900, output: 900}", old).replace("large, coder]", before))
        found: float = told("--routes", routes, "-c", then)["cost"]["new_usd"]
        return found

    plain = new_usd("{input: 9, output: 9}", "{input: 9, output: 9}")
    assert new_usd("{input: 9, output: 9}", "{input: 900, output: 900}") == pytest.approx(100 * plain)
    assert new_usd("{input: 9, output: 9}", "{input: 0, output: 0}") == 0.0
    # Of nothing there is no proportion, so it is the price of the stored tokens.
    assert new_usd("{input: 0, output: 0}", "{input: 1, output: 2}") == pytest.approx(0.0012)


def test_another_policy_has_the_prices_that_it_was_trained_at(smart: str, tmp_path: Path, write: Any) -> None:
    learned = fit_policy(made(120, seed=1), embedder=minilm(128).name())
    means = np.array([2.0 if name == "coder" else 0.0 for name in MODELS], dtype=np.float32)
    (tmp_path / "other.npz").write_bytes(pack(replace(learned, means=means)))
    old, other = write("old.yaml", smart), smart.replace("p.npz", "other.npz")
    plain, dearer = (
        told("--routes", write(name, text), "-c", old)["cost"]["new_usd"]
        for name, text in (("same.yaml", other), ("dearer.yaml", other.replace("900", "90000")))
    )
    assert dearer == pytest.approx(plain, rel=0.5)


def test_exploring_is_no_change(tmp_path: Path, write: Any) -> None:
    learned = BASE + "routes: [{name: smart, use: {learned: [small, large]}}]\n"
    rows = [
        decided(0, route="smart", reason="learned", propensity=0.95),
        decided(1, route="smart", model="large", reason="learned", propensity=0.05),
        decided(2, route="smart", model="large", reason="rule", propensity=0.05),  # while there was no policy
    ]
    url = fill(f"sqlite:///{tmp_path}/s.db", rows)
    new = write("new.yaml", learned)
    found = told("--routes", new, "--store", url)
    assert (found["stay"], found["change"], found["left_out"]) == (1, 0, {"explored": 2})
    found = told("--routes", new, "-c", new, "--store", url)
    assert (found["stay"], found["change"], found["left_out"]) == (3, 0, {})


def test_exploring_in_the_policys_arm_is_no_change_either(tmp_path: Path, write: Any) -> None:
    use = "{{split: {{large: 75, learned: 25}}, learned: [{}, other], explore: 0.2}}"
    trial = "routes: [{{name: trial, use: " + use + "}}]\n"
    drawn: dict[str, Any] = {"route": "trial", "reason": "learned"}
    rows = [
        decided(0, **drawn, arm="large", model="large", propensity=0.75),
        decided(1, **drawn, arm="learned", model="small", propensity=0.225),
        decided(2, **drawn, arm="learned", model="other", propensity=0.025),
    ]
    url = fill(f"sqlite:///{tmp_path}/s.db", rows)
    found = told("--routes", write("same.yaml", BASE + trial.format("small")), "--store", url)
    assert (found["stay"], found["change"], found["left_out"]) == (2, 0, {"explored": 1})
    found = told("--routes", write("new.yaml", BASE + trial.format("large")), "--store", url)
    assert [each["from"]["model"] for each in found["changes"]] == ["small"], "what the policy took before"


def test_ratings_tell_nothing_of_what_chance_did_not_try(tmp_path: Path, write: Any) -> None:
    """One in ten would change, and none of these happened to be explored; the others agree, which says nothing."""
    long = facts(user("word " * 2_000))
    rows = [
        decided(n, route="smart", reason="learned", propensity=0.99, asked=long if n < 20 else None) for n in range(200)
    ]
    url = fill(f"sqlite:///{tmp_path}/s.db", rows, {f"ptm-{n}": float(n % 3 > 0) for n in range(200)})
    new = "routes: [{name: long, when: {tokens: {min: 1000}}, use: large}, {name: smart, use: small}]\n"
    rating = told("--routes", write("new.yaml", BASE + new), "--store", url)["rating"]
    assert (rating["decisions"], rating["enough"]) == (200, False)
    assert rating["effective"] < 1


def test_the_turns_of_a_conversation_count_as_one(tmp_path: Path, write: Any) -> None:
    new, found = write("new.yaml", BASE + "routes: [{name: smart, use: large}]\n"), {}
    for turns in (1, 10):
        rows = [
            decided(n, route="smart", reason="learned", propensity=0.5, model="large" if n // turns % 2 else "small",
                    conversation_hash=b"%016d" % (n // turns))
            for n in range(240)
        ]  # fmt: skip
        liked = {f"ptm-{n}": float(n // turns % 4 > 0) for n in range(240)}
        url = fill(f"sqlite:///{tmp_path}/{turns}.db", rows, liked)
        found[turns] = told("--routes", new, "--store", url)["rating"]
    assert found[1]["difference"] == found[10]["difference"] == pytest.approx(0.25)
    assert [found[turns]["effective"] for turns in (1, 10)] == pytest.approx([120, 12])
    assert [found[turns]["enough"] for turns in (1, 10)] == [True, False]


def test_the_rating_of_a_fallbacks_answer_tells_nothing_of_the_draw(tmp_path: Path, write: Any) -> None:
    drawn: dict[str, Any] = {"route": "smart", "reason": "learned", "propensity": 0.5}
    rows = [decided(n, **drawn, answered="large" if n % 2 else "small") for n in range(120)]
    url = fill(f"sqlite:///{tmp_path}/s.db", rows, {f"ptm-{n}": float(n % 2) for n in range(120)})
    new = write("new.yaml", BASE + "routes: [{name: smart, use: large}]\n")
    assert told("--routes", new, "--store", url)["rating"]["decisions"] == 60


def test_a_request_that_would_be_refused_or_blocked(tmp_path: Path, write: Any) -> None:
    url = fill(f"sqlite:///{tmp_path}/s.db", [decided(0, asked=facts(model="gpt-9")), decided(1)])
    new = "rewrite: []\nroutes: [{name: no, when: {model: auto}, block: {status: 451}}]\n"
    found = told("--routes", write("new.yaml", BASE + new), "--store", url)
    assert {tuple(each["to"].values()) for each in found["changes"]} == {("refused", "model_not_found"), ("no", "-")}
    assert found["cost"]["new_usd"] == 0


def test_what_is_wrong_is_told_and_nothing_is_done(tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where no routes.yaml is
    bad, good = write("bad.yaml", BASE + "rutes: []\n"), write("good.yaml", BASE)
    for files in (("--routes", bad), ("--routes", good, "-c", bad)):
        result = run("replay", *files, "--store", f"sqlite:///{tmp_path}/s.db")
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"{bad}:9:1 rutes: unknown key; did you mean 'routes'?" in result.stderr
    result = run("replay", "--routes", good, "--store", f"sqlite:///{tmp_path}/none.db")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "none.db: no such file" in result.stderr
    wrong: list[tuple[tuple[object, ...], str]] = [
        ((), "Give --routes, --policy"),
        (("--policy", tmp_path / "p.npz"), "needs -c"),
        (("--policy", tmp_path / "p.npz", "--routes", good, "--store", "sqlite:///x"), "p.npz: no such file"),
        (("--routes", good), "names no 'store'"),
    ]
    for arguments, said in wrong:
        result = run("replay", *arguments)
        assert result.exit_code == 2, "1 says that decisions change"
        assert said in result.stderr
