"""Which model, by which route, and why."""

from __future__ import annotations

import numpy as np
import pytest

from proxy.errors import UnknownModel
from proxy.routing.decision import Decision
from proxy.routing.facts import Facts
from proxy.routing.router import Router
from proxy.routing.signals import Signals
from proxy.routing.topics import TopicScores
from tests.routing.requests import TOPICS, config, facts, user

ROUTES = """\
rewrite: ["gpt-4*"]
routes:
  - {name: long, when: {tokens: {min: 100}}, use: large}
  - {name: code, when: {topic: code}, use: large}
  - {name: urgent, when: {header: {x-p: high}}, use: large}
  - {name: both, when: {topic: law, model: gpt-4o}, use: gpt-own}
"""
ROUTER = Router(config(TOPICS + ROUTES))
NONE_YET = Signals()
CODE = Signals(topics=TopicScores(("code", "law"), 0, 0.9, 0.5, lambda: np.array([0.9, 0.1])))
LAW = Signals(topics=TopicScores(("code", "law"), 1, 0.9, 0.5, lambda: np.array([0.1, 0.9])))
NEITHER = Signals(topics=TopicScores(("code", "law"), 0, 0.2, 0.5, lambda: np.array([0.2, 0.1])))
FULL = Signals(missing="the embedder is full", is_overload=True)
NO_TEXT = Signals(missing="no text")
LONG = user("x" * 800)


@pytest.mark.parametrize(
    ("asked", "signals", "decision"),
    [
        pytest.param(facts(LONG), NONE_YET, Decision("long", "large", "rule"), id="rule-before-topic-needs-no-text"),
        pytest.param(facts(LONG), CODE, Decision("long", "large", "rule"), id="first-match-wins"),
        pytest.param(facts(), NONE_YET, None, id="a-topic-that-matters"),
        pytest.param(facts(headers={"x-p": "high"}), NONE_YET, None, id="a-topic-before-the-rule-matters"),
        pytest.param(facts(), CODE, Decision("code", "large", "topic"), id="topic"),
        pytest.param(
            facts(headers={"x-p": "high"}), LAW, Decision("urgent", "large", "rule", is_firm=True), id="later-rule"
        ),
        pytest.param(
            facts(headers={"x-p": "high"}), FULL, Decision("urgent", "large", "rule", is_firm=True), id="overload-rule"
        ),
        pytest.param(facts(), LAW, Decision("default", "small", "default"), id="every-condition-must-hold"),
        pytest.param(facts(model="gpt-4o"), LAW, Decision("both", "gpt-own", "topic"), id="all-conditions-hold"),
        pytest.param(facts(), NEITHER, Decision("default", "small", "default"), id="below-threshold"),
        pytest.param(facts(), NO_TEXT, Decision("default", "small", "default"), id="no-text"),
        pytest.param(facts(), FULL, Decision("default", "small", "overload"), id="overload"),
        pytest.param(
            facts(model="large"), NONE_YET, Decision("pinned", "large", "pinned", is_firm=True), id="pinned-by-name"
        ),
        pytest.param(
            facts(LONG, headers={"x-pointsman-model": "gpt-own"}),
            NONE_YET,
            Decision("pinned", "gpt-own", "pinned", is_firm=True),
            id="pinned-by-header",
        ),
        pytest.param(
            facts(model="nobody", headers={"x-pointsman-model": "large"}),
            NONE_YET,
            Decision("pinned", "large", "pinned", is_firm=True),
            id="header-before-name",
        ),
    ],
)
def test_decide(asked: Facts, signals: Signals, decision: Decision | None) -> None:
    assert ROUTER.decide(asked, signals) == decision


