"""Which model a conversation goes on with, seen from outside; and the map that remembers it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import msgspec
import pytest

from proxy.embedding import Vector
from proxy.endpoints.conversations import Conversations
from proxy.routing.conversation import Held, ranks
from proxy.routing.router import Router
from tests.relay.wire import House, WordModel
from tests.relay.wire import house as open_house
from tests.routing.requests import config, facts, user

ROUTES = """
version: 1
upstreams: {one: {base_url: "${SIM}/one/v1"}}
models:
  cheap: {target: {upstream: one, name: gpt-4o-mini}, price: {input: 1, output: 1}, context: 400, fallbacks: [middle]}
  middle: {target: {upstream: one, name: gpt-4o}, price: {input: 2, output: 2}}
  dear: {target: {upstream: one, name: o3-mini}, price: {input: 5, output: 5}, context: 4000, set: {seed: 5}}
default: cheap
conversation: {switch: SWITCH}
embedding: {deadline: 20s}
topics:
  code:
    examples: [fix the bug in my code, write code for a loop, my code has a bug, the loop in the code is a bug]
  weather:
    examples: [will rain come today, is sun or rain ahead, rain and sun and wind, the wind today brings rain]
routes:
  - {name: secret, when: {text: {contains: password}}, block: {status: 403}}
  - {name: inside, when: {header: {x-class: secret}}, use: middle}
  - {name: long, when: {tokens: {min: 300}}, use: dear}
  - {name: code, when: {topic: code}, use: dear}
"""
CODE, RAIN, LONG = "fix the bug in my code", "will rain come today", "will rain come today " * 60
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}  # fmt: skip
RESULT = {"role": "tool", "tool_call_id": "1", "content": CODE}
REMINDER = "<system-reminder>The todo list is empty.</system-reminder>"
# The same with a route before all others that needs the text, as those behind it do not.
GUARDED = ROUTES.replace(
    "\nroutes:\n", "\nroutes:\n  - {name: no-weather, when: {topic: weather}, block: {status: 451}}\n"
)


# The same with a dear default, from which only what is known of the text leads to a cheaper model.
BY_WEATHER = "  - {name: weather, when: {topic: weather}, use: {split: {cheap: 50, middle: 50}}}\n"
CHEAPER = ROUTES.replace("default: cheap", "default: dear") + BY_WEATHER


class BrokenModel(WordModel):
    """Fails on `bad`."""

    def embed(self, text: str) -> Vector:
        if "bad" in text:
            raise RuntimeError(text)
        return super().embed(text)


@pytest.fixture(scope="module", params=["never", "upgrade", "always"])
def guarded(request: pytest.FixtureRequest) -> Iterator[House]:
    with open_house(GUARDED.replace("SWITCH", request.param)) as house:
        yield house


@pytest.fixture(scope="module", params=["never", "upgrade", "always"])
def kept(request: pytest.FixtureRequest) -> Iterator[tuple[str, House]]:
    with open_house(ROUTES.replace("SWITCH", request.param)) as house:
        yield request.param, house


@pytest.fixture(scope="module", params=["never", "upgrade", "always"])
def cheaper(request: pytest.FixtureRequest) -> Iterator[tuple[str, House]]:
    text = CHEAPER.replace("SWITCH", request.param)
    with open_house(text, load_model=lambda _: BrokenModel()) as house:
        yield request.param, house


@pytest.fixture(scope="module")
def upgrade() -> Iterator[House]:
    with open_house(ROUTES.replace("SWITCH", "upgrade")) as house:
        yield house


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def dialogue(*said: str | dict[str, Any]) -> list[dict[str, Any]]:
    """Texts are the user's, with an answer after each but the last; messages of other kinds stand as they are."""
    messages: list[dict[str, Any]] = []
    for one in said:
        if isinstance(one, str):
            if messages and messages[-1]["role"] == "user":
                messages.append({"role": "assistant", "content": "well"})
            messages.append({"role": "user", "content": one})
        else:
            messages.append(one)
    return messages


def turn(house: House, *said: str | dict[str, Any], headers: dict[str, str] | None = None, **fields: Any) -> str:
    """The model that answers this turn, with why."""
    body = {"model": "auto", "messages": dialogue(*said), **fields}
    answer = house.http.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return f"{answer.headers['x-pointsman-model']} {answer.headers['x-pointsman-reason']}"


