"""`pointsman report` and `replay` on both databases: the same rows, the same figures."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.cli.report_figures import report_of
from proxy.config import Text
from proxy.learning.asking import Span
from proxy.learning.gain import Moments
from proxy.learning.store import Store
from proxy.learning.stored_facts import kept
from proxy.learning.stored_rows import DecisionRow, Rating
from proxy.routing.asks import Asks
from tests.learning.rows import row, settings
from tests.routing.requests import BASE, facts

DAY_S = 86_400.0


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def told(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def fill(url: str, rows: list[DecisionRow], ratings: list[tuple[int, str, float]]) -> None:
    async def write() -> None:
        store = Store(settings(url))
        await store.write(rows)
        for number, source, value in ratings:
            assert await store.rate(Rating(f"ptm-{number}", value, source), None) is not None
        await store.close()

    asyncio.run(write())


def decision(number: int, **fields: Any) -> DecisionRow:
    asked = facts()
    plain: dict[str, Any] = {
        "time": 20_000 * DAY_S + number, "model": "small", "answered": "small", "prompt_tokens": 100,
        "cached_tokens": 10, "completion_tokens": 50, "reasoning_tokens": 5, "cost_usd": 0.5, "baseline_cost_usd": 2.0,
        "seconds": float(number % 10), "first_token_s": None, "facts": kept(asked, Asks(), Text()),
        "conversation_hash": b"%016d" % number,
    }  # fmt: skip
    return row(number, **(plain | fields))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    fresh: Callable[[], str] = request.getfixturevalue("postgres").fresh
    return fresh()


def test_a_report_and_a_replay(url: str, tmp_path: Path) -> None:
    rows = [decision(number) for number in range(10)]
    rows[1] = decision(1, outcome="cut", is_cut=True, first_token_s=0.25)
    rows[2] = decision(2, outcome="client_left", status=0, cost_usd=None, baseline_cost_usd=None)
    rows[3] = decision(3, retry_of="ptm-0", bad_tool_calls=2)
    rows += [decision(10, route="hard", answered="large", time=20_001 * DAY_S, seconds=7.0, prompt_tokens=None)]
    rows += [
        decision(number, route="trial", reason="split", arm=arm, model=arm, answered=arm, propensity=0.5, cost_usd=cost,
                 shadow_route="new", shadow_model="large", shadow_chance=float(arm == "large"),
                 conversation_hash=b"%016d" % (number // 4))
        for number in range(100, 260) for arm, cost in [("large", 2.0) if number // 4 % 2 else ("small", 0.5)]
    ]  # fmt: skip
    ratings = [(0, "user", 1.0), (0, "judge", 0.5), (1, "user", 0.25)]
    ratings += [(n, "user", 0.9 if n // 4 % 2 else (0.0, 0.5)[n // 8 % 2]) for n in range(100, 260, 2)]
    fill(url, rows, ratings)

    found = told("report", "--store", url)
    assert found["by"] == ["route", "model"]
    assert [(group["route"], group["model"], group["decisions"]) for group in found["groups"]] == [
        ("trial", "large", 80), ("trial", "small", 80), ("code", "small", 10), ("hard", "large", 1),
    ]  # fmt: skip
    code = found["groups"][2]
    assert (code["errors"], code["left"], code["cut"], code["bad_tool_calls"], code["retried"]) == (1, 1, 1, 1, 1)
    assert code["tokens"] == {"prompt": 1000, "cached": 100, "completion": 500, "reasoning": 50}
    assert (code["cost_usd"], code["priced"], code["baseline_cost_usd"]) == (4.5, 9, 18.0)
    assert code["saved_usd"] == 8 * 2.0 - 9 * 0.5, "a question that was asked again would have been asked once"
    assert (code["p50_s"], code["p95_s"], code["first_token_p50_s"]) == (5.0, 9.0, 0.25)
    assert (code["rating"]["value"], code["rating"]["rated"], code["rating"]["enough"]) == (0.5, 2, False)
    assert (found["total"]["decisions"], found["first"], found["last"]) == (171, 20_000 * DAY_S, 20_001 * DAY_S)

    small, large = sorted(found["experiments"]["trial"], key=lambda arm: str(arm["arm"]), reverse=True)
    assert (small["arm"], small["decisions"], small["conversations"]) == ("small", 80, 20)
    assert (small["rating"]["value"], large["rating"]["value"]) == pytest.approx((0.25, 0.9))
    assert (small["cost_usd"]["value"], small["cost_usd"]["interval"]) == (0.5, [0.5, 0.5])
    assert not small["rating"]["enough"], "of twenty conversations"
    first, second = found["experiments"]["trial"]
    assert ("difference" in first, "difference" in second) == (False, True)
    assert abs(second["difference"]["rating"]["value"]) == pytest.approx(0.65)
    assert "not enough ratings" in second["verdict"]

    shadow = found["shadow"]
    assert (shadow["decisions"], shadow["agreed"], shadow["drawn"]) == (160, 80, 160)
    assert shadow["differing"] == [
        {"route": "trial", "model": "small", "shadow_route": "new", "shadow_model": "large", "decisions": 80}
    ]
    assert shadow["rating"]["value"] == pytest.approx(0.9 - (0.9 + 0.25) / 2)
    assert shadow["cost_usd"]["value"] == pytest.approx(2.0 - (2.0 + 0.5) / 2)
    assert (shadow["rating"]["enough"], shadow["rating"]["effective"]) == (False, pytest.approx(20)), "conversations"

    days = told("report", "--store", url, "--by", "day")
    assert [(day["day"], day["decisions"]) for day in days["groups"]] == [("2024-10-04", 170), ("2024-10-05", 1)]
    assert days["groups"][0]["rating"]["rated"] == 82
    assert days["total"]["decisions"] == 171
    by_model = told("report", "--store", url, "--by", "model")["groups"]
    assert {group["model"]: group["decisions"] for group in by_model} == {"small": 90, "large": 81}

    new = tmp_path / "new.yaml"
    new.write_text(BASE + "routes: [{name: code, when: {tokens: {max: 9}}, use: large}]\n")
    again = told("replay", "--routes", new, "--store", url, "--limit", 165)
    assert (again["looked_at"], again["change"], again["to_another_model"]) == (165, 165, 85)


def test_what_asking_again_saves_is_counted_once(url: str) -> None:
    """A failure has no cost, so the baseline's is that of the answer after it; and of what was asked before `since`."""
    failed: dict[str, Any] = {"status": 503, "outcome": "failed", "cost_usd": None, "baseline_cost_usd": None}
    now = time.time()
    rows = [
        decision(0, time=now - 9000, **failed),
        decision(1, time=now - 8999, retry_of="ptm-0", model="large", answered="large"),
        decision(2, time=now - 7000),
        decision(3, time=now - 6999, retry_of="ptm-2"),
        decision(4, time=now - 3700),
        decision(5, time=now - 3500, retry_of="ptm-4"),
    ]
    fill(url, rows, [])

    def saved(*options: str) -> dict[str, float]:
        found = told("report", "--store", url, "--by", "model", *options)
        return {group["model"]: group["saved_usd"] for group in found["groups"]}

    once, twice = 2.0 - 0.5, 2.0 - 2 * 0.5
    assert saved() == {"large": once, "small": 2 * twice}
    assert saved("--since", "1h") == {"small": once}
    until = report_of(settings(url), "model", Span(until=now - 3600), {})
    assert [group["saved_usd"] for group in until["groups"]] == [twice + once, once]


