"""Bad files through the command line: what is no file, what is huge, what is odd and right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.learning.fit import fit_policy
from proxy.reload.policies import read_policy
from proxy.routing.policy_file import pack, unpack
from tests.cli.test_commands import pointsman
from tests.config.files import BASE
from tests.config.not_files import broken_link, impatient, not_files, nothing
from tests.learning.made import made

__all__ = ["impatient"]


@not_files
@pytest.mark.parametrize("command", [["check"], ["explain", "hi"], ["serve"]], ids=" ".join)
def test_what_is_no_file(tmp_path: Path, make: Callable[[Path], None], message: str, command: list[str]) -> None:
    path = tmp_path / "routes.yaml"
    make(path)
    told = pointsman(*command, "-c", str(path))
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr == f"{path}: {message.format(path=path)}\n1 problem found.\n"


@not_files
def test_what_is_no_file_as_json(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "routes.yaml"
    make(path)
    told = pointsman("check", "--json", "-c", str(path))
    problem = {"source": str(path), "line": 0, "column": 0, "path": "", "message": message.format(path=path)}
    assert (told.exit_code, told.stderr) == (2, "")
    assert json.loads(told.stdout) == {"valid": False, "problems": [problem]}


def test_the_routes_of_a_shadow_are_checked_too(tmp_path: Path) -> None:
    path, shadow = tmp_path / "routes.yaml", tmp_path / "next.yaml"
    path.write_text(BASE + "shadow: {routes: next.yaml}\n")
    told = pointsman("check", "-c", str(path))
    assert (told.exit_code, told.stderr) == (
        2, f"{path}:8:18 shadow.routes: there is no file '{shadow}'\n1 problem found.\n",
    )  # fmt: skip
    shadow.write_text(BASE.replace("default: small", "default: smal"))
    told = pointsman("check", "-c", str(path))
    assert told.exit_code == 2
    assert f"{shadow}:7:10 default: no model is called 'smal'; did you mean 'small'?" in told.stderr
    shadow.write_text(BASE)
    assert pointsman("check", "-c", str(path)).exit_code == 0


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    """As `check -c <(...)` makes one."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(BASE + "#" * 100_000,))
    writer.start()
    checked = pointsman("check", "-c", str(path))
    writer.join()
    assert (checked.exit_code, checked.stderr) == (0, "")


@not_files
def test_what_is_no_policy_file(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    routes, policy = tmp_path / "routes.yaml", tmp_path / "policy.npz"
    routes.write_text(BASE + "policy: policy.npz\n")
    make(policy)
    told = pointsman("check", "-c", str(routes))
    if make in (nothing, broken_link):
        assert told.exit_code == 0, "there is none yet"
        return
    message = message.format(path=policy).replace("routes.yaml", "policy.npz")
    assert (told.exit_code, told.stdout, told.stderr) == (2, "", f"{policy}: {message}\n1 problem found.\n")


def test_a_policy_is_read_from_a_pipe(tmp_path: Path) -> None:
    path, content = tmp_path / "pipe", pack(fit_policy(made(60), embedder="e"))
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    found = read_policy(path)
    writer.join()
    assert found is not None
    assert found.version == unpack(content).version


def test_a_pipe_that_was_read_already() -> None:
    """As `serve -c <(...)` finds it when it reads the file again."""
    reader, writer = os.pipe()
    os.close(writer)
    told = pointsman("check", "-c", f"/proc/self/fd/{reader}")
    os.close(reader)
    assert told.exit_code == 2
    assert "a pipe that brought nothing, perhaps because it has been read already; name a file" in told.stderr


# `check`, and at its end the processor time it took and the most memory it had. Of the process itself: what the
# system tells of a child begins with the memory of the parent that it was forked from.
CHECK = """
import atexit, pathlib, re, sys, time
from proxy.cli import main
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024
atexit.register(lambda: print(time.process_time(), peak()))
main(["check", "-c", sys.argv[1]])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(BASE + "#" * 10_000_000, "larger than 8 MB; is this the right file?", id="ten-megabytes"),
        pytest.param(BASE + "routes:\n" + "- {a: b}\n" * 900_000, "more than 200,000 keys and values", id="values"),
        pytest.param(BASE + "a: 1\n" * 1_600_000, "more than 1,000 problems", id="problems"),
    ],
)
def test_a_huge_file_is_told_in_seconds_and_little_memory(tmp_path: Path, text: str, message: str) -> None:
    """Measured: 1 to 3 s and 90 to 145 MB, of which 83 MB is the program itself; before, two minutes and 2.5 GB."""
    path = tmp_path / "routes.yaml"
    path.write_text(text)
    command = [sys.executable, "-c", CHECK, str(path)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    seconds, peak_mb = map(float, checked.stdout.split())
    assert checked.returncode == 2
    assert message in checked.stderr.splitlines()[0]
    assert "Traceback" not in checked.stderr
    assert seconds < 20
    assert peak_mb < 300


TOPIC = "routes: [{name: r, use: large, when: {topic: a}}]\n"


@pytest.mark.parametrize(
    ("topics", "prompt", "route"),
    [
        pytest.param("a: {examples: [reset my password]}", "reset my password", "r", id="one-topic-of-one-example"),
        pytest.param("a: {examples: [hello, hello, Hello, hello]}", "hello", "r", id="examples-all-the-same"),
        pytest.param("a: {examples: [hello, hello]}", "Prove Fermat's last theorem", "default", id="the-same-and-else"),
        pytest.param(
            "a: {examples: [a red car, a red car]}, b: {examples: [some cold soup, Some cold  soup]}",
            "a red car",
            "r",
            id="two-topics-of-the-same-examples",
        ),
        pytest.param("a: {examples: ['\N{ROCKET}', '\N{GRINNING FACE}']}", "\N{ROCKET}", "r", id="emoji"),
        pytest.param('a: {examples: ["\\e[31mred alert\\0"]}', "red alert", "r", id="control-characters"),
        pytest.param(f"a: {{examples: [{'spam ' * 200_000}]}}", "spam " * 1000, "r", id="a-megabyte"),
        pytest.param("1: {examples: [x]}, a: {examples: [reset my password]}", "reset my password", "r", id="numbers"),
    ],
)
def test_odd_topics_route_as_their_examples_say(tmp_path: Path, topics: str, prompt: str, route: str) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(BASE + f"topics: {{{topics}}}\n" + TOPIC, encoding="utf-8")
    told = pointsman("explain", "--json", "-c", str(path), prompt)
    assert (told.exit_code, told.stderr) == (0, "")
    explained = json.loads(told.stdout)
    assert explained["route"] == route
    assert all(0 <= topic["score"] <= 1 for topic in explained["topics"])


def test_a_thousand_routes(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    routes = "".join(f"  - {{name: r{n}, use: small, when: {{header: {{x-team: t{n}}}}}}}\n" for n in range(1000))
    path.write_text(BASE + "routes:\n" + routes)
    checked = pointsman("check", "-c", str(path))
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert "1000 routes" in checked.stdout
    told = pointsman("explain", "--json", "-c", str(path), "-H", "x-team: t999", "hi")
    assert json.loads(told.stdout)["route"] == "r999"