# For each kind of `switch`, the second turn after a first that went to the model named.
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(CODE, RAIN, {"never": "dear conversation", "upgrade": "dear conversation", "always": "cheap default"}, id="to-a-weaker-one"),
        pytest.param(RAIN, CODE, {"never": "cheap conversation", "upgrade": "dear topic", "always": "dear topic"}, id="to-a-stronger-one"),
        pytest.param(CODE, CODE + " please", {"never": "dear conversation", "upgrade": "dear topic", "always": "dear topic"}, id="to-the-same"),
        pytest.param(RAIN, LONG, {"never": "cheap conversation", "upgrade": "dear rule", "always": "dear rule"}, id="by-its-size"),
    ],
)  # fmt: skip
def test_the_second_turn(kept: tuple[str, House], first: str, second: str, expected: dict[str, str]) -> None:
    switch, house = kept
    opening = f"{first} for {switch} and {second[:9]}"
    turn(house, opening)
    assert turn(house, opening, second) == expected[switch]


def test_of_several_targets_it_keeps_the_one_whose_cache_is_warm() -> None:
    target = "{upstream: one, name: gpt-4o-mini}"
    several = ROUTES.replace("SWITCH", "upgrade").replace(
        "cheap: {target: " + target, "cheap: {targets: [" + target + ", {upstream: one, name: gpt-4o-mini-2024}]"
    )
    with open_house(several) as house:
        found: list[str] = []
        for number in range(8):
            said, went = [f"hello from caller {number}"], set()
            for _ in range(6):
                said.append("and rain")
                body = {"model": "auto", "messages": dialogue(*said)}
                went.add(house.http.post("/v1/chat/completions", json=body).headers["x-pointsman-target"])
            found += went
        assert len(found) == 8, "one for each conversation"
        assert set(found) == {"one/gpt-4o-mini", "one/gpt-4o-mini-2024"}


def test_a_text_that_could_not_be_looked_at_decides_no_turn_but_its_own(cheaper: tuple[str, House]) -> None:
    switch, house = cheaper
    opening = f"bad {RAIN} {switch}"
    assert turn(house, opening) == "dear overload"
    second = turn(house, opening, RAIN)
    assert second in ("cheap split", "middle split")
    model = second.removesuffix(" split")
    assert turn(house, opening, RAIN, opening) == f"{model} conversation"
    # Nor does it end what the conversation has.
    expected = {"never": f"{model} conversation", "upgrade": "dear topic", "always": "dear topic"}[switch]
    assert turn(house, opening, RAIN, opening, CODE) == expected


def test_a_conversation_whose_texts_cannot_be_looked_at_is_not_silent() -> None:
    few = CHEAPER.replace("{switch: SWITCH}", "{switch: upgrade, cache: 2}")
    with open_house(few, load_model=lambda _: BrokenModel()) as house:
        said = ["hello", CODE]
        assert turn(house, *said) == "dear topic"
        for number in range(3):  # two are remembered, and each time another begins
            said.append("bad")
            assert turn(house, *said) == "dear overload"
            turn(house, f"{RAIN} {number}")
        assert turn(house, *said, RAIN) == "dear conversation"


def test_a_tool_loop_never_switches(kept: tuple[str, House]) -> None:
    """Neither by what the tool gave nor by its size; the user's next word may."""
    switch, house = kept
    opening = f"{RAIN} {switch}"
    assert turn(house, opening) == "cheap default"
    assert turn(house, opening, CALL, RESULT) == "cheap conversation"
    assert turn(house, opening, CALL, RESULT, CALL, {**RESULT, "content": LONG}) == "cheap conversation"
    assert turn(house, opening, CALL, RESULT, CODE) == {"never": "cheap conversation"}.get(switch, "dear topic")


def test_a_reminder_behind_a_tools_answer_is_no_word_of_the_user(kept: tuple[str, House]) -> None:
    """Coding tools put one there at every turn; with a word of the user beside it, it is the user who goes on."""
    switch, house = kept
    opening = f"{RAIN} reminded {switch}"
    assert turn(house, opening) == "cheap default"
    long = {**RESULT, "content": LONG}
    assert turn(house, opening, CALL, long, {"role": "user", "content": REMINDER}) == "cheap conversation"
    expected = {"never": "cheap conversation"}.get(switch, "dear topic")
    assert turn(house, opening, CALL, RESULT, {"role": "user", "content": f"{REMINDER} {CODE}"}) == expected


