"""Keys: unknown, misspelt, missing; and which of several structs is meant."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from proxy.config.annotations import reader_for
from proxy.config.problems import Report
from proxy.config.tree import read_tree
from proxy.config.typed import BROKEN, Reading
from tests.config.files import add, problems, put


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            add("routs: []\n"),
            [
                "8:1 routs: unknown key; did you mean 'routes'?",
            ],
            id="unknown-key",
        ),
        pytest.param(
            put("name: gpt-4o}", "name: gpt-4o, colour: red}"),
            [
                "6:52 models.large.target.colour: unknown key; expected 'upstream', 'name' or 'weight'",
            ],
            id="unknown-key-no-guess",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, model: gpt-*}
"""),
            [
                "9:27 routes[0].model: unknown key; did you mean 'when.model'?",
            ],
            id="unknown-key-one-level-too-high",
        ),
        pytest.param(
            put(
                "  large: {target: {upstream: openai, name: gpt-4o}}",
                "  large:\n    target:\n    upstream: openai\n    name: gpt-4o",
            ),
            [
                "7:12 models.large.target: has no value; write a mapping, or remove it",
                "8:5 models.large.upstream: unknown key; did you mean 'target.upstream'?",
                "9:5 models.large.name: unknown key; did you mean 'target.name'?",
            ],
            id="keys-on-the-level-of-what-they-belong-to",
        ),
        pytest.param(
            put("base_url", "baseurl"),
            [
                "3:12 upstreams.openai.baseurl: unknown key; did you mean 'base_url'?",
            ],
            id="misspelt-required-key",
        ),
        pytest.param(
            add("defualt: large\n"),
            [
                "8:1 defualt: unknown key; did you mean 'default'?",
            ],
            id="second-spelling-of-a-key",
        ),
        pytest.param(
            put("upstream: openai, name: gpt-4o-mini", "upstream: openai"),
            [
                "5:19 models.small.target: the key 'name' is missing",
            ],
            id="missing-key",
        ),
        pytest.param(
            "{}\n",
            [
                "1:1 the key 'default' is missing",
                "1:1 the key 'models' is missing",
                "1:1 the key 'upstreams' is missing",
                "1:1 the key 'version' is missing",
            ],
            id="everything-missing",
        ),
        pytest.param(
            """\
version: 2
upstreams: {openai: {base_url: ftp://x}}
models: {small: {target: {upstream: opena, name: ''}}}
default: smal
foo: 1
""",
            [
                "1:10 version: expected 1, found '2'",
                "2:32 upstreams.openai.base_url: expected an http or https URL such as https://api.openai.com/v1, found 'ftp://x'",
                "3:37 models.small.target.upstream: no upstream is called 'opena'; did you mean 'openai'?",
                "3:50 models.small.target.name: must not be empty",
                "4:10 default: no model is called 'smal'; did you mean 'small'?",
                "5:1 foo: unknown key; expected 'version', 'upstreams', 'models', 'default', 'baseline', 'rewrite', 'passthrough', 'policy', 'shadow', 'text', 'conversation', 'embedding' and 9 more",
            ],
            id="several-at-once",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {tokens: {max: 9}}}
  - {name: b, use: small, when: {tokens: {min: 9}}}
  - name: c
    use: large
    whem: {topic: code}
"""),
            [
                "13:5 routes[2].whem: unknown key; did you mean 'when'?",
            ],
            id="from-the-design",
        ),
    ],
)
def test_keys(text: str | bytes, lines: list[str]) -> None:
    """Every wrong key, with the one that was meant."""
    assert problems(text) == lines


# What the format is going to need, so that the loader is ready when schema.py is.
class Split(msgspec.Struct, frozen=True):
    split: dict[str, float]


class Learned(msgspec.Struct, frozen=True):
    learned: tuple[str, ...]
    prefer: str | float = "balanced"


class Condition(msgspec.Struct, frozen=True):
    topic: str | None = None
    any: tuple[Condition, ...] | None = None
    not_: Condition | None = msgspec.field(default=None, name="not")


class Rule(msgspec.Struct, frozen=True):
    use: str | Split | Learned
    when: Condition = Condition()


def read(text: str) -> tuple[Any, list[str]]:
    report = Report("x")
    tree = read_tree(text, report)
    value = Reading(report, {}).read(reader_for(Rule), tree.root, ())
    return value, [str(problem).removeprefix("x:") for problem in report.problems]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("use: small", Rule("small"), id="text"),
        pytest.param("use: {split: {a: 9, b: 1}}", Rule(Split({"a": 9.0, "b": 1.0})), id="first"),
        pytest.param("use: {learned: [a], prefer: 0.5}", Rule(Learned(("a",), 0.5)), id="second"),
        pytest.param("use: {prefer: cheap, learned: []}", Rule(Learned((), "cheap")), id="by-any-of-its-keys"),
        pytest.param(
            "use: a\nwhen: {any: [{topic: b}, {not: {topic: c}}]}",
            Rule("a", Condition(any=(Condition("b"), Condition(not_=Condition("c"))))),
            id="a-struct-that-holds-itself",
        ),
    ],
)
def test_unions_of_structs(text: str, rule: Rule) -> None:
    assert read(text) == (rule, [])


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            "use: {splt: {a: 1}}",
            ["1:7 use.splt: unknown key; did you mean 'split'?"],
            id="misspelt",
        ),
        pytest.param(
            "use: {split: {a: 1}, learned: [a]}",
            ["1:22 use.learned: cannot stand beside 'split'"],
            id="two-at-once",
        ),
        pytest.param("use: {}", ["1:6 use: expected a mapping with 'split' or 'learned'"], id="none"),
        pytest.param(
            "use: [a]", ["1:6 use: expected text or a mapping with 'split' or 'learned', found a list"], id="neither"
        ),
        pytest.param("use: {prefer: 1}", ["1:6 use: the key 'learned' is missing"], id="incomplete"),
        pytest.param(
            "use: a\nwhen: {not: {any: [{topik: x}]}}",
            ["2:21 when.not.any[0].topik: unknown key; did you mean 'topic'?"],
            id="deep",
        ),
    ],
)
def test_bad_unions_of_structs(text: str, lines: list[str]) -> None:
    assert read(text)[1] == lines


def test_a_misspelt_key_is_neither_missing_nor_its_default() -> None:
    rule, lines = read("use: a\nwehn: {topic: x}")
    assert len(lines) == 1
    assert rule.when is BROKEN
