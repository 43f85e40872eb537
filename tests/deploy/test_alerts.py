"""The alerts: Prometheus' own tool judges them, and everybody who is woken finds out what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.prometheus import PROMETHEUS, needs_prometheus

ALERTS = PROMETHEUS / "alerts.yaml"
RUNBOOKS = PROMETHEUS.parents[1] / "docs" / "runbooks.md"
PLACEHOLDER = "https://runbooks.example/runbooks.md"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


EACH_ALERT = pytest.mark.parametrize("rule", rules(), ids=[rule["alert"] for rule in rules()])


def promtool(*arguments: str, folder: Path = PROMETHEUS) -> None:
    told = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr


@needs_prometheus
def test_prometheus_takes_the_files() -> None:
    promtool("check", "rules", "alerts.yaml")
    promtool("check", "config", "prometheus.yaml")


@needs_prometheus
@pytest.mark.slow
def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", "alerts_test.yaml")


def test_each_alert_is_tried_both_ways() -> None:
    tried = [
        (each["alertname"], bool(each["exp_alerts"]))
        for group in yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text("utf-8"))["tests"]
        for each in group["alert_rule_test"]
    ]
    assert set(tried) == {(rule["alert"], fires) for rule in rules() for fires in (True, False)}


@EACH_ALERT
def test_whoever_is_woken_is_told_what_it_is(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    told = rule["annotations"]
    assert set(told) == {"summary", "description", "runbook_url"}
    assert "$labels." in told["summary"]
    assert "$value" in told["description"]
    assert told["runbook_url"] == f"{PLACEHOLDER}#{rule['alert'].lower()}"


@EACH_ALERT
def test_each_alert_has_a_runbook(rule: dict[str, Any]) -> None:
    found = re.search(rf"^## {rule['alert']}\n(.*?)(?=^## |\Z)", RUNBOOKS.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found, "no such heading"
    assert re.findall(r"^\*\*(Meaning|Look at|Do)\b", found[1], re.MULTILINE) == ["Meaning", "Look at", "Do"]


def test_the_runbooks_speak_of_what_there_is() -> None:
    text = RUNBOOKS.read_text("utf-8")
    headings = re.findall(r"^## (\w+)$", text, re.MULTILINE)
    assert set(headings) == {rule["alert"] for rule in rules()}
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= {heading.lower() for heading in headings}
    titles = set(re.findall(r'"title": "(.*)"', (PROMETHEUS.parent / "grafana" / "pointsman.json").read_text("utf-8")))
    assert set(re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", text)) <= titles | {"another configuration"}


@pytest.fixture
def addressed(tmp_path: Path) -> Path:
    """What is deployed, with the address of the runbooks put in as it is said to be."""
    deploy = shutil.copytree(PROMETHEUS.parent, tmp_path / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    (command,) = re.findall(r"^#   (sed -i .*)$", ALERTS.read_text("utf-8"), re.MULTILINE)
    subprocess.run(["sh", "-c", command], cwd=deploy / "prometheus", check=True)
    return deploy


def test_the_placeholder_is_replaced_everywhere_in_one_go(addressed: Path) -> None:
    found = {str(path.relative_to(addressed)): path.read_text("utf-8") for path in addressed.rglob("*.*")}
    assert not [path for path, text in found.items() if "runbooks.example" in text]
    assert {path for path, text in found.items() if "https://YOUR.HOST/runbooks.md" in text} == {
        *(f"prometheus/{name}.yaml" for name in ("alerts", "alerts_test", "prometheusrule")),
        *(f"grafana/{name}" for name in ("board.py", "pointsman.json", "experiments.json")),
    }


@needs_prometheus
@pytest.mark.slow
def test_and_the_alerts_fire_as_before(addressed: Path) -> None:
    promtool("test", "rules", "alerts_test.yaml", folder=addressed / "prometheus")