def test_what_failed_between_two_answers_is_no_reason_to_count_twice(url: str) -> None:
    """An SDK asks again twice by itself before its user does."""
    failed: dict[str, Any] = {"status": 503, "outcome": "failed", "cost_usd": None, "baseline_cost_usd": None}
    fill(
        url,
        [
            decision(0),
            *(
                decision(number, retry_of=f"ptm-{number - 1}", model="large", answered="large", **failed)
                for number in (1, 2)
            ),
            decision(3, retry_of="ptm-2"),
            decision(4, retry_of="ptm-3"),
            decision(5, retry_of="ptm-6", **failed),  # a store that somebody else wrote
            decision(6, retry_of="ptm-5", **failed),
            decision(7, retry_of="ptm-6"),
        ],
        [],
    )
    found = told("report", "--store", url, "--by", "model")
    groups = {group["model"]: (group["saved_usd"], group["retried"]) for group in found["groups"]}
    assert groups == {"small": (2 * 2.0 - 4 * 0.5, 5), "large": (None, 2)}
    assert found["total"]["saved_usd"] == 2 * 2.0 - 4 * 0.5


def test_what_the_shadow_would_gain_is_summed_up_by_conversation(url: str) -> None:
    """A database's sums, against the same made of the rows."""
    draw = np.random.default_rng(3)
    count = 600
    groups, liked = draw.integers(0, 90, count), draw.random(count).round(3)
    propensities, agrees = draw.choice([0.2, 0.5, 0.8], count), draw.random(count) < 0.5
    chances = np.where(draw.random(count) < 0.3, 0.4, agrees)  # some explore
    fill(
        url,
        [
            decision(n, propensity=float(propensities[n]), shadow_route="new", conversation_hash=b"%016d" % groups[n],
                     shadow_model="small" if agrees[n] else "large", shadow_chance=float(chances[n]))
            for n in range(count)
        ],
        [(n, "user", float(liked[n])) for n in range(count)],
    )  # fmt: skip
    found = told("report", "--store", url)["shadow"]["rating"]
    weights, ones = chances / propensities, np.ones(count)
    gain = Moments.of(liked, weights, ones, propensities, groups=groups).gain
    assert (found["value"], found["low"], found["high"], found["effective"]) == pytest.approx(
        (gain.value, gain.low, gain.high, gain.effective)
    )
    alone = Moments.of(liked, weights, ones, propensities, groups=np.arange(count)).gain
    assert alone.effective > gain.effective > 30


