"""init, check and explain, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.shipped import shipped


def pointsman(*arguments: str, input_text: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=input_text)


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    path = tmp_path / "routes.yaml"
    assert pointsman("init", str(path)).exit_code == 0
    return path


def test_init_writes_the_starter_and_overwrites_nothing(starter: Path) -> None:
    assert starter.read_text() == shipped("routes.yaml").read_text()
    starter.write_text("mine")
    again = pointsman("init", str(starter))
    assert (again.exit_code, starter.read_text()) == (1, "mine")
    assert "--force" in again.output
    assert pointsman("init", "--force", str(starter.parent)).exit_code == 0
    assert starter.read_text() != "mine"


def test_the_starter_is_right_and_routes_as_its_tests_say(starter: Path) -> None:
    checked = pointsman("check", "-c", str(starter))
    assert checked.exit_code == 0, checked.output
    assert "8 of 8 tests pass" in checked.output


def test_check_fails_on_a_test_that_takes_another_route(starter: Path) -> None:
    starter.write_text(starter.read_text() + "  - {prompt: hello, route: code}\n")
    checked = pointsman("check", "-c", str(starter))
    assert checked.exit_code == 1
    assert "'hello': expected code, got simple" in checked.output
    told = json.loads(pointsman("check", "--json", "-c", str(starter)).output)
    assert told["failed"] == 1


def test_check_tells_every_mistake_with_its_place_and_exits_2(starter: Path) -> None:
    starter.write_text(
        starter.read_text().replace("default: small", "default: smal").replace("when: {token", "whem: {token")
    )
    checked = pointsman("check", "-c", str(starter))
    assert checked.exit_code == 2
    assert "did you mean 'small'?" in checked.output
    assert "did you mean 'when'?" in checked.output
    assert "Traceback" not in checked.output


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_missing_file_is_said_with_the_way_out(command: str, tmp_path: Path) -> None:
    told = pointsman(command, "-c", str(tmp_path / "none.yaml"))
    assert told.exit_code == 2
    assert "pointsman init" in told.output


def test_explain_shows_the_way_and_why(starter: Path) -> None:
    shown = pointsman("explain", "-c", str(starter), "Why does my loop crash?")
    assert shown.exit_code == 0
    assert "code → large" in shown.output
    assert "header x-priority is absent" in shown.output
    told = json.loads(pointsman("explain", "--json", "-c", str(starter), "-", input_text="hello there").output)
    assert (told["route"], told["model"], told["reason"]) == ("simple", "small", "topic")
    urgent = json.loads(pointsman("explain", "--json", "-c", str(starter), "hi", "-H", "X-Priority: high").output)
    assert (urgent["route"], urgent["reason"]) == ("urgent", "rule")


def test_explain_refuses_what_is_no_header(starter: Path) -> None:
    assert "NAME:VALUE" in pointsman("explain", "-c", str(starter), "hi", "-H", "nonsense").output
