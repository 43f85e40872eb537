"""The image: what goes in, what it may do, and that it starts as Kubernetes would start it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from proxy.cli import main
from proxy.config import load_config
from tests.deploy.dockerfile import ROOT, context, image, stages
from tests.deploy.manifests import DEPLOY, LAST_S, kustomizations
from tests.deploy.rehearsal import Image, build, rehearsal
from tests.wheels import wheel

__all__ = ["wheel"]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ASK = """
import http.client, json
connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=20)
prompt = "Fix the off-by-one error in my loop"
body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": prompt}]})
connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
answer = connection.getresponse()
print(answer.status, answer.getheader("x-pointsman-route"))
"""
ROWS = """
import sqlite3
print(sqlite3.connect("pointsman.db").execute("select count(*) from decisions").fetchone()[0])
"""


def test_only_what_is_copied_is_let_in() -> None:
    copied = [
        word for stage in stages() for step in stage.all("COPY") if not step.flags for word in step.words[:-1]
    ]  # fmt: skip
    paths = list(context())
    for path in paths:
        assert any(path == Path(word) or path.is_relative_to(word) for word in copied), path
    for word in copied:
        assert any(path == Path(word) or path.is_relative_to(word) for path in paths), word
    names = {str(path) for path in paths}
    assert "models/all-MiniLM-L6-v2/model.onnx" in names
    assert not [name for name in names if re.search(r"__pycache__|\.pyc$|\.db|^\.|^tests|^deploy", name)]


def test_everything_that_it_installs_is_pinned() -> None:
    pins = {
        re.sub(r"[-_.]+", "-", name).lower()
        for name in re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    }
    extras = [*PROJECT["optional-dependencies"]["postgres"], *PROJECT["optional-dependencies"]["otel"]]
    for requirement in (*PROJECT["dependencies"], *extras, "hatchling"):
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        assert re.sub(r"[-_.]+", "-", name[0]).lower() in pins, requirement
    assert stages()[0].environ["PIP_CONSTRAINT"] == f"{stages()[0].one('WORKDIR').rest}/constraints.txt"


def test_a_change_of_the_code_leaves_the_layer_of_what_it_needs() -> None:
    copied: list[str] = []
    for step in stages()[0].steps:
        if step.name == "COPY":
            copied += step.words[:-1]
        elif "--requirement" in step.rest:
            break
    assert copied == ["constraints.txt", "pyproject.toml"]
    origins = [step.words[0] for step in image().all("COPY") if step.flags]
    assert origins == ["/opt/pointsman", "/product/opt/pointsman"]


def test_one_version_everywhere() -> None:
    version = PROJECT["version"]
    labels = dict(word.split("=", 1) for word in image().one("LABEL").words)
    assert labels["org.opencontainers.image.version"] == version
    assert labels["org.opencontainers.image.description"] == PROJECT["description"]
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]
    tags = {each["newTag"] for _, content in kustomizations() for each in content.get("images", ())}
    assert tags == {version}
    compose = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"image: pointsman:(\S+)", compose)) == {version}


def test_its_user_is_a_number_and_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image().one("USER").rest)
    names = [step.name for step in image().steps]
    assert "RUN" not in names[names.index("USER") :], "what is run is run before"
    assert {stage.base for stage in stages()} == {"python:3.11-slim-bookworm"}


def read(name: str) -> Any:
    """A YAML file of deploy/."""
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


class TestCompose:
    """The demo with its dashboards."""

    COMPOSE = read("compose.yaml")
    SERVICES = COMPOSE["services"]

    def test_what_it_mounts_is_there(self) -> None:
        for service in self.SERVICES.values():
            for volume in service.get("volumes", ()):
                source, *_ = volume.split(":")
                assert source in self.COMPOSE["volumes"] or (DEPLOY / source).exists(), volume
        assert (DEPLOY / self.SERVICES["pointsman"]["build"]["context"]).resolve() == ROOT

    def test_its_command_lines_are_understood(self) -> None:
        served: list[str] = self.SERVICES["pointsman"]["command"]
        (script,) = self.SERVICES["traffic"]["command"]
        again = re.fullmatch(r"while pointsman (.*); do sleep \d+; done; exit 1", script)
        assert again is not None
        for command, *args in (served, shlex.split(again[1].replace("$$(date +%s)", "7"))):
            found = main.get_command(click.Context(main), command)
            assert found is not None, command
            found.make_context(command, args)

    def test_its_users_come_back_once_pointsman_does(self, tmp_path: Path) -> None:
        (script,) = self.SERVICES["traffic"]["command"]
        command = tmp_path / "pointsman"
        command.write_text("#!/bin/sh\nexit 1\n")
        command.chmod(0o755)
        words = [*self.SERVICES["traffic"]["entrypoint"], script.replace("$$", "$")]
        ended = subprocess.run(words, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, timeout=10)
        assert (ended.returncode, self.SERVICES["traffic"]["restart"]) == (1, "on-failure")

    def test_grafana_finds_prometheus_and_the_dashboards(self) -> None:
        (provider,) = read("grafana/provisioning/dashboards/pointsman.yaml")["providers"]
        (source,) = read("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
        mounted = [volume.split(":")[1] for volume in self.SERVICES["grafana"]["volumes"]]
        for path in (DEPLOY / "grafana").glob("*.json"):
            assert f"{provider['options']['path']}/{path.name}" in mounted
        assert source["url"] in [f"http://{service}:9090" for service in self.SERVICES]
        jobs = read("prometheus/prometheus.yaml")["scrape_configs"]
        assert "pointsman:8080" in [
            target for job in jobs for each in job["static_configs"] for target in each["targets"]
        ]

    def test_one_command_brings_all_of_it(self) -> None:
        assert not [name for name, service in self.SERVICES.items() if "profiles" in service]

    def test_pointsman_may_do_nothing_that_it_need_not(self) -> None:
        for name in ("pointsman", "traffic"):
            assert self.SERVICES[name]["read_only"] is True
            assert self.SERVICES[name]["cap_drop"] == ["ALL"]
            assert self.SERVICES[name]["security_opt"] == ["no-new-privileges:true"]

    def test_nobody_else_on_the_network_reaches_it(self) -> None:
        ports = [port for service in self.SERVICES.values() for port in service.get("ports", ())]
        assert len(ports) == 3
        assert not [port for port in ports if not port.startswith("127.0.0.1:")]
        roles = self.SERVICES["grafana"]["environment"]
        assert roles["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer", "any page in the browser can send what it likes there"

    def test_pointsman_ends_in_order_and_keeps_its_store(self) -> None:
        service = self.SERVICES["pointsman"]
        starter = load_config(ROOT / "routes.yaml", {})
        assert starter.server.drain.grace + LAST_S < int(service["stop_grace_period"].removesuffix("s"))
        assert image().one("WORKDIR").rest in {volume.split(":")[1] for volume in service["volumes"]}

    def test_only_what_serves_is_asked_for_its_health(self) -> None:
        ours = {name: each for name, each in self.SERVICES.items() if each["image"].startswith("pointsman:")}
        silent = {name for name, each in ours.items() if each.get("healthcheck") == {"disable": True}}
        assert silent == {name for name, each in ours.items() if each["command"][0] != "serve"} == {"traffic"}


@pytest.fixture(scope="module")
def built(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The Dockerfile's steps, carried out."""
    with rehearsal(tmp_path_factory.mktemp("image") / "layers") as on:
        yield build(on, wheel, tmp_path_factory.mktemp("checkout"))


