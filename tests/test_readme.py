"""What README.md and docs/ show is true: what is to be pasted works."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from proxy.app import build_app
from proxy.cli import main
from proxy.cli.serve import on_simulator
from proxy.config import StoreUrl, Upstream, When, load_config, parse_config
from proxy.routing.apis import APIS
from proxy.shipped import shipped
from proxy.simulator import build_simulator
from tests.docs.pages import PAGES, blocks
from tests.serving import serving

HERE = "http://127.0.0.1:8080"
README, LEARNING = PAGES["README.md"], PAGES["docs/learning.md"]


def test_its_routes_yaml_is_valid_and_passes_its_own_tests(tmp_path: Path) -> None:
    (block,) = blocks(README, "yaml")
    path = tmp_path / "routes.yaml"
    path.write_text(block, encoding="utf-8")
    checked = CliRunner().invoke(main, ["check", "-c", str(path)])
    assert checked.exit_code == 0, checked.output
    assert load_config(path, {}).tests


def test_what_it_shows_of_upstreams_is_valid() -> None:
    (block,) = (found for found in blocks(PAGES["docs/upstreams.md"]) if found.startswith("upstreams:"))
    rest = "version: 1\nmodels: {m: {target: {upstream: inside, name: m}}}\ndefault: m\n"
    config = parse_config(block + rest, source="upstreams.md", environ={"KEY_1": "a", "AZURE_KEY": "b"})
    for field in msgspec.structs.fields(Upstream):
        if field.name not in ("api_key", "timeouts", "max_in_flight"):  # these stand in the README's whole file
            assert any(getattr(each, field.name) != field.default for each in config.upstreams.values()), field.name


def test_it_names_every_condition_and_every_path() -> None:
    for name in When.__struct_fields__:
        assert f"`{name.rstrip('_')}`" in README, name
    for path in (
        *(f"/v1{api.path}" for api in APIS),
        "/v1/models",
        "/v1/targets",
        "/v1/policy",
        "/v1/route",
        "/healthz",
        "/readyz",
        "/metrics",
    ):
        assert f"`{path}" in PAGES["docs/api.md"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What `make run` starts, with upstreams that do not take their time, and a store of its own."""
    with serving(build_simulator(pace=0)) as upstreams:
        config = on_simulator(load_config(shipped("routes.yaml"), {}), upstreams.url)
        store = StoreUrl(f"sqlite:///{tmp_path_factory.mktemp('store') / 'pointsman.db'}")
        config = msgspec.structs.replace(config, store=store)
        with serving(build_app(config)) as served:
            yield served.url


def test_its_python_works_when_pasted(demo: str, capsys: pytest.CaptureFixture[str]) -> None:
    chat, rest = blocks(README, "python")
    exec(chat.replace(HERE, demo), {})
    assert "square root of three" in capsys.readouterr().out
    exec(rest.replace(HERE, demo), {})
    assert capsys.readouterr().out == "gpt-4o gpt-4o\nhello\n"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_its_curls_work_when_pasted(demo: str) -> None:
    commands = (re.findall(r"^curl (?:.*\\\n)*.*", page, re.MULTILINE) for page in PAGES.values())
    chat, embeddings, route, feedback, worse, well = (command for found in commands for command in found)

    def run(command: str) -> str:
        command = command.replace(HERE, demo)
        return subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout

    chat, embeddings, route = run(chat), run(embeddings), run(route)
    for header in ("x-pointsman-route: code", "x-pointsman-model: large", "x-pointsman-reason: topic"):
        assert header in chat
    assert '"object":"embedding"' in embeddings
    assert '"route":"simple"' in route
    (completion,) = re.findall(r"chatcmpl-\w+", chat)
    assert '"model":"large","replaced":false' in run(feedback.replace("chatcmpl-...", completion))
    assert '"gpt-4o":{"default":0.3,"debugging":0.3,' in run(worse)
    assert '"gpt-4o":{"default":0.85,' in run(well)


def test_what_it_shows_of_learning_works_when_pasted(tmp_path: Path) -> None:
    (block,) = re.findall(r"## Try it on simulated traffic\n.*?```\n(.*?)```", LEARNING, re.DOTALL)
    for line in re.findall(r"^pointsman (.*)", block, re.MULTILINE):
        name, *arguments = shlex.split(line, comments=True)
        found = main.get_command(click.Context(main), name)
        assert found is not None
        found.make_context(name, arguments)  # raises what the command line would say
    path = tmp_path / "routes.yaml"
    shutil.copy(shipped("routes.yaml"), path)
    (edit,) = re.findall(r"^sed .*?routes\.yaml$", block, re.MULTILINE | re.DOTALL)
    subprocess.run(edit, shell=True, check=True, cwd=tmp_path)
    config = load_config(path, {})
    assert config.policy is not None
    assert config.routes[0].name == "learned"
    assert config.routes[1:] == load_config(shipped("routes.yaml"), {}).routes
    checked = CliRunner().invoke(main, ["check", "-c", str(path)])
    assert checked.exit_code == 0, checked.output
