"""The alerts: Prometheus' own tool judges them, and everybody who is woken finds out what to do."""

from __future__ import annotations

import json
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


def promtool(*arguments: str) -> None:
    told = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True)
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


def test_the_placeholder_is_replaced_everywhere_in_one_go(tmp_path: Path) -> None:
    shutil.copytree(PROMETHEUS.parent, tmp_path / "deploy")
    (command,) = re.findall(r"^#   (sed -i .*)$", ALERTS.read_text("utf-8"), re.MULTILINE)
    folder = tmp_path / "deploy" / "prometheus"
    subprocess.run(["sh", "-c", command], cwd=folder, check=True)
    alerts = yaml.safe_load((folder / "alerts.yaml").read_text("utf-8"))["groups"]
    urls = [rule["annotations"]["runbook_url"] for group in alerts for rule in group["rules"] if "alert" in rule]
    for path in (tmp_path / "deploy" / "grafana").glob("*.json"):
        (variable,) = [
            each for each in json.loads(path.read_text("utf-8"))["templating"]["list"] if each["name"] == "runbooks"
        ]
        urls += [variable["query"], variable["current"]["value"], variable["current"]["text"]]
    assert {url.partition("#")[0] for url in urls} == {"https://YOUR.HOST/runbooks.md"}