@pytest.mark.slow
@pytest.mark.timeout(240)
class TestRehearsal:
    """What comes of the Dockerfile's steps, run as a stranger on a root that is read-only."""

    def test_it_has_no_pip_and_nobody_can_write(self, built: Image) -> None:
        for python in ("/opt/pointsman/bin/python", "/usr/local/bin/python"):
            assert "No module named pip" in built.run(python, "-m", "pip", "--version", user="0:0").stderr
        for path in ("/etc/pointsman/x", "/opt/pointsman/x", "/tmp/x"):
            assert "Read-only file system" in built.run("touch", path, user="0:0").stderr

    def test_without_any_volume_it_serves_its_starter_file(self, built: Image) -> None:
        assert not built.is_healthy(), "nobody serves yet"
        with built.serving("--demo") as served:
            status = Path(f"/proc/{served.process.pid}/status").read_text(encoding="utf-8")
            user = built.user.split(":")[0]
            assert re.search(rf"^Uid:\t{user}\t{user}\t{user}\t{user}$", status, re.MULTILINE)
            assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
            assert built.run("python", "-c", ASK).stdout == "200 code\n"
            assert "telemetry" not in served.log(), "what ONNX Runtime says where it cannot keep its identifier"
            assert served.end(signal.Signals[built.stage.one("STOPSIGNAL").rest]) == 0

    def test_with_its_volumes_several_workers_keep_decisions(self, built: Image) -> None:
        owner = built.on.do("stat", "--format=%u:%g", built.volume).strip()
        assert owner == built.user, "a new volume begins as the folder that it covers"
        uid, gid = owner.split(":")
        built.on.do("mount", "-t", "tmpfs", "-o", f"mode=0755,uid={uid},gid={gid}", "none", built.volume)
        built.on.do("mount", "-t", "tmpfs", "-o", "mode=1777", "none", built.root / "mnt")
        with built.serving("--demo", "--workers", "2", TMPDIR="/mnt") as served:
            assert "pointsman-metrics-" in built.run("ls", "/mnt").stdout
            assert built.run("python", "-c", ASK).stdout == "200 code\n"
            assert served.end() == 0
        assert built.run("python", "-c", ROWS).stdout == "1\n"