@pytest.mark.parametrize("role", ["system", "developer"])
def test_nor_is_what_the_application_says_behind_it(kept: tuple[str, House], role: str) -> None:
    switch, house = kept
    opening = f"{RAIN} {role} {switch}"
    assert turn(house, opening) == "cheap default"
    long, told = {**RESULT, "content": LONG}, {"role": role, "content": "Answer in French."}
    assert turn(house, opening, CALL, long, told) == "cheap conversation"
    expected = {"never": "cheap conversation"}.get(switch, "dear topic")
    assert turn(house, opening, CALL, RESULT, {"role": "user", "content": CODE}, told) == expected


def test_nor_are_two_conversations_one_that_begin_with_the_same_reminder(kept: tuple[str, House]) -> None:
    switch, house = kept
    reminder = {"role": "user", "content": REMINDER}
    code, rain = ({"role": "user", "content": f"{said} after a reminder {switch}"} for said in (CODE, RAIN))
    assert turn(house, reminder, code) == "dear topic"
    assert turn(house, reminder, rain) == "cheap default"
    assert turn(house, reminder, code, CALL, RESULT) == "dear conversation"
    assert turn(house, reminder, rain, CALL, RESULT) == "cheap conversation"


def test_nor_is_it_in_a_message_of_anthropics() -> None:
    upstream = '{base_url: "${SIM}/one/v1"'
    routes = ROUTES.replace(upstream, f"{upstream}, protocol: anthropic").replace("SWITCH", "always")
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]}
    result = {"type": "tool_result", "tool_use_id": "1", "content": LONG}
    with open_house(routes) as house:

        def model_of(*messages: dict[str, Any]) -> str:
            body = {"model": "auto", "max_tokens": 9, "messages": messages}
            answer = house.http.post("/v1/messages", json=body, headers={"anthropic-version": "2023-06-01"})
            assert answer.status_code == 200, answer.text
            return f"{answer.headers['x-pointsman-model']} {answer.headers['x-pointsman-reason']}"

        assert model_of(user(RAIN)) == "cheap default"
        assert model_of(user(RAIN), use, user([result, text(REMINDER)])) == "cheap conversation"
        assert model_of(user(RAIN), use, user([result, text(REMINDER), text(CODE)])) == "dear rule"


def test_what_a_coding_tool_tells_the_api_anew_in_each_request_begins_no_conversation() -> None:
    upstream = '{base_url: "${SIM}/one/v1"'
    routes = ROUTES.replace(upstream, f"{upstream}, protocol: anthropic").replace("SWITCH", "never")
    with open_house(routes) as house:
        client = anthropic.Anthropic(base_url=house.url, api_key="k", max_retries=0)

        def model_of(nonce: str, *messages: Any, prompt: str = "Be a coder.") -> str:
            told = f"x-anthropic-billing-header: cc_version=2.1.36; cc_entrypoint=cli; cch={nonce};"
            system: Any = [text(told), text(prompt)]
            raw = client.messages.with_raw_response.create(model="auto", max_tokens=9, system=system, messages=messages)
            return f"{raw.headers['x-pointsman-model']} {raw.headers['x-pointsman-reason']}"

        going = (user(CODE), {"role": "assistant", "content": "well"}, user(RAIN))
        assert model_of("0a1b2", user(CODE)) == "dear topic"
        assert model_of("c3d4e", *going) == "dear conversation"
        assert model_of("c3d4e", *going, prompt="Be a pirate.") == "cheap default"


def test_what_the_operator_or_the_client_insists_on_wins(kept: tuple[str, House]) -> None:
    switch, house = kept
    opening = f"{CODE} insists {switch}"
    assert turn(house, opening) == "dear topic"
    assert turn(house, opening, RAIN, headers={"x-class": "secret"}) == "middle rule"
    assert turn(house, opening, CALL, RESULT, headers={"x-class": "secret"}) == "middle rule"
    assert turn(house, opening, RAIN, headers={"x-pointsman-model": "cheap"}) == "cheap pinned"
    refused = house.http.post(
        "/v1/chat/completions", json={"model": "auto", "messages": dialogue(opening, "my password")}
    )
    assert refused.status_code == 403
    # None of these moved the conversation.
    assert turn(house, opening, CALL, RESULT) == "dear conversation"


def outcome(answer: httpx.Response) -> str:
    """The status, the model and the reason."""
    headers = answer.headers
    return f"{answer.status_code} {headers.get('x-pointsman-model', '-')} {headers['x-pointsman-reason']}"


