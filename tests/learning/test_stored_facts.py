"""Facts on their way into the store and back: each condition holds as it did, or says what it misses."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from proxy.config import Text
from proxy.learning.stored_facts import NotStored, StoredFacts, asked_of, kept
from proxy.learning.stored_rows import LONGEST_TEXT
from proxy.routing.asks import Asks
from proxy.routing.conditions import compile_when
from proxy.routing.facts import Facts
from proxy.routing.messages import read_message
from proxy.routing.preference import asked_preference
from proxy.routing.router import Router
from proxy.routing.shape import shape_of
from proxy.routing.signals import Signals
from tests.routing.requests import config, facts, user

SAID = "Fix the bug, please"


def route(when: str) -> str:
    return f"routes: [{{name: r, when: {when}, use: small}}]\n"


def back(asked: Facts, asks: Asks, *, with_text: bool = True) -> StoredFacts:
    text = asked.text(Text())
    return StoredFacts(kept(asked, asks, Text()), text=text if with_text else None, conversation=b"c")


def request(**fields: Any) -> Facts:
    tool = {"type": "function", "function": {"name": "f"}}
    fields = {"metadata": {"tier": "gold"}, "user": "ann", "tools": [tool], "stream": True, **fields}
    return facts(
        user("before"), {"role": "assistant", "content": "."}, user(SAID), model="gpt-5", headers={"x-team": "red"},
        max_tokens=500, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("when", "others"),
    [
        pytest.param('{model: "gpt-*"}', "{model: o1}", id="model"),
        pytest.param("{header: {x-team: r*}}", "{header: {x-team: blue}}", id="header"),
        pytest.param("{metadata: {tier: gold}}", "{metadata: {tier: tin}}", id="metadata"),
        pytest.param("{user: a*}", "{user: bob}", id="user"),
        pytest.param("{tokens: {max: 100}}", "{tokens: {min: 101}}", id="tokens"),
        pytest.param("{turns: {min: 2, max: 2}}", "{turns: {min: 3}}", id="turns"),
        pytest.param("{has: [tools, stream]}", "{has: [images]}", id="has"),
        pytest.param("{text: {contains: BUG}}", "{text: {contains: law}}", id="contains"),
        pytest.param('{text: {matches: "Fix .*"}}', '{text: {matches: "^bug"}}', id="matches"),
        pytest.param("{all: [{user: ann}, {header: {x-none: '*'}}]}", "{not: {user: ann}}", id="nested"),
    ],
)
def test_each_condition_holds_as_it_did(when: str, others: str) -> None:
    for text in (when, others):
        loaded = config(route(text))
        condition = compile_when(loaded.routes[0].when, loaded.text)
        asked, stored = request(), back(request(), Router(loaded).asks)
        assert condition.holds(stored, Signals()) is condition.holds(asked, Signals())
    assert condition.holds(stored, Signals()) is False


@pytest.mark.parametrize(
    ("when", "missing"),
    [
        pytest.param("{header: {x-team: red}}", "header x-team", id="header"),
        pytest.param("{header: {authorization: '*'}}", "header authorization", id="a-key"),
        pytest.param("{metadata: {tier: gold}}", "metadata tier", id="metadata"),
        pytest.param("{user: ann}", "the user", id="user"),
        pytest.param("{text: {contains: bug}}", "the text", id="contains"),
        pytest.param("{text: {matches: bug}}", "the text", id="matches"),
    ],
)
def test_what_nobody_asked_about_is_not_stored_and_said_so(when: str, missing: str) -> None:
    loaded = config(route(when))
    condition = compile_when(loaded.routes[0].when, loaded.text)
    stored = back(request(), Asks(headers=("x-other",), metadata=("other",)), with_text=False)
    with pytest.raises(NotStored, match=f"^{missing}$"):
        condition.holds(stored, Signals())


def test_what_was_absent_is_known_to_be() -> None:
    stored = back(facts(), Asks(headers=("x-team",), metadata=("tier",), user=True))
    assert (stored.headers.get("x-team"), stored.metadata.get("tier"), stored.user) == (None, None, None)
    assert "x-pointsman-model" not in stored.headers
    assert asked_preference(stored.headers) is None


def test_what_steers_any_decision_is_kept_whoever_asks() -> None:
    headers = {"x-pointsman-prefer": "cheap", "x-pointsman-model": "large"}
    stored = back(facts(headers=headers), Asks())
    assert asked_preference(stored.headers) == 0.25
    decision = Router(config()).decide(stored, Signals())
    assert decision is not None
    assert (decision.model, decision.reason) == ("large", "pinned")


def test_nothing_else_is_stored() -> None:
    headers = {"authorization": "Bearer sk-secret", "x-team": "red", "x-long": "secret " * 100}
    asked = facts(user("secret"), headers=headers, metadata={"a": "secret"}, user="secret", model="secret" * 100)
    stored = kept(asked, Asks(headers=("x-team", "x-long"), user=False), Text())
    assert json.loads(stored) == {
        "tokens": 5, "needed": 5, "text_tokens": 5, "model": None, "headers": {"x-team": "red"},
    }  # fmt: skip
    again = StoredFacts(stored, text=None, conversation=b"c")
    for missing in ("header x-long", "the requested model"):
        with pytest.raises(NotStored, match=missing):
            _ = again.headers["x-long"] if "header" in missing else again.model


def test_the_shape_of_a_text_that_was_looked_at_is_kept_and_is_not_the_text() -> None:
    shape = shape_of(SAID)
    stored = kept(request(), Asks(), Text(), shape)
    assert len(json.loads(stored)["shape"]) < 120
    known = StoredFacts(stored, text=None, conversation=b"c")
    assert known.shape(Text()) == pytest.approx(shape, rel=1e-3)
    assert asked_of(stored)[0] == known.text_tokens(Text()) == request().text_tokens(Text()) < request().tokens
    assert asked_of(stored)[1].tolist() == known.shape(Text()).tolist()


@pytest.mark.parametrize(
    ("text", "is_known"),
    [(SAID, True), ("x" * LONGEST_TEXT, False), (None, False)],
    ids=["from-the-text", "from-a-cut-text", "from-nothing"],
)
def test_a_shape_that_was_not_kept_comes_from_the_text_where_that_is_whole(text: str | None, is_known: bool) -> None:
    stored = StoredFacts(kept(request(), Asks(), Text()), text=text, conversation=b"c")
    assert np.isfinite(stored.shape(Text())).all() == is_known


@pytest.mark.parametrize("stored", [None, "", "[1", "{}", '{"shape": "AAAA"}', '{"shape": 5}', "\ud800"])
def test_of_what_is_no_shape_nothing_is_known(stored: str | None) -> None:
    tokens, shape = asked_of(stored)
    assert np.isnan(tokens)
    assert np.isnan(shape).all()


def test_anthropics_requests_are_told_from_others() -> None:
    body = {"model": "auto", "max_tokens": 7, "messages": [user("hi")], "metadata": {"user_id": "ann"}}
    stored = back(read_message(json.dumps(body).encode(), {}), Asks(user=True))
    assert (stored.protocol, stored.user, stored.tokens_needed - stored.tokens) == ("anthropic", "ann", 7)


def test_a_request_without_text_has_none_whatever_is_kept() -> None:
    stored = back(facts({"role": "system", "content": "be kind"}), Asks(), with_text=False)
    assert (stored.text(Text()), stored.is_silent) == ("", True)


def test_a_text_that_was_cut_does_not_pass_for_the_whole() -> None:
    stored = StoredFacts(kept(facts(), Asks(), Text()), text="x" * LONGEST_TEXT, conversation=b"c")
    with pytest.raises(NotStored, match="beyond 8,000"):
        stored.text(Text())


@pytest.mark.parametrize("stored", [None, "", "{", "[]", '{"tokens": 1}', "\ud800"])
def test_a_row_without_facts(stored: str | None) -> None:
    with pytest.raises(NotStored, match="older"):
        StoredFacts(stored, text=None, conversation=b"c")
