"""Text to a tree: places, keys, tags, aliases and their bounds."""

import time
from contextlib import suppress

import pytest
import yaml

from proxy.config import parse_config
from proxy.config.problems import ConfigError, Path, Report
from proxy.config.tree import Mapping, Scalar, read_tree
from tests.config.files import BASE, add, problems, put

LOADERS = [pytest.param(yaml.SafeLoader, id="python"), pytest.param(yaml.CSafeLoader, id="libyaml")]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            add("text: !!python/object:os.system {}\n"),
            [
                "8:7 text: unknown YAML tag '!!python/object:os.system'; remove it, or put the text in quotes",
            ],
            id="python-tag",
        ),
        pytest.param(
            add("rewrite: [!glob x]\n"),
            [
                "8:11 rewrite[0]: unknown YAML tag '!glob'; remove it, or put the text in quotes",
            ],
            id="own-tag",
        ),
        pytest.param(
            add("text: !!set {turns}\n"),
            [
                "8:7 text: unknown YAML tag '!!set'; remove it, or put the text in quotes",
            ],
            id="set-tag",
        ),
        pytest.param(
            add("""\
text: {}
text: {turns: 2}
"""),
            [
                "9:1 text: duplicate key; the first is on line 8",
            ],
            id="duplicate-key",
        ),
        pytest.param(
            put("  large:", "  small:"),
            [
                "6:3 models.small: duplicate key; the first is on line 5",
            ],
            id="duplicate-model",
        ),
        pytest.param(
            put("  large:", '  "small":'),
            [
                "6:3 models.small: duplicate key; the first is on line 5",
            ],
            id="duplicate-through-quotes",
        ),
        pytest.param(
            add("""\
? [a]
: b
"""),
            [
                "8:3 this key must be a name, not a list or mapping",
            ],
            id="list-as-key",
        ),
        pytest.param(
            add('"": b\n'),
            [
                "8:1 this key is empty",
            ],
            id="empty-key",
        ),
        pytest.param(
            add("~: b\n"),
            [
                "8:1 this key is ~; put it in quotes for the word",
            ],
            id="null-key",
        ),
        pytest.param(
            add("text: *shared\n"),
            [
                '8:7 text: alias *shared: no anchor has this name; put a pattern in quotes, like "*"',
            ],
            id="unknown-alias",
        ),
        pytest.param(
            add("text: &t {turns: *t}\n"),
            [
                "8:18 text.turns: alias *t stands inside what it repeats",
            ],
            id="alias-in-itself",
        ),
        pytest.param(
            add("text: {<<: abc, turns: 2}\n"),
            [
                "8:12 text['<<']: '<<' takes a mapping or a list of mappings",
            ],
            id="merge-of-text",
        ),
        pytest.param(
            add("text: {<<: {turns: 2}, <<: {turns: 3}}\n"),
            [
                "8:24 text['<<']: a second '<<'; give one of them a list of mappings",
            ],
            id="merge-twice",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: &w {topics: x}}
  - {name: b, use: large, when: *w}
"""),
            [
                "9:37 routes[0].when.topics: unknown key; did you mean 'topic'?",
            ],
            id="mistake-behind-an-alias-once",
        ),
        pytest.param(
            add("rewrite: " + "[" * 70 + "]" * 70),
            [
                "8:73 nested deeper than 64 levels",
            ],
            id="too-deep",
        ),
    ],
)
def test_bad_trees(text: str | bytes, lines: list[str]) -> None:
    """YAML that this format refuses."""
    assert problems(text) == lines


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("path", "place"),
    [
        pytest.param(("a",), (1, 4), id="value"),
        pytest.param(("b", 1), (2, 10), id="item-behind-a-wide-character"),
        pytest.param(("c", "d", 0), (5, 7), id="block-list"),
        pytest.param(("c", "d", 9), (5, 5), id="no-such-item"),
        pytest.param(("c", "e", "f"), (4, 3), id="no-such-key"),
        pytest.param(("g",), (6, 4), id="block-text"),
    ],
)
def test_places(loader: type, path: Path, place: tuple[int, int]) -> None:
    text = 'a: x\nb: ["\N{GRINNING FACE}", é]\nc:\n  d:\n    - y\ng: |\n  z\n'
    assert read_tree(text, Report("x"), loader=loader).place(path) == place


@pytest.mark.parametrize("loader", LOADERS)
def test_both_parsers_read_the_same(loader: type) -> None:
    text = BASE + "x: &x {a: [1, 'b', \"c\\n\"], <<: {d: !!str 2}}\ny: *x\nz: >-\n  folded\n  text\n"
    report = Report("x")
    assert read_tree(text, report, loader=loader) == read_tree(text, report)
    assert report.problems == []


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("escape", [r"\ud800", r"\UFFFFFFFF", r"\U00110000"])
def test_an_escape_that_means_no_character(loader: type, escape: str) -> None:
    report = Report("x")
    with suppress(ConfigError):  # libyaml gives up; the other parser goes on
        read_tree(f'a: 1\nb: "{escape}"\n', report, loader=loader)
    assert [problem.line for problem in report.problems] == [2]


@pytest.mark.parametrize(
    ("written", "plain"),
    [("x", True), ("'x'", False), ('"x"', False), ("!!str x", False), ("! x", False), ("!!int 'x'", True)],
)
def test_quotes_and_the_text_tag_mean_text(written: str, plain: bool) -> None:
    node = read_tree(f"a: {written}", Report("x")).node(("a",))
    assert isinstance(node, Scalar)
    assert (node.text, node.plain) == ("x", plain)


def test_what_stands_beside_a_merge_wins_and_earlier_merges_win() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {z: 3, <<: [*b, *a]}\n"
    node = read_tree(text, Report("x")).node(("c",))
    assert isinstance(node, Mapping)
    assert {key: str(entry.value) for key, entry in node.entries.items()} == {"z": "'3'", "y": "'2'", "x": "'1'"}


def test_a_quoted_merge_key_is_a_key() -> None:
    assert problems(add('text: {"<<": {turns: 2}}\n')) == [
        "8:8 text['<<']: unknown key; expected 'turns', 'max_tokens' or 'ignore'"
    ]


def test_aliases_and_merges_in_a_config() -> None:
    text = (
        BASE
        + """\
topics:
  one: {examples: &shared [a, b], threshold: &high 0.9}
  two: {examples: [c], threshold: *high}
routes:
  - &first {name: one, use: small, when: {topic: one}}
  - {<<: *first, name: two, when: {topic: two}}
"""
    )
    config = parse_config(text, source="x", environ={})
    assert config.topics["two"].threshold == 0.9
    assert (config.routes[1].name, config.routes[1].use) == ("two", "small")


def test_a_billion_laughs() -> None:
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 10))
    began = time.perf_counter()
    (line,) = problems("l0: &l0 [" + ", ".join("x" * 10) + "]\n" + levels)
    assert line == "5:45 aliases repeat more than 100,000 values; write fewer of them"
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("piece", ["[", "{a: ", "- ", "? ", "[{a: "])
def test_absurd_nesting_ends_early(piece: str) -> None:
    (line,) = problems(piece * 200_000)
    assert "nested deeper than 64 levels" in line
    (line,) = problems("\n".join(" " * depth + "a:" for depth in range(1000)))
    assert "nested deeper than 64 levels" in line