INSISTS = [
    pytest.param(RAIN, {}, "451 - topic", id="a-topic-that-is-blocked"),
    pytest.param("my password", {}, "403 - rule", id="words-that-are-blocked"),
    pytest.param("and now?", {"x-class": "secret"}, "200 middle rule", id="a-header"),
]


@pytest.mark.parametrize(("said", "headers", "expected"), INSISTS)
@pytest.mark.parametrize("amid_tool_calls", [False, True], ids=["", "amid-tool-calls"])
def test_it_wins_where_a_route_before_it_needs_the_text(
    guarded: House, said: str, headers: dict[str, str], expected: str, amid_tool_calls: bool
) -> None:
    opening = f"{CODE} guarded"
    assert turn(guarded, opening) == "dear topic"
    messages = dialogue(opening, said, *((CALL, RESULT) if amid_tool_calls else ()))
    body = {"model": "auto", "messages": messages}
    assert outcome(guarded.http.post("/v1/chat/completions", json=body, headers=headers)) == expected
    assert turn(guarded, opening, CALL, RESULT) == "dear conversation"


@pytest.mark.parametrize(("said", "headers", "expected"), INSISTS)
def test_it_wins_in_what_goes_on_from_a_response(
    guarded: House, said: str, headers: dict[str, str], expected: str
) -> None:
    first = guarded.http.post("/v1/responses", json={"model": "auto", "input": CODE})
    assert outcome(first) == "200 dear topic"
    body = {"model": "auto", "input": said, "previous_response_id": first.json()["id"]}
    assert outcome(guarded.http.post("/v1/responses", json=body, headers=headers)) == expected
    assert outcome(guarded.http.post("/v1/responses", json={**body, "input": "well"})) == "200 dear conversation"


def test_amid_tool_calls_a_text_is_looked_at_only_where_that_may_change_something(upgrade: House) -> None:
    """Each turn of a tool loop would cost an embedding, for a route that cannot win anyway."""
    opening = f"{CODE} looked at"
    body = {"model": "auto", "messages": dialogue(opening)}
    assert "x-pointsman-score" in upgrade.http.post("/v1/chat/completions", json=body).headers
    body = {"model": "auto", "messages": dialogue(opening, CALL, RESULT)}
    answer = upgrade.http.post("/v1/chat/completions", json=body)
    assert outcome(answer) == "200 dear conversation"
    assert "x-pointsman-score" not in answer.headers


def test_a_model_that_cannot_serve_the_turn_is_left(kept: tuple[str, House]) -> None:
    switch, house = kept
    opening = f"{CODE} at length {switch}"
    turn(house, opening)
    assert turn(house, opening, RAIN, max_tokens=5000) == "middle default"


def test_where_only_the_conversations_model_can_serve_it_does(upgrade: House) -> None:
    """The rules send this turn to `dear`, which has no fallback and is too small for it."""
    opening = f"{RAIN} whatever comes"
    turn(upgrade, opening, headers={"x-pointsman-conversation": "big"}, max_tokens=3000)
    body = {"model": "auto", "messages": dialogue(CODE), "max_tokens": 9000}
    assert upgrade.http.post("/v1/chat/completions", json=body).status_code == 400
    assert turn(upgrade, CODE, headers={"x-pointsman-conversation": "big"}, max_tokens=9000) == "middle conversation"


def test_strangers_who_begin_alike_share_nothing(upgrade: House) -> None:
    opening = f"{CODE} said by two"
    assert turn(upgrade, opening, headers={"authorization": "Bearer a"}) == "dear topic"
    assert turn(upgrade, opening, RAIN, headers={"authorization": "Bearer b"}) == "cheap default"
    assert turn(upgrade, opening, RAIN, headers={"authorization": "Bearer a"}) == "dear conversation"


def test_a_first_turn_begins_anew(upgrade: House) -> None:
    """Without a name of its own, a conversation is known by its first words, which a second one may have too."""
    opening, named = f"{CODE} twice", {"headers": {"x-pointsman-conversation": "c-1"}}
    assert turn(upgrade, opening) == "dear topic"
    assert turn(upgrade, f"{CODE} or not", **named) == "dear topic"
    assert turn(upgrade, RAIN) == "cheap default"
    assert turn(upgrade, RAIN, **named) == "dear conversation"


def test_the_prompt_cache_key_names_a_conversation_whose_history_was_cut(upgrade: House) -> None:
    assert turn(upgrade, CODE, prompt_cache_key="k-1") == "dear topic"
    assert turn(upgrade, "a summary of what was said", RAIN, prompt_cache_key="k-1") == "dear conversation"
    assert turn(upgrade, "a summary of what was said", RAIN, prompt_cache_key="k-2") == "cheap default"