@pytest.mark.parametrize("signals", [FULL, NO_TEXT], ids=["overload", "no-text"])
@pytest.mark.parametrize(
    ("when", "is_taken"),
    [
        pytest.param("{topic: law}", False, id="topic"),
        pytest.param("{not: {topic: law}}", False, id="not"),
        pytest.param("{not: {complexity: {max: 0.3}}}", False, id="not-complexity"),
        pytest.param("{all: [{model: auto}, {not: {topic: law}}]}", False, id="all"),
        pytest.param("{any: [{model: gpt-4o}, {not: {topic: law}}]}", False, id="any"),
        pytest.param("{any: [{model: auto}, {not: {topic: law}}]}", True, id="any-of-which-one-is-known"),
        pytest.param("{not: {all: [{topic: law}, {model: gpt-4o}]}}", True, id="not-all-of-which-one-is-known"),
    ],
)
def test_a_text_that_nobody_will_know_opens_no_route(signals: Signals, when: str, is_taken: bool) -> None:
    router = Router(config(TOPICS + f"routes: [{{name: r, when: {when}, block: {{status: 403}}}}]\n"))
    decision = router.decide(facts(), signals)
    assert decision is not None
    otherwise = ("default", "overload" if signals is FULL else "default")
    assert (decision.route, decision.reason) == (("r", "rule") if is_taken else otherwise)
    assert [trace.matched for trace in router.explain(facts(), signals)] == [is_taken]


def test_lazy_where_another_condition_fails_first() -> None:
    """A topic beside a condition that does not hold costs no embedding."""
    routes = "routes: [{name: r, when: {topic: law, model: gpt-4o}, use: large}]\n"
    router = Router(config(TOPICS + routes))
    assert router.decide(facts(), NONE_YET) == Decision("default", "small", "default")
    assert router.decide(facts(model="gpt-4o"), NONE_YET) is None


@pytest.mark.parametrize(
    ("model", "headers", "param"),
    [
        pytest.param("gpt-5", {}, "model", id="name"),
        pytest.param("auto", {"x-pointsman-model": "gpt-5"}, None, id="header"),
        pytest.param("auto", {"x-pointsman-model": "auto"}, None, id="header-auto"),
        pytest.param("", {}, "model", id="empty"),
    ],
)
def test_unknown_model(model: str, headers: dict[str, str], param: str | None) -> None:
    with pytest.raises(UnknownModel, match="not served here") as raised:
        ROUTER.decide(facts(model=model, headers=headers), NONE_YET)
    assert raised.value.param == param


def test_auto_is_routed_even_if_nothing_is_rewritten() -> None:
    router = Router(config("rewrite: []\n"))
    assert router.decide(facts(), NONE_YET) == Decision("default", "small", "default")


def test_explain_says_which_route_and_why() -> None:
    traces = ROUTER.explain(facts(headers={"x-p": "high"}), CODE)
    assert [(t.route, t.matched, t.why) for t in traces] == [
        ("long", False, "about 4 tokens, fewer than 100"),
        ("code", True, "the best topic is code with 0.90, threshold 0.50"),
        ("urgent", False, "would apply, but an earlier route did: header x-p matches high"),
        ("both", False, "model 'auto' does not match gpt-4o"),
    ]


def test_explain_shows_one_route_that_is_taken() -> None:
    traces = ROUTER.explain(facts(LONG, headers={"x-p": "high"}), NEITHER)
    assert [trace.route for trace in traces if trace.matched] == ["long"], "though one between them does not match"


def test_what_was_not_drawn_had_one_model_only() -> None:
    decision = Decision("r", "small", "rule")
    assert [decision.chance_of(model) for model in ("small", "large")] == [1.0, 0.0]


def test_explain_of_a_pinned_model_looks_at_no_route() -> None:
    whys = {(t.matched, t.why) for t in ROUTER.explain(facts(model="large"), NONE_YET)}
    assert whys == {(False, "not looked at: the client named the model")}


def test_decisions_are_all_that_can_come_out() -> None:
    assert ROUTER.possible.decisions == {
        ("long", "large", "rule"),
        ("code", "large", "topic"),
        ("urgent", "large", "rule"),
        ("both", "gpt-own", "topic"),
        ("pinned", "small", "pinned"),
        ("pinned", "large", "pinned"),
        ("pinned", "gpt-own", "pinned"),
        ("default", "small", "default"),
        ("default", "small", "overload"),
        ("pinned", "small", "conversation"),
        ("pinned", "large", "conversation"),
        ("pinned", "gpt-own", "conversation"),
        ("long", "large", "conversation"),
        ("code", "large", "conversation"),
        ("both", "gpt-own", "conversation"),
        ("default", "small", "conversation"),
    }
    assert ("default", "small", "overload") not in Router(config()).possible.decisions