def test_of_the_shadow_only_what_chance_tried_and_itself_answered_is_known(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    beside = {"shadow_route": "new", "propensity": 0.99}
    rows = [
        decision(n, shadow_model="large" if n < 20 else "small", shadow_chance=float(n >= 20), **beside)
        for n in range(200)
    ]
    rows += [decision(n, shadow_model="large", shadow_chance=0.0, answered="large", **beside) for n in range(200, 240)]
    beside |= {"shadow_route": "another", "propensity": 1.0}
    rows += [decision(n, shadow_model="large", shadow_chance=0.0, **beside) for n in range(240, 243)]
    fill(url, rows, [(n, "user", float(n % 3 > 0)) for n in range(240)])
    shadow = told("report", "--store", url)["shadow"]
    assert (shadow["decisions"], shadow["agreed"], shadow["drawn"]) == (243, 180, 240)
    assert [(pair["shadow_route"], pair["decisions"]) for pair in shadow["differing"]] == [("new", 60), ("another", 3)]
    for measure in ("rating", "cost_usd"):
        assert (shadow[measure]["decisions"], shadow[measure]["enough"]) == (200, False)
        assert shadow[measure]["effective"] < 1
    assert "not enough to say" in run("report", "--store", url).stdout


def test_nothing_is_stored(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    fill(url, [], [])
    assert told("report", "--store", url)["groups"] == []
    assert "No decisions" in run("report", "--store", url).stdout
    result = run("report", "--store", f"sqlite:///{tmp_path}/none.db")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no such file" in result.stderr


def test_the_file_says_which_arm_the_others_are_compared_with_and_too_little_is_said(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/store.db", tmp_path / "routes.yaml"
    file.write_text(f"{BASE}store: {url}\nroutes: [{{name: trial, use: {{split: {{large: 1, small: 9}}}}}}]\n")
    arms = ["large"] + ["small"] * 9
    rows = [decision(n, route="trial", arm=arm, model=arm, answered=arm) for n, arm in enumerate(arms)]
    fill(url, rows, [(0, "user", 1.0), (1, "user", 0.0)])
    found = told("report", "-c", file)["experiments"]["trial"]
    assert [arm["arm"] for arm in found] == ["large", "small"]
    assert told("report", "-c", file)["shadow"] is None
    assert found[1]["more_ratings_needed"] == 1569
    assert found[1]["verdict"].startswith("not enough ratings to say; some 1,569 more")
    shown = run("report", "-c", file).stdout
    assert "small against large: not enough ratings" in shown
    (large,) = (line.split("  ") for line in shown.splitlines() if line.startswith("large  "))
    assert [cell.strip() for cell in large if cell.endswith("(few)")] == [
        "1.000 (few)",
        "0.5 (few)",
        "0 (few)",
        "0.00% (few)",
    ]
    assert "too few for an interval" in shown
    assert told("report", "-c", file, "--since", "30d")["total"]["decisions"] == 0


def test_arms_that_the_file_no_longer_has_come_after_the_others_the_most_frequent_first(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/store.db", tmp_path / "routes.yaml"
    file.write_text(f"{BASE}store: {url}\nroutes: [{{name: trial, use: {{split: {{large: 1, small: 9}}}}}}]\n")
    arms = ["fewer"] * 2 + ["more"] * 4 + ["small"] * 3 + ["large"]
    fill(url, [decision(n, route="trial", arm=arm) for n, arm in enumerate(arms)], [])
    found = told("report", "-c", file)["experiments"]["trial"]
    assert [arm["arm"] for arm in found] == ["large", "small", "more", "fewer"]


def test_few_is_explained_where_it_stands(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    fill(url, [decision(1), decision(2)], [])
    assert "few" not in run("report", "--store", url, "--by", "model").stdout
    fill(url, [], [(2, "user", 1.0)])
    shown = run("report", "--store", url, "--by", "model").stdout
    assert (shown.count("(few)"), shown.count("\nfew: of fewer than 30")) == (2, 1)


def test_names_in_the_store_neither_break_a_report_nor_steer_a_terminal(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/store.db", tmp_path / "routes.yaml"
    file.write_text(BASE)
    names = ["[/red]", "[bold]b[/bold]", "\x1b[31mred", "two\nlines", "", ":smile:", "'; DROP TABLE decisions"]
    rows = [
        decision(n, route=name, model=name, answered=name, arm=name, propensity=0.5, text=name, shadow_route=name,
                 shadow_model="[/]")
        for n, name in enumerate(names)
    ]  # fmt: skip
    fill(url, rows, [(n, "user", 1.0) for n in range(len(names))])
    for command in (("report",), ("report", "--by", "route"), ("replay", "--routes", file)):
        result = run(*command, "--store", url)
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.stdout
        for name in ("[/red]", "[bold]b[/bold]", "\N{REPLACEMENT CHARACTER}[31mred", ":smile:"):
            assert name in result.stdout


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        pytest.param(0.0, "1970-01-01", id="a-clock-that-was-not-set"),
        pytest.param(-1e18, "-1.15741e+13 days", id="before-all-years"),
        pytest.param(253_402_300_800.0, "2.9329e+06 days", id="after-all-years"),
        pytest.param(9e99, "1.04167e+95 days", id="beyond-a-machine's-time"),
    ],
)
def test_a_clock_that_was_out_of_order(time: float, shown: str, tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/store.db", tmp_path / "routes.yaml"
    file.write_text(BASE)
    fill(url, [decision(0, time=time), decision(1)], [(0, "user", 1.0)])
    days = told("report", "--store", url, "--by", "day")["groups"]
    assert {day["day"]: (day["decisions"], day["rating"]["rated"]) for day in days} == {
        shown: (1, 1),
        "2024-10-04": (1, 0),
    }
    for command in (("report",), ("report", "--by", "day"), ("replay", "--routes", file)):
        assert run(*command, "--store", url).exit_code == 0