def test_the_kept_models_edits_are_made_and_it_is_counted(upgrade: House) -> None:
    opening = f"{CODE} with edits"
    turn(upgrade, opening)
    series = 'pointsman_decisions_total{model="dear",reason="conversation",route="code"}'
    before = upgrade.metric(series)
    upgrade.simulator.log.clear()
    turn(upgrade, opening, RAIN)
    [entry] = upgrade.simulator.log.entries()
    assert b'"seed":5' in entry.body.replace(b" ", b"")
    upgrade.wait_for_metric(series, before + 1)


def test_an_explanation_sees_the_conversation_and_leaves_it_alone(upgrade: House) -> None:
    opening = f"{RAIN} explained"
    turn(upgrade, opening)
    asked = {"model": "auto", "messages": dialogue(opening, CODE)}
    told = upgrade.http.post("/v1/route", json=asked).json()
    assert (told["model"], told["reason"]) == ("dear", "topic")
    assert turn(upgrade, opening, CALL, RESULT) == "cheap conversation"
    asked = {"model": "auto", "messages": dialogue(opening, CALL, RESULT)}
    told = upgrade.http.post("/v1/route", json=asked).json()
    assert (told["route"], told["model"], told["reason"]) == ("default", "cheap", "conversation")


def turn_facts(name: str) -> Any:
    return facts(user("hi"), headers={"x-pointsman-conversation": name})


def test_the_map_forgets_what_was_silent_for_long() -> None:
    now = 0.0
    kept = Conversations(clock=lambda: now)
    kept.keep(turn_facts("a"), Held("code", "large"), most=9)
    now = 60.0
    assert kept.find(turn_facts("a"), keep_s=60) == Held("code", "large")
    now = 60.5
    assert kept.find(turn_facts("a"), keep_s=60) is None
    assert kept.find(turn_facts("a"), keep_s=61) == Held("code", "large")


def test_what_goes_on_is_not_forgotten_and_what_was_forgotten_does_not_come_back() -> None:
    now = 0.0
    kept = Conversations(clock=lambda: now)
    kept.keep(turn_facts("a"), Held("code", "large"), most=9)
    for _ in range(3):
        now += 50.0
        kept.renew(turn_facts("a"), keep_s=60)
        assert kept.find(turn_facts("a"), keep_s=60) == Held("code", "large")
    now += 60.5
    kept.renew(turn_facts("a"), keep_s=60)
    assert kept.find(turn_facts("a"), keep_s=60) is None


def test_an_answer_that_is_asked_for_is_not_forgotten_meanwhile() -> None:
    now = 0.0
    kept = Conversations(clock=lambda: now)
    kept.keep_answer(facts(user("hi")), Held("code", "large"), "resp_1", most=9)
    for _ in range(3):
        now += 50.0
        assert kept.find_answer({}, "resp_1", keep_s=60) == Held("code", "large")
    now = 210.5
    assert kept.find_answer({}, "resp_1", keep_s=60) is None


def test_the_map_is_bounded_and_lets_go_of_the_longest_silent() -> None:
    kept = Conversations()
    for name in ("a", "b", "a", "c"):
        kept.keep(turn_facts(name), Held("r", name), most=2)
    assert len(kept) == 2
    assert [kept.find(turn_facts(name), 60) is not None for name in "abc"] == [True, False, True]
    kept.keep(turn_facts("d"), Held("r", "d"), most=0)
    assert len(kept) == 0, "a reload may have lowered the bound"


def test_keys_hold_no_words_and_no_keys() -> None:
    key = facts(user("my secret plan"), headers={"authorization": "Bearer sk-1"}).conversation_hash
    assert len(key) == 16
    assert b"secret" not in key


def test_strength_is_the_price_or_else_the_order() -> None:
    assert ranks(config()) == {"small": 0, "large": 1, "gpt-own": 2}  # two of them have no price
    priced = config().models["small"]
    both = msgspec.structs.replace(config(), models={"a": priced, "b": priced})
    assert ranks(both) == {"a": pytest.approx(0.75), "b": pytest.approx(0.75)}
    models = config().models
    twins = Router(msgspec.structs.replace(config(), models={"small": models["small"], "large": models["small"]}))
    assert not twins.is_stronger("small", than="large")
    assert not twins.is_stronger("large", than="small"), "a conversation does not go to and fro between equals"
