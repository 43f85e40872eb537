"""Conditions, actions and edits of routes: what is accepted, and each mistake with its place."""

from __future__ import annotations

import pytest

from proxy.config import Block, ConfigError, Range, Split, TextMatch, When, parse_config
from tests.config.files import add


def route(text: str) -> str:
    """The base with one route; its keys are on line 9 and on."""
    return add(f"routes:\n  - name: r\n    {text}\n")


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source="f", environ={"RE": "(hunter2"})
    return [f"{found.line}:{found.column} {found.path}: {found.message}" for found in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            "when: {model: a}", ["9:5 routes[0]: needs 'use' with a model, or 'block' for a refusal"], id="no-action"
        ),
        pytest.param(
            "use: small\n    block: {}", ["11:5 routes[0].block: cannot stand beside 'use'"], id="two-actions"
        ),
        pytest.param(
            "block: {status: 200}", ["10:21 routes[0].block.status: 200 is outside 400 to 499"], id="block-status"
        ),
        pytest.param(
            "use: {split: {smal: 1}}",
            ["10:25 routes[0].use.split.smal: no model is called 'smal'; did you mean 'small'?"],
            id="split-unknown",
        ),
        pytest.param(
            "use: {split: {small: 0, large: 0}}",
            ["10:18 routes[0].use.split: every weight is 0, so no model would be used"],
            id="split-nothing",
        ),
        pytest.param(
            "use: {split: {small: 1, learned: 1}}",
            [
                "10:38 routes[0].use.split.learned: no model is called 'learned'; for the policy's choice add the key 'learned' with the models that it may choose"
            ],
            id="arm-of-nothing",
        ),
        pytest.param(
            "use: {split: {small: 1}, learned: [large]}",
            [
                "10:18 routes[0].use.split: has no share for 'learned', so the policy would choose nothing",
            ],
            id="no-arm",
        ),
        pytest.param(
            "use: {split: {small: 1, large: 1}, prefer: cheap, explore: 0.02}",
            [
                "10:40 routes[0].use.prefer: has no effect without 'learned', the models to choose among",
                "10:55 routes[0].use.explore: has no effect without 'learned', the models to choose among",
            ],
            id="nothing-to-choose",
        ),
        pytest.param(
            "use: {split: {small: 1, learned: 1}, learned: [larg, small, small]}",
            [
                "10:52 routes[0].use.learned[0]: no model is called 'larg'; did you mean 'large'?",
                "10:65 routes[0].use.learned[2]: stands in the list already; leave it out",
            ],
            id="arm-of-unknown",
        ),
        pytest.param(
            "use: {splt: {small: 1, learned: 1}, learned: [large]}",
            ["10:11 routes[0].use.splt: unknown key; did you mean 'split'?"],
            id="misspelt-beside-the-arm",
        ),
        pytest.param(
            "use: {explore: 0.1}", ["10:10 routes[0].use: the key 'learned' is missing"], id="explores-nothing"
        ),
        pytest.param(
            "use: {split: {small: -1}}",
            ["10:26 routes[0].use.split.small: -1 is outside 0 to 1000000"],
            id="split-negative",
        ),
        pytest.param(
            "use: small\n    fallbacks: [small, large, large, larg]",
            [
                "11:17 routes[0].fallbacks[0]: a model cannot be its own fallback; leave it out",
                "11:31 routes[0].fallbacks[2]: stands in the list already; leave it out",
                "11:38 routes[0].fallbacks[3]: no model is called 'larg'; did you mean 'large'?",
            ],
            id="fallbacks",
        ),
        pytest.param(
            "use: small\n    when: {any: [{}, {topik: a}]}",
            [
                "11:18 routes[0].when.any[0]: has no conditions, so it always holds; leave it out",
                "11:23 routes[0].when.any[1].topik: unknown key; did you mean 'topic'?",
            ],
            id="nested",
        ),
        pytest.param(
            "use: small\n    when: {not: {all: [{topic: cod}]}}",
            ["11:32 routes[0].when.not.all[0].topic: no topic is called 'cod'; the file has no topics"],
            id="nested-name",
        ),
        pytest.param(
            "use: small\n    when: {has: [tool]}",
            [
                "11:18 routes[0].when.has[0]: expected 'tools', 'images', 'audio', 'files', 'json_schema' or 'stream', found 'tool'; did you mean 'tools'?"
            ],
            id="has",
        ),
        pytest.param(
            "use: small\n    when: {text: {}}",
            ["11:18 routes[0].when.text: needs 'contains', 'matches' or both"],
            id="text-empty",
        ),
        pytest.param(
            "use: small\n    when: {turns: {min: 5, max: 2}}",
            ["11:19 routes[0].when.turns: 'min' is above 'max', so nothing is between them"],
            id="turns",
        ),
        pytest.param(
            "use: small\n    when: {complexity: {min: 0.9, max: 2}}",
            ["11:40 routes[0].when.complexity.max: 2 is outside 0 to 1"],
            id="complexity",
        ),
        pytest.param(
            "use: small\n    set: {model: x}\n    drop: [messages, a]\n    default: {a: 1, stream: true}",
            [
                "11:11 routes[0].set.model: 'model' cannot be edited: the target's name is always put there",
                "12:12 routes[0].drop[0]: 'messages' cannot be edited: what the client says is never changed",
                "13:15 routes[0].default.a: stands under 'drop' too; one of the two would have no effect",
                "13:21 routes[0].default.stream: 'stream' cannot be edited: the client reads the answer in the form that it asked for",
            ],
            id="edits",
        ),
    ],
)
def test_a_mistake_is_told_at_its_place(text: str, lines: list[str]) -> None:
    assert problems(route(text)) == lines


