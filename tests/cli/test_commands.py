"""init, check and explain, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.shipped import shipped
from tests.routing.requests import BASE, TOPICS


def pointsman(*arguments: str, input_text: str | bytes | None = None, environ: dict[str, str] | None = None) -> Result:
    """One command, with no setting of the machine's own."""
    clean = {"POINTSMAN_CONFIG": None, "POINTSMAN_CACHE_DIR": None}
    return CliRunner().invoke(main, arguments, input=input_text, env={**clean, **(environ or {})})


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    path = tmp_path / "routes.yaml"
    assert pointsman("init", str(path)).exit_code == 0
    return path


def written(folder: Path, text: str) -> Path:
    path = folder / "r.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("named", ["routes.yaml", ".", "mine.yaml"], ids=["file", "folder", "another-name"])
def test_init_writes_the_shipped_file(tmp_path: Path, named: str) -> None:
    told = pointsman("init", str(tmp_path / named))
    path = tmp_path / ("routes.yaml" if named == "." else named)
    assert (told.exit_code, path.read_bytes()) == (0, shipped("routes.yaml").read_bytes())
    assert str(path) in told.stdout


def test_init_without_a_path_writes_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert pointsman("init").exit_code == 0
    assert (tmp_path / "routes.yaml").exists()


@pytest.mark.parametrize("named", ["routes.yaml", "."], ids=["file", "folder"])
def test_init_overwrites_only_by_force(starter: Path, named: str) -> None:
    starter.write_text("mine")
    refused = pointsman("init", str(starter.parent / named))
    assert (refused.exit_code, starter.read_text()) == (1, "mine")
    assert "--force replaces it" in refused.output
    assert pointsman("init", str(starter.parent / named), "--force").exit_code == 0
    assert starter.read_text("utf-8").startswith("# yaml-language-server")


def test_init_where_nothing_can_be_written(tmp_path: Path) -> None:
    refused = pointsman("init", str(tmp_path / "no" / "folder" / "r.yaml"))
    assert refused.exit_code == 1
    assert "No such file or directory" in refused.stderr
    assert isinstance(refused.exception, SystemExit)


def test_the_starter_is_right_and_routes_as_its_tests_say(starter: Path) -> None:
    checked = pointsman("check", "-c", str(starter))
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert f"{starter}: valid; 3 models, 5 topics, 5 routes" in checked.stdout
    assert "8 of 8 tests pass" in checked.stdout


def test_check_as_json(starter: Path) -> None:
    result = pointsman("check", "--json", "-c", str(starter))
    found = json.loads(result.stdout)
    assert (result.exit_code, found["valid"], found["failed"]) == (0, True, 0)
    assert len(found["tests"]) == 8
    for test in found["tests"]:
        assert set(test) == {"prompt", "protocol", "expected", "route", "refused", "topic", "score"}
        assert test["route"] == test["expected"]


WRONG = BASE + TOPICS + (
    "routes: [{name: r, when: {tokens: {min: 999}}, use: large}]\n"
    "tests: [{prompt: hi, route: r}, {prompt: hi, route: default}]\n"
)  # fmt: skip


def test_check_fails_on_a_test_that_takes_another_route(tmp_path: Path) -> None:
    path = written(tmp_path, WRONG)
    result = pointsman("check", "-c", str(path))
    assert result.exit_code == 1
    assert "  wrong: 'hi': expected r, got default" in result.stdout
    assert "1 of 2 tests pass" in result.stdout
    told = pointsman("check", "--json", "-c", str(path))
    assert (told.exit_code, json.loads(told.stdout)["failed"]) == (1, 1)


ANTHROPIC = BASE.replace("api.openai.com/v1", "api.anthropic.com/v1, protocol: anthropic") + TOPICS + (
    "routes: [{name: code, when: {topic: code}, use: large}]\n"
    "tests: [{prompt: Fix the bug in my Python loop, route: code}, {prompt: Is this clause valid?, route: code}]\n"
)  # fmt: skip


