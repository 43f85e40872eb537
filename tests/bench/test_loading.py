"""The bench of a file with many examples: the file is what it says, and so are the figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.loading import main, said
from bench.many_topics import ACTS, THINGS, names, routes_yaml
from bench.processes import NotReady
from proxy.config import parse_config


def test_the_file_is_valid_and_has_as_many_different_examples_as_asked_for() -> None:
    config = parse_config(routes_yaml(60, 20), source="routes.yaml", environ={})
    texts = [example for topic in config.topics.values() for example in topic.examples]
    assert (len(config.topics), len(config.routes), len(set(texts))) == (60, 60, 1200)
    assert routes_yaml(60, 20) == routes_yaml(60, 20)
    assert len({len(text.split()) for text in texts}) > 20, "short ones and long ones"


def test_so_many_examples_change() -> None:
    before, after = routes_yaml(60, 3).splitlines(), routes_yaml(60, 3, changed=10).splitlines()
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 10


def test_there_are_parts_for_a_thousand_topics() -> None:
    found = {name for name, _, _ in names(1000)}
    assert len(found) == 1000 == len(ACTS) * len(THINGS)
    with pytest.raises(ValueError, match="1001 topics; there are parts for 1000"):
        list(names(1001))


def test_a_line_that_is_missing_is_no_figure(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('greeting\n{"event":"topics fitted","seconds":1}\n{"event":"topics fitted","seconds":2}\n')
    assert said(log, "topics fitted")["seconds"] == 2
    with pytest.raises(NotReady, match="examples embedded"):
        said(log, "examples embedded")


@pytest.mark.slow
def test_starts_and_a_reload_are_timed() -> None:
    done = CliRunner().invoke(main, ["--topics", "12", "--examples", "2", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    counted = [(row["from_cache"], row["embedded"]) for row in found["loaded"]]
    assert counted == [(0, 36), (0, 36), (36, 0), (0, 10)]
    assert all(row["ready_s"] > 0 for row in found["loaded"])
    assert [(row["when"], row["count"] > 0) for row in found["asked"]] == [
        ("before", True),
        ("during the reload", True),
    ]
