"""What `check` says about overlapping topics and misplaced examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main, topic_advice
from proxy.config import Config, parse_config
from proxy.routing.topic_findings import Findings, Misplaced, Overlap
from tests.routing.requests import BASE

WEATHER = '"Will it rain tomorrow?", "How hot is it in Madrid?", "Is a storm coming?", "Do I need an umbrella?"'
MUSIC = '"Play some jazz", "Who sang this song?", "Turn up the volume", "Put on my workout playlist"'
FORECAST = '"Will it snow tonight?", "What is the forecast?", "Is it sunny today?", "Will there be a thunderstorm?"'


def file(**topics: str) -> str:
    return BASE + "topics:\n" + "".join(f"  {name}: {{examples: [{examples}]}}\n" for name, examples in topics.items())


def check(folder: Path, text: str, *options: str) -> str:
    path = folder / "r.yaml"
    path.write_text(text)
    told = CliRunner().invoke(main, ["check", "-c", str(path), *options])
    assert (told.exit_code, told.stderr) == (0, "")
    return told.stdout


def test_overlapping_topics_are_named_with_their_examples(tmp_path: Path) -> None:
    text = file(weather=WEATHER, music=MUSIC, forecast=FORECAST)
    line = next(line for line in check(tmp_path, text).splitlines() if "overlaps" in line)
    assert line.startswith("  advice: topics.")
    assert " of 4 examples of " in line
    found = json.loads(check(tmp_path, text, "--json"))
    assert {frozenset((one["topic"], one["other"])) for one in found["overlaps"]} == {
        frozenset(("weather", "forecast"))
    }
    for one in found["overlaps"]:
        examples = parse_config(text, source="r", environ={}).topics[one["topic"]].examples
        assert one["share"] == len(one["examples"]) / 4
        assert set(one["examples"]) <= set(examples)
    assert any("overlaps" in line for line in found["advice"])


def test_an_example_in_the_wrong_topic_is_named_with_its_place(tmp_path: Path) -> None:
    text = file(weather=f'{WEATHER}, "Play my favourite song"', music=MUSIC)
    told = check(tmp_path, text)
    assert "  advice: topics.weather.examples[4]: 'Play my favourite song' looks like music\n" in told
    found = json.loads(check(tmp_path, text, "--json"))
    (one,) = found["misplaced"]
    assert one["margin"] > 0
    assert (one["topic"], one["other"], one["index"], one["example"]) == (
        "weather",
        "music",
        4,
        "Play my favourite song",
    )


@pytest.mark.parametrize("text", [BASE, file(weather=WEATHER), file(weather=WEATHER, music=MUSIC)])
def test_topics_apart_are_no_finding(tmp_path: Path, text: str) -> None:
    found = json.loads(check(tmp_path, text, "--json"))
    assert (found["overlaps"], found["misplaced"]) == ([], [])


def many(topics: int, examples: int) -> str:
    return file(**{f"t{topic}": ", ".join(f'"w{topic} v{n}"' for n in range(examples)) for topic in range(topics)})


def test_a_very_large_file_is_looked_at_only_when_asked(tmp_path: Path) -> None:
    config = parse_config(many(600, 1), source="r", environ={})
    assert topic_advice.is_long(config)
    assert not topic_advice.is_long(parse_config(many(100, 5), source="r", environ={}))
    told = check(tmp_path, many(600, 1))
    assert "600 examples in 600 topics take long; --thorough looks all the same" in told
    found = json.loads(check(tmp_path, many(600, 1), "--json"))
    assert (found["overlaps"], found["misplaced"]) == (None, None)


@pytest.fixture
def config() -> Config:
    return parse_config(many(30, 6), source="r", environ={})


def test_only_the_worst_ten_of_each_are_lines(config: Config) -> None:
    findings = Findings(
        tuple(Overlap(f"t{n}", "t29", 0.5, (0, 1, 2)) for n in range(12)),
        tuple(Misplaced(f"t{n}", 1, "t28", 3.0) for n in range(14)),
    )
    told = topic_advice.lines(findings, config.topics)
    assert len(told) == 22
    assert told[0] == "topics.t0 overlaps topics.t29: 3 of 6 examples of t0 look like t29: 'w0 v0', 'w0 v1', 'w0 v2'"
    assert told[10] == "topics: and 2 more overlaps like these; --json has all of them"
    assert told[11] == "topics.t0.examples[1]: 'w0 v1' looks like t28"
    assert told[21] == "topics: and 4 more examples like these; --json has all of them"
    assert len(topic_advice.as_json(findings, config.topics)["misplaced"] or ()) == 14


def test_of_many_examples_the_first_are_quoted_and_none_is_told_twice(config: Config) -> None:
    findings = Findings((Overlap("t1", "t2", 5 / 6, (0, 1, 2, 4, 5)),), (Misplaced("t1", 4, "t2", 3.0),))
    assert topic_advice.lines(findings, config.topics) == [
        "topics.t1 overlaps topics.t2: 5 of 6 examples of t1 look like t2: 'w1 v0', 'w1 v1', 'w1 v2' and 2 more"
    ]