def test_a_file_for_anthropics_api_alone_is_checked_and_explained(tmp_path: Path) -> None:
    path = written(tmp_path, ANTHROPIC)
    checked = pointsman("check", "-c", str(path))
    assert checked.exit_code == 1
    assert "  wrong: 'Is this clause valid?': expected code, got default" in checked.stdout
    assert "1 of 2 tests pass" in checked.stdout
    explained = pointsman("explain", "--json", "-c", str(path), "Fix the bug in my Python loop")
    assert (explained.exit_code, json.loads(explained.stdout)["model"]) == (0, "large")


MIXED = """\
version: 1
upstreams:
  openai: {base_url: https://api.openai.com/v1}
  claude: {base_url: https://api.anthropic.com/v1, protocol: anthropic}
models:
  large: {target: {upstream: openai, name: gpt-4o}}
  opus: {target: {upstream: claude, name: claude-opus}}
default: large
routes: [{name: all, use: opus}]
"""


def test_where_both_apis_are_spoken_a_test_says_which_it_is_sent_to(tmp_path: Path) -> None:
    tests = "tests: [{prompt: hi, route: all, protocol: anthropic}, {prompt: hi, route: all}]\n"
    checked = pointsman("check", "-c", str(written(tmp_path, MIXED + tests)))
    assert checked.exit_code == 1
    assert "1 of 2 tests pass" in checked.stdout
    assert "'hi': expected all, refused: " in checked.stdout
    told = json.loads(pointsman("check", "--json", "-c", str(tmp_path / "r.yaml")).stdout)
    assert [(test["protocol"], test["route"]) for test in told["tests"]] == [("anthropic", "all"), (None, None)]
    wrong = tests.replace("route: all, protocol", "route: default, protocol")
    checked = pointsman("check", "-c", str(written(tmp_path, MIXED + wrong)))
    assert "'hi' (anthropic): expected default, got all" in checked.stdout
    path = str(written(tmp_path, MIXED))
    explained = pointsman("explain", "--json", "-c", path, "--protocol", "anthropic", "hi")
    assert (explained.exit_code, json.loads(explained.stdout)["model"]) == (0, "opus")
    assert pointsman("explain", "-c", path, "hi").exit_code == 1


SMALL = BASE.replace(
    "{target: {upstream: openai, name: gpt-4o-mini},", "{target: {upstream: openai, name: m}, context: 9,"
)


def test_check_fails_on_a_test_that_nobody_can_serve(tmp_path: Path) -> None:
    prompt = "Say this again: " + "word " * 50
    path = written(
        tmp_path, SMALL + f"tests: [{{prompt: '{prompt}', route: default}}, {{prompt: hi, route: default}}]\n"
    )
    told = pointsman("check", "-c", str(path))
    assert (told.exit_code, "Traceback" in told.output) == (1, False)
    why = "No model of route 'default' can serve this request. small: context:"
    assert f"  wrong: {prompt!r}: expected default, refused: {why}" in told.stdout
    assert "(refused)" in told.stdout
    assert "1 of 2 tests pass" in told.stdout
    found = json.loads(pointsman("check", "--json", "-c", str(path)).stdout)
    assert found["failed"] == 1
    assert [test["route"] for test in found["tests"]] == [None, "default"]
    assert found["tests"][0]["refused"].startswith(why)


def test_check_says_which_topic_led_elsewhere(starter: Path) -> None:
    starter.write_text(starter.read_text() + "  - {prompt: hello, route: code}\n")
    checked = pointsman("check", "-c", str(starter))
    assert checked.exit_code == 1
    assert "  wrong: 'hello': expected code, got simple (" in checked.stdout
    assert "8 of 9 tests pass" in checked.stdout


def test_check_of_a_file_without_tests_says_that_it_is_valid(tmp_path: Path) -> None:
    checked = pointsman("check", "-c", str(written(tmp_path, BASE)))
    assert checked.exit_code == 0
    assert "valid; 3 models, 0 topics, 0 routes\n" in checked.stdout


