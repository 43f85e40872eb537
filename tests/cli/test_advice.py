"""What `check` advises, and what it shows when tests fail."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.cli.advice import advice
from proxy.config import parse_config
from proxy.shipped import shipped

FILE = """
version: 1
upstreams: {u: {base_url: "http://u/v1"}}
models:
  small: {target: {upstream: u, name: s}, price: {input: 1, output: 1}, context: 1000}
  large: {target: {upstream: u, name: l}, context: 9000, fallbacks: [small]}
  spare: {target: {upstream: u, name: p}, price: {input: 1, output: 1}, context: 1000, fallbacks: [large]}
default: small
topics:
  code: {examples: [a, b, c, d, e]}
  law: {examples: [one, One, "  one"]}
  art: {examples: [v, w, x, café, Cafe]}
routes:
  - {name: r, when: {any: [{topic: code}, {not: {topic: [law]}}]}, use: {split: {small: 1, large: 1}}}
"""


ORDER = (
    "conversation: not every model has a price, so the later one in 'models' counts as the stronger, "
    "to which a conversation may switch"
)


def test_each_thing_that_could_be_better_is_one_line() -> None:
    assert advice(parse_config(FILE, source="f", environ={})) == [
        "models.small: no fallbacks, so a request that it cannot serve is refused",
        "models.large: no price, so what it costs is not counted",
        "models.spare: no route uses it; only clients that name it reach it",
        f"{ORDER}: small and large",
        "topics.law: 1 example; five to twenty varied ones tell it from the others more surely",
        "topics.art: 4 different examples; five to twenty varied ones tell it from the others more surely",
        "topics.art: no route asks for it; it still keeps texts away from the others",
    ]


@pytest.mark.parametrize(
    ("change", "to"),
    [
        pytest.param("default: small", "default: small\nconversation: {switch: always}", id="any-switch"),
        pytest.param("name: l}", "name: l}, price: {input: 0, output: 0}", id="prices"),
        pytest.param("{small: 1, large: 1}", "{small: 1}", id="one-model"),
    ],
)
def test_the_order_of_models_is_told_only_where_it_decides(change: str, to: str) -> None:
    assert change in FILE
    told = advice(parse_config(FILE.replace(change, to), source="f", environ={}))
    assert not [line for line in told if line.startswith("conversation")]


def test_models_of_two_protocols_are_no_choice_and_no_fallbacks_for_each_other() -> None:
    text = FILE.replace('/v1"}}', '/v1"}, a: {base_url: "http://a/v1", protocol: anthropic}}')
    text = text.replace("{small: 1, large: 1}", "{small: 1}").replace("upstream: u, name: l", "upstream: a, name: l")
    told = advice(parse_config(text, source="f", environ={}))
    assert [line for line in told if line.startswith(("conversation", "models.large"))] == [
        "models.large: no price, so what it costs is not counted",
        "models.large: no fallbacks that speak its protocol, so a request that it cannot serve is refused",
    ]


def test_a_lone_topic_takes_what_it_should_not() -> None:
    text = FILE[: FILE.index("  law:")] + "routes: [{name: r, when: {topic: code}, use: large}]\n"
    said = "topics.code: the only topic, so it takes most other texts, too; add one of what it is not"
    assert [line for line in advice(parse_config(text, source="f", environ={})) if "topics" in line] == [said]


def test_a_shadow_needs_something_to_decide() -> None:
    said = "shadow.policy: no route is 'learned', so it would decide nothing"
    text = FILE + "shadow: {policy: next.npz}\n"
    assert advice(parse_config(text, source="f", environ={}))[-4:].count(said) == 1
    learned = text.replace(
        "use: {split: {small: 1, large: 1}}", "use: {split: {small: 1, learned: 1}, learned: [large]}"
    )
    told = advice(parse_config(learned, source="f", environ={}))
    assert said not in told
    assert (
        "routes: r is 'learned' and there is no policy, so the first model takes all; 'pointsman train' makes one"
        in told
    )
    assert not [line for line in told if line.startswith("models.large: no route uses it")]
    curious = learned.replace("learned: [large]", "learned: [large], explore: 0.1")
    told = advice(parse_config(curious, source="f", environ={}))
    assert [line for line in told if "all but what is explored" in line]
    in_vain = "routes: r explores for nothing: without 'store' nobody learns of what was drawn"
    assert in_vain in told
    assert in_vain not in advice(parse_config(curious + "store: sqlite:///s.db\n", source="f", environ={}))


def test_fallbacks_need_a_second_attempt() -> None:
    said = "retry.attempts: 1, so fallbacks answer what a model cannot serve or rests from, and nobody after one that fails"
    without = re.sub(r", fallbacks: \[\w+\]", "", FILE)
    of_a_route = without.replace("name: r,", "name: r, fallbacks: [spare],")
    for text, attempts, is_told in (
        (FILE, 1, True),
        (of_a_route, 1, True),
        (without, 1, False),
        (FILE, 2, False),
    ):
        told = advice(parse_config(f"{text}retry: {{attempts: {attempts}}}\n", source="f", environ={}))
        assert told.count(said) == is_told


def test_the_starter_file_needs_no_advice() -> None:
    assert advice(parse_config(shipped("routes.yaml").read_bytes(), source="f", environ={})) == []


def test_failed_tests_are_shown_as_a_table(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(shipped("routes.yaml").read_text().replace("route: code}", "route: reasoning}"))
    checked = CliRunner().invoke(main, ["check", "-c", str(path)])
    assert checked.exit_code == 1
    rows = [line.split() for line in checked.output.splitlines()]
    assert ["expected,", "got:", "reasoning", "simple", "code"] in rows
    assert ["reasoning", "2", "·", "3"] in rows
    told = json.loads(CliRunner().invoke(main, ["check", "--json", "-c", str(path)]).output)
    assert (told["failed"], told["advice"]) == (3, [])
