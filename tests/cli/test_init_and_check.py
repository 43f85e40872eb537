"""`init` writes a file that `check` accepts; `check` tells what is wrong by its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.shipped import shipped
from tests.routing.requests import BASE, TOPICS


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    path = tmp_path / "routes.yaml"
    assert CliRunner().invoke(main, ["init", str(path)]).exit_code == 0
    return path


def test_init_writes_the_shipped_file(starter: Path) -> None:
    assert starter.read_text("utf-8") == shipped("routes.yaml").read_text("utf-8")


@pytest.mark.parametrize("named", ["routes.yaml", "."], ids=["file", "folder"])
def test_init_overwrites_only_by_force(starter: Path, named: str) -> None:
    starter.write_text("mine")
    refused = CliRunner().invoke(main, ["init", str(starter.parent / named)])
    assert (refused.exit_code, starter.read_text()) == (1, "mine")
    assert "--force replaces it" in refused.output
    assert CliRunner().invoke(main, ["init", str(starter.parent / named), "--force"]).exit_code == 0
    assert starter.read_text("utf-8").startswith("# Pointsman")


def test_check_of_the_starter_file(starter: Path) -> None:
    result = CliRunner().invoke(main, ["check", "-c", str(starter), "--json"])
    found = json.loads(result.stdout)
    assert (result.exit_code, found["valid"], found["failed"]) == (0, True, 0)
    assert len(found["tests"]) == 8


def test_check_of_a_test_that_takes_another_route(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        BASE + TOPICS + "routes: [{name: r, when: {tokens: {min: 999}}, use: large}]\ntests: [{prompt: hi, route: r}]\n"
    )
    result = CliRunner().invoke(main, ["check", "-c", str(path)])
    assert result.exit_code == 1
    assert "wrong: 'hi': expected r, got default" in result.stdout
    assert "0 of 1 tests pass" in result.stdout


@pytest.mark.parametrize("command", [["check"], ["serve"], ["explain", "hi"]])
def test_a_bad_file_is_told_with_its_lines(tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(BASE.replace("default: small", "default: smal"))
    result = CliRunner().invoke(main, [*command, "-c", str(path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{path}:8:10 default:" in result.stderr
    assert "1 problem found." in result.stderr