@pytest.mark.parametrize("command", [["check"], ["serve"], ["explain", "hi"]])
def test_a_bad_file_is_told_with_its_lines(tmp_path: Path, command: list[str]) -> None:
    path = written(tmp_path, BASE.replace("default: small", "default: smal"))
    result = pointsman(*command, "-c", str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{path}:8:10 default:" in result.stderr
    assert "did you mean 'small'?" in result.stderr
    assert "1 problem found." in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_a_bad_file_is_one_object_for_scripts_too(tmp_path: Path) -> None:
    path = written(tmp_path, BASE.replace("default: small", "default: smal") + "rewrite: ${NAMES}\n")
    result = pointsman("check", "--json", "-c", str(path), environ={"NAMES": "hunter2"})
    assert (result.exit_code, result.stderr) == (2, "")
    default, rewrite = (
        {"source": str(path), "line": 8, "column": 10, "path": "default"},
        {"source": str(path), "line": 9, "column": 10, "path": "rewrite"},
    )
    told = json.loads(result.stdout)
    assert "did you mean 'small'?" in told["problems"][0].pop("message")
    assert "expected a list" in told["problems"][1].pop("message")
    assert told == {"valid": False, "problems": [default, rewrite]}
    assert "hunter2" not in result.stdout


def test_every_mistake_is_told_at_once(starter: Path) -> None:
    starter.write_text(
        starter.read_text().replace("default: small", "default: smal").replace("when: {token", "whem: {token")
    )
    checked = pointsman("check", "-c", str(starter))
    assert (checked.exit_code, checked.stdout) == (2, "")
    assert "did you mean 'small'?" in checked.stderr
    assert "did you mean 'when'?" in checked.stderr
    assert "2 problems found." in checked.stderr
    assert "Traceback" not in checked.output


@pytest.mark.parametrize("command", [["check"], ["serve"], ["explain", "hi"]])
def test_a_missing_file_is_said_with_the_way_out(tmp_path: Path, command: list[str]) -> None:
    told = pointsman(*command, "-c", str(tmp_path / "none.yaml"))
    assert told.exit_code == 2
    assert "pointsman init" in told.stderr


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    path = written(tmp_path, BASE)
    named = pointsman("check", environ={"POINTSMAN_CONFIG": str(path)})
    assert (named.exit_code, str(path) in named.stdout) == (0, True)


def test_check_and_explain_share_the_folder_of_vectors(starter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(starter.parent)
    file = starter.parent / "kept" / "pointsman-vectors.bin"
    checked = pointsman("check", "--cache-dir", "kept")
    assert (checked.exit_code, checked.stderr) == (0, "")
    before = (file.stat().st_ino, file.stat().st_mtime_ns)
    for command in (["check"], ["explain", "--json", "hello there"]):
        again = pointsman(*command, environ={"POINTSMAN_CACHE_DIR": "kept"})
        assert (again.exit_code, again.stderr) == (0, "")
        assert (file.stat().st_ino, file.stat().st_mtime_ns) == before, (
            "nothing was embedded, so nothing is written; a prompt is not kept"
        )
    told, without = json.loads(again.stdout), json.loads(pointsman("explain", "--json", "hello there").stdout)
    assert told.pop("timings_ms").keys() == without.pop("timings_ms").keys()
    assert told == without


def test_check_fills_the_folder_of_vectors_also_without_tests(tmp_path: Path) -> None:
    """Of one topic nothing is looked at either, and the image that is built so is to start at once."""
    path = written(tmp_path, BASE + "topics: {code: {examples: [fix my loop, write a query]}}\n")
    checked = pointsman("check", "-c", str(path), "--cache-dir", str(tmp_path / "kept"))
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert (tmp_path / "kept" / "pointsman-vectors.bin").is_file()


@pytest.mark.parametrize(
    ("folder", "at"),
    [
        pytest.param("~/kept", "home/kept", id="home"),
        pytest.param("kept", "kept", id="relative"),
        pytest.param("", None, id="empty-is-none"),
    ],
)
def test_where_vectors_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starter: Path, folder: str, at: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    told = pointsman("explain", "hi", environ={"POINTSMAN_CACHE_DIR": folder, "HOME": str(tmp_path / "home")})
    assert (told.exit_code, told.stderr) == (0, "")
    found = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("*.bin")}
    assert found == (set() if at is None else {at})


def test_nobodys_home_is_no_folder(starter: Path) -> None:
    told = pointsman("check", "-c", str(starter), environ={"POINTSMAN_CACHE_DIR": "~nobody-of-that-name/kept"})
    assert told.exit_code == 2
    assert "'~nobody-of-that-name/kept': nobody's home is known here" in told.stderr


def test_a_folder_that_cannot_be_used_is_said_and_changes_nothing(starter: Path) -> None:
    checked = pointsman("check", "--json", "-c", str(starter), "--cache-dir", str(starter))
    assert (checked.exit_code, json.loads(checked.stdout)["failed"]) == (0, 0)
    assert checked.stderr == (
        f"warning: cache unusable: {starter}/pointsman-vectors.bin cannot be read: Not a directory\n"
    )


def test_explain_shows_the_way_and_why(starter: Path) -> None:
    shown = pointsman("explain", "-c", str(starter), "Why does my loop crash?")
    assert shown.exit_code == 0
    assert "code → large" in shown.stdout
    assert "header x-priority is absent" in shown.stdout
    assert "reaches its threshold" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["hello there"], ("simple", "small", "topic"), id="by-topic"),
        pytest.param(["hi", "-H", "X-Priority: high"], ("urgent", "large", "rule"), id="by-header"),
        pytest.param(["hi", "-H", "a:b", "-H", "x-priority:high"], ("urgent", "large", "rule"), id="two-headers"),
        pytest.param(["hi", "-H", "x-pointsman-model: large"], ("pinned", "large", "pinned"), id="pinned"),
    ],
)
def test_explain_as_json(starter: Path, arguments: list[str], expected: tuple[str, str, str]) -> None:
    told = pointsman("explain", "--json", "-c", str(starter), *arguments)
    found = json.loads(told.stdout)
    assert (told.exit_code, told.stderr) == (0, "")
    assert (found["route"], found["model"], found["reason"]) == expected