def test_a_secret_that_is_no_regular_expression_is_not_told() -> None:
    (line,) = problems(route('use: small\n    when: {text: {matches: "${RE}"}}'))
    assert line == "11:28 routes[0].when.text.matches: not a regular expression of RE2: its value is not one"


@pytest.mark.parametrize(
    "written", ["'10\xa0€'", "10\xa0€", "'10\\x{a0}€'", '"10\\\\x{a0}€"', '"${RE}"', "'${NONE:-10\xa0€}'"]
)
def test_a_no_break_space_that_is_meant(written: str) -> None:
    text = add(f"routes:\n  - name: a\n    when:\n      text:\n        matches: {written}\n    use: small\n")
    (one,) = parse_config(text, source="f", environ={"RE": "10\xa0€"}).routes
    assert isinstance(one.when.text, TextMatch)
    assert one.when.text.matches is not None
    assert one.when.text.matches.found_in("for 10\xa0€")
    assert not one.when.text.matches.found_in("for 10 €")


def test_a_route_that_an_earlier_one_covers_is_never_reached() -> None:
    text = add(
        "routes:\n"
        "  - {name: a, when: {has: [tools]}, use: small}\n"
        "  - {name: b, when: {has: [stream, tools]}, use: large}\n"
        "  - {name: c, when: {any: [{model: x}, {user: y}]}, use: large}\n"
        "  - {name: d, when: {any: [{model: x}, {user: y}]}, use: small}\n"
    )
    assert [line.split(": never")[0] for line in problems(text)] == ["10:5 routes[1]", "12:5 routes[3]"]


@pytest.mark.parametrize("name", ["default", "pinned"])
def test_names_that_decisions_use_are_reserved(name: str) -> None:
    (line,) = problems(add(f"routes: [{{name: {name}, use: small}}]\n"))
    assert f"the name '{name}' is reserved" in line


def test_everything_at_once() -> None:
    config = parse_config(
        add("""\
topics: {code: {examples: [a b c]}}
routes:
  - name: one
    when:
      all: [{topic: code}, {not: {has: [tools, stream]}}]
      any: [{header: {X-Team: [a, "b*"]}}, {metadata: {tier: gold}}, {user: "vip-*"}]
      text: {contains: [refund, money back], matches: '(?i)order \\d+'}
      turns: {max: 3}
    use: {split: {small: 90, large: 10}}
    fallbacks: [large]
    rename: {max_tokens: max_completion_tokens}
    drop: [logprobs]
    default: {temperature: 0.2, stop: null}
    set: {reasoning_effort: high, metadata: {a: [1, true, no]}}
  - {name: two, when: {model: x}, block: {message: No.}}
"""),
        source="f",
        environ={},
    )
    one, two = config.routes
    assert one.use == Split({"small": 90, "large": 10})
    assert one.when.any is not None
    assert one.when.any[0].header == {"x-team": ("a", "b*")}
    assert one.when.all == (When(topic="code"), When(not_=When(has=("tools", "stream"))))
    assert one.when.turns == Range(max=3)
    assert isinstance(one.when.text, TextMatch)
    assert one.when.text.matches is not None
    assert one.when.text.matches.found_in("my ORDER 7")
    assert one.default == {"temperature": 0.2, "stop": None}
    assert one.set == {"reasoning_effort": "high", "metadata": {"a": [1, True, "no"]}}
    assert two.block == Block(403, "No.")


def test_references_that_contradict_each_other() -> None:
    text = add("complexity:\n  simple: [what is this, ' ']\n  complex: [prove it, What  is this]\n")
    assert problems(text) == [
        "9:26 complexity.simple[1]: nothing but white space",
        "10:23 complexity.complex[1]: stands under 'simple' too, on line 9",
    ]


def test_a_model_called_learned_is_a_model_unless_the_policy_has_an_arm() -> None:
    own = route("use: {split: {small: 1, learned: 1}}").replace("  large:", "  learned:")
    (one,) = parse_config(own, source="f", environ={}).routes
    assert one.use == Split({"small": 1.0, "learned": 1.0})
    both = own.replace("learned: 1}}", "learned: 1}, learned: [small]}")
    assert problems(both) == [
        "10:38 routes[0].use.split.learned: the policy's choice and a model are both called 'learned'; rename the model"
    ]