def test_explain_joins_the_values_of_one_header_as_the_server_does(tmp_path: Path) -> None:
    routes = "routes:\n  - {name: both, use: large, when: {header: {x-team: 'red, blue'}}}\n"
    path = written(tmp_path, BASE + routes)
    told = pointsman("explain", "--json", "-c", str(path), "hi", "-H", "X-Team:red", "-H", "x-team: blue")
    assert json.loads(told.stdout)["route"] == "both"


def test_explain_reads_a_prompt_from_standard_input(starter: Path) -> None:
    told = pointsman("explain", "--json", "-c", str(starter), "-", input_text="hello there")
    found = json.loads(told.stdout)
    assert (found["route"], found["model"], found["reason"]) == ("simple", "small", "topic")


@pytest.mark.parametrize("arguments", [["caf\udce9"], ["-"], ["hi", "--model", "caf\udce9"]])
def test_explain_refuses_what_is_not_utf_8(starter: Path, arguments: list[str]) -> None:
    told = pointsman("explain", "-c", str(starter), *arguments, input_text=b"caf\xe9")
    assert (told.exit_code, "it is not UTF-8" in told.stderr) == (2, True)


def test_explain_asks_for_a_model(tmp_path: Path) -> None:
    path = written(tmp_path, BASE + "rewrite: []\n")
    named = pointsman("explain", "--json", "-c", str(path), "hi", "--model", "large")
    assert json.loads(named.stdout)["reason"] == "pinned"
    unknown = pointsman("explain", "-c", str(path), "hi", "--model", "huge")
    assert unknown.exit_code == 1
    assert "Model 'huge' is not served here" in unknown.stderr


@pytest.mark.parametrize("header", ["nonsense", ":x", " : x", ""])
def test_explain_refuses_what_is_no_header(starter: Path, header: str) -> None:
    refused = pointsman("explain", "-c", str(starter), "hi", "-H", header)
    assert refused.exit_code == 2
    assert "is not NAME:VALUE" in refused.stderr


def test_each_command_says_what_it_does() -> None:
    overview = pointsman("--help").stdout
    assert "..." not in overview.partition("Commands:")[2], "on 80 columns, and to its end"
    for command in ("init", "check", "explain", "tune", "serve"):
        assert command in overview
        assert pointsman(command, "--help").exit_code == 0
