"""The dashboards: what Grafana accepts, and what a Prometheus answers to each of their questions."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families

from deploy.grafana import board
from deploy.grafana.__main__ import FILES, written
from proxy.config import ConfigError, parse_config
from tests.deploy.prometheus import DASHBOARDS, PROMETHEUS, Prometheus, needs_prometheus, prometheus
from tests.deploy.traffic import ODD, ROUTES, everything, house
from tests.server.test_drain import Served, serve

plugins.register_default_plugins()

BOARDS: dict[str, dict[str, Any]] = {
    path.name: json.loads(path.read_text("utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))
}
RUNBOOKS = (PROMETHEUS.parents[1] / "docs" / "runbooks.md").read_text("utf-8")
EACH_BOARD = pytest.mark.parametrize("name", BOARDS)

# What Grafana's own code reads and its published schema leaves out.
BEYOND_THE_SCHEMA = {
    ".annotations.list[].step", ".annotations.list[].titleFormat", ".annotations.list[].textFormat",
    ".templating.list[].definition", ".panels[].options.tooltip.mode",
}  # fmt: skip
# Queries without data after the traffic of this test, and why.
MAY_BE_EMPTY = {"Spans that were dropped": "nothing is traced here; its series has tests in tests/telemetry"}
# Series that no dashboard and no alert reads, and why.
LEFT_OUT: dict[str, str] = {}
# Runbooks that no panel links to, and why.
WITHOUT_A_PANEL = {
    "pointsmandown": "a process that is gone draws nothing",
    "pointsmankeyrefused": "its attempts are among those that failed, and their panels lead to PointsmanTargetRests",
}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The title and the expression of each."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def filled(expr: str) -> str:
    """With what Grafana puts in place of its variables, where all are chosen."""
    for name, value in {"__rate_interval": "1m", "__range": "2m"}.items():
        expr = expr.replace(f"${name}", value)
    return re.sub(r"\$(namespace|job|instance|route|model)\b", ".*", expr)


def test_the_json_is_what_the_description_makes() -> None:
    assert set(FILES) == {DASHBOARDS / name for name in BOARDS}
    for path, dashboard in FILES.items():
        assert path.read_text("utf-8") == written(dashboard), "make dashboards"


@EACH_BOARD
def test_grafanas_types_know_every_key_and_value(name: str) -> None:
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(BOARDS[name])))
    assert set(lost(BOARDS[name], read)) <= BEYOND_THE_SCHEMA


def lost(ours: Any, read: Any, where: str = "") -> Iterator[str]:
    """Where what was read differs from what was written."""
    if isinstance(ours, dict) and isinstance(read, dict):
        for key, value in ours.items():
            yield from lost(value, read.get(key), f"{where}.{key}")
    elif isinstance(ours, list) and isinstance(read, list) and len(ours) == len(read):
        for one, other in zip(ours, read, strict=True):
            yield from lost(one, other, f"{where}[]")
    elif ours != read:
        yield where


def test_a_key_that_grafana_does_not_know_is_noticed() -> None:
    wrong = json.loads(json.dumps(BOARDS["pointsman.json"]))
    wrong["panels"][1]["feildConfig"] = {}
    wrong["panels"][1]["options"]["colourMode"] = "value"
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(wrong)))
    assert {".panels[].feildConfig", ".panels[].options.colourMode"} <= set(lost(wrong, read))


@EACH_BOARD
def test_panels_lie_in_the_grid_and_say_what_they_show(name: str) -> None:
    dashboard = BOARDS[name]
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identities)) == len(identities)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(0 <= x < 24 for x, _ in cells), panel["title"]
        taken |= cells
    for panel in panels(dashboard):
        assert panel["description"].endswith("."), panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        assert defaults["noValue"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
        for link in panel.get("links", ()):
            heading = link["url"].removeprefix("${runbooks}#")
            assert f"\n## {heading}\n" in RUNBOOKS.lower(), panel["title"]


@EACH_BOARD
def test_rates_look_as_far_as_the_scrapes_lie_apart(name: str) -> None:
    """Grafana knows the interval: a minute of its own would be empty where Prometheus scrapes once a minute."""
    for title, expr in queries(BOARDS[name]):
        assert set(re.findall(r"\}\[(.*?)\]", expr)) <= {"$__rate_interval", "$__range", "1h"}, title


def test_each_runbook_is_a_click_away() -> None:
    links = {
        link["url"].partition("#")[2]
        for board in BOARDS.values()
        for panel in panels(board)
        for link in panel.get("links", ())
    }
    headings = {heading.lower() for heading in re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)}
    assert headings - links == WITHOUT_A_PANEL.keys()


def test_what_is_drawn_is_provisioned() -> None:
    provisioned = DASHBOARDS / "provisioning"
    (source,) = yaml.safe_load((provisioned / "datasources" / "prometheus.yaml").read_text("utf-8"))["datasources"]
    scraping = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text("utf-8"))
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == scraping["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((provisioned / "dashboards" / "pointsman.yaml").read_text("utf-8"))["providers"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "/var/lib/grafana/dashboards")


# Of each the growth in a second.
COUNTERS = {
    'requests_total{route="code", model="large", status="200"}': 5,
    'requests_total{route="code", model="large", status="404"}': 1,
    'requests_total{route="code", model="large", status="502"}': 2,
    'requests_total{route="all", model="small", status="200"}': 8,
    'attempts_total{target="gpu/x", outcome="ok"}': 4,
    'attempts_total{target="gpu/x", outcome="failed"}': 1,
    'attempts_total{target="gpu/x", outcome="unauthorized"}': 1,
    'attempts_total{target="gpu/x", outcome="rejected"}': 1,
    'attempts_total{target="gpu/x", outcome="client_left"}': 1,
    'attempts_total{target="gpu/y", outcome="ok"}': 3,
    'decisions_total{route="all", model="large", reason="learned"}': 3,
    'decisions_total{route="all", model="large", reason="split"}': 2,
    'decisions_total{route="all", model="small", reason="split"}': 3,
    'decisions_total{route="all", model="small", reason="rule"}': 9,
    'experiment_decisions_total{route="trial", arm="large"}': 3,
    'experiment_decisions_total{route="trial", arm="learned"}': 1,
    'feedback_total{route="code", model="large", rating="up"}': 1,
    'feedback_total{route="code", model="large", rating="neutral"}': 1,
    'feedback_total{route="code", model="large", rating="down"}': 2,
    'cost_usd_total{model="large"}': 3,
    "baseline_cost_usd_total": 8,
    'usage_total{model="large"}': 4,
    'tokens_total{model="large", kind="prompt"}': 8,
    'tokens_total{model="large", kind="cached"}': 2,
    'tokens_total{model="large", kind="completion"}': 6,
    'fail_open_total{cause="late"}': 1,
    'fail_open_total{cause="full"}': 1,
    'embed_cache_total{result="hit"}': 6,
    'embed_cache_total{result="miss"}': 2,
    'shadow_decisions_total{result="same"}': 3,
    'shadow_decisions_total{result="other"}': 1,
    'shadow_decisions_total{result="failed"}': 5,
    'shadow_cost_usd_total{choice="shadow"}': 3,
    'shadow_cost_usd_total{choice="live"}': 4,
}
GAUGES = {
    'target_state{instance="a", target="gpu/x"}': 2,
    'target_state{instance="b", target="gpu/x"}': 0,
    'target_state{instance="a", target="gpu/y"}': 1,
    'in_flight{instance="a", namespace="one"}': 3,
    'in_flight{instance="a", namespace="two"}': 4,
    'in_flight{instance="b", namespace="two"}': 5,
    'target_info{model="large", target="gpu/x"}': 1,
    'target_info{model="large", target="gpu/y"}': 0,
    'config_info{instance="a", sha256="before"}': 0,
    'config_info{instance="a", sha256="now"}': 1,
    'policy_info{instance="a", version="before"}': 0,
    'policy_info{instance="a", version="now"}': 1,
    'policy_correction{region="1", model="large"}': -0.5,
    'policy_correction{region="2", model="large"}': 0.25,
}
# What a panel then shows, in each of its lines.
SHOWN: dict[str, dict[str, float]] = {
    "Requests": {"": 16},
    "Server errors": {"": 2 / 16},
    "Server errors by model": {'model="large"': 2 / 8, 'model="small"': 0},
    "Errors by status": {'status="404"': 1, 'status="502"': 2},
    "Attempts that failed, by outcome": {'outcome="failed"': 1, 'outcome="unauthorized"': 1},
    "Failed attempts by target": {'target="gpu/x"': 2 / 8, 'target="gpu/y"': 0},
    "Targets that rest": {"": 1},
    "Who serves what": {'model="large", target="gpu/x"': 1},
    "Requests under way": {'instance="a"': 7, 'instance="b"': 5},
    "Without their text": {"": 2 / 8},
    "Vectors from the cache": {"": 6 / 8},
    "Cost": {"": 3 * 120},
    "Saved": {"": 5 * 120},
    "Saved, share": {"": 5 / 8},
    "Savings an hour": {"": 5 * 3600},
    "Cost of 1,000 requests": {"": 750},
    "Tokens": {"": 14 * 120},
    "Cached prompt tokens": {"": 2 / 8},
    "Feedback, mean by model": {'model="large"': 1.5 / 4},
    "Configurations in use": {'instance="a", sha256="now"': 1},
    "Policies in use": {'instance="a", version="now"': 1},
    "Shares of the arms": {'route="trial", arm="large"': 3 / 4, 'route="trial", arm="learned"': 1 / 4},
    "Learned and split decisions by model": {
        'route="all", model="large", reason="learned"': 3,
        'route="all", model="large", reason="split"': 2,
        'route="all", model="small", reason="split"': 3,
    },
    "Shares of the models": {'route="all", model="large"': 5 / 8, 'route="all", model="small"': 3 / 8},
    "Tokens of an answer by model": {'model="large"': 6 / 4},
    "Feedback, mean by route and model": {'route="code", model="large"': 1.5 / 4},
    "Agreement": {"": 3 / 4},
    "Cost at the shadow's choice": {"": -1 * 120},
    "The same, share": {"": 3 / 4 - 1},
    "Largest corrections": {'region="1", model="large"': 0.5, 'region="2", model="large"': 0.25},
}


@needs_prometheus
def test_panels_show_what_was_counted(tmp_path: Path) -> None:
    of_panels = {title: filled(expr) for dashboard in BOARDS.values() for title, expr in queries(dashboard)}
    trial = {
        "interval": "15s",
        "input_series": [
            *({"series": f"pointsman_{name}", "values": f"0+{15 * each}x20"} for name, each in COUNTERS.items()),
            *({"series": f"pointsman_{name}", "values": f"{each}x20"} for name, each in GAUGES.items()),
        ],
        "promql_expr_test": [
            {
                "expr": of_panels[title], "eval_time": "5m",
                "exp_samples": [{"labels": f"{{{labels}}}", "value": value} for labels, value in lines.items()],
            }
            for title, lines in SHOWN.items()
        ],
    }  # fmt: skip
    (tmp_path / "panels.yaml").write_text(json.dumps({"evaluation_interval": "5m", "tests": [trial]}))
    told = subprocess.run(["promtool", "test", "rules", "panels.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr


class Seen(NamedTuple):
    """A Prometheus that has seen it all, when that was, and what it read."""

    prometheus: Prometheus
    at: float
    text: str
    other: Served
    """Another one, which may be told to end."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp
    with serve(folder("other"), drain="{delay: 15s, grace: 20s}") as other, house(folder("house")) as running:
        port = running.http.base_url.port
        assert port
        with prometheus(folder("prometheus"), (port, other.port), PROMETHEUS / "alerts.yaml") as found:
            found.has_scraped(port)
            everything(running)
            found.has_scraped(port)
            found.has_scraped(port)  # what was born with the first error has no rate before
            yield Seen(found, time.time(), running.http.get("/metrics").text, other)


@needs_prometheus
@pytest.mark.slow
class TestLive:
    """Against a real Prometheus that scrapes a real Pointsman."""

    @EACH_BOARD
    def test_each_query_has_an_answer(self, seen: Seen, name: str) -> None:
        empty = {
            title
            for title, expr in queries(BOARDS[name])
            if all(each["value"][1] == "NaN" for each in seen.prometheus.query(filled(expr), seen.at))
        }
        assert empty == {title for title in MAY_BE_EMPTY if title in dict(queries(BOARDS[name]))}

    @EACH_BOARD
    def test_each_variable_has_values(self, seen: Seen, name: str) -> None:
        asked = [each for each in BOARDS[name]["templating"]["list"] if each["type"] == "query"]
        assert [each["name"] for each in asked] == ["namespace", "job", "instance", "route", "model"]
        for each in asked:
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", each["query"]["query"])
            assert found, each["query"]
            values = seen.prometheus.get(f"label/{found[2]}/values", **{"match[]": filled(found[1])})
            assert values, each["name"]
            if each["name"] in ("route", "model"):
                assert {"route": "code", "model": "large"}[each["name"]] in values

    def test_each_rule_is_evaluated_and_reads_series_that_are_there(self, seen: Seen) -> None:
        def told() -> set[str]:
            return {alert["labels"]["alertname"] for alert in seen.prometheus.get("alerts")["alerts"]}

        expected = {"PointsmanModelDown", "PointsmanTargetRests", "PointsmanConfigReloadFailed"}
        seen.prometheus.until(lambda: told() >= expected, "no alerts")
        groups = seen.prometheus.get("rules")["groups"]
        assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
        for rule in rules():
            for selector in re.findall(r"(?:pointsman_\w+|pointsman:[\w:]+|up)(?:\{[^}]*\})?", rule["expr"]):
                assert seen.prometheus.query(selector), (rule, selector)

    def test_every_series_is_read_and_every_name_is_one(self, seen: Seen) -> None:
        exported = {"pointsman_spans_dropped_total"}  # only where there is tracing
        for family in text_string_to_metric_families(seen.text):
            exported.add(family.name + ("_total" if family.type == "counter" else ""))
        # What the code could export, in whatever it is started with.
        code = "".join(path.read_text("utf-8") for path in (PROMETHEUS.parents[1] / "proxy" / "telemetry").glob("*.py"))
        named = re.findall(r'"pointsman_(\w+)"', code) + re.findall(r'\b(?:counter|gauge|histogram)\(\s*"(\w+)"', code)
        assert {name.removeprefix("pointsman_").removesuffix("_total") for name in exported} == set(named)
        read = [expr for dashboard in BOARDS.values() for _, expr in queries(dashboard)]
        used = set()
        for name in re.findall(r"\bpointsman_\w+", " ".join([*read, *(rule["expr"] for rule in rules())])):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            used.add(base if base in exported else name)
        assert used - exported == set()
        assert exported - used == set(LEFT_OUT)

    def test_the_variables_narrow_all_that_has_their_labels(self, seen: Seen) -> None:
        labels: dict[str, set[str]] = {}
        for family in text_string_to_metric_families(seen.text):
            name = family.name.removeprefix("pointsman_") + ("_total" if family.type == "counter" else "")
            for sample in family.samples:
                labels.setdefault(name, set()).update(sample.labels.keys() & {"route", "model"})
        assert {name: found for name, found in labels.items() if found} == {
            name: set(narrowed) for name, narrowed in board.NARROWED.items()
        }

    def test_a_name_with_quotes_and_lines_stays_one_label(self, seen: Seen) -> None:
        (state,) = [
            sample
            for family in text_string_to_metric_families(seen.text)
            for sample in family.samples
            if sample.name == "pointsman_target_state" and "odd" in sample.labels["target"]
        ]
        assert state.labels == {"target": f"one/{ODD}"}
        (found,) = seen.prometheus.query('pointsman_target_state{target=~"(?s).*odd.*"}', seen.at)
        assert found["metric"]["target"] == f"one/{ODD}"

    def test_no_scrape_failed_while_all_that_went_on(self, seen: Seen) -> None:
        assert [each["value"][1] for each in seen.prometheus.query("min_over_time(up[2m])", seen.at)] == ["1", "1"]

    def test_a_server_that_drains_is_still_scraped(self, seen: Seen) -> None:
        seen.prometheus.has_scraped(seen.other.port)
        seen.other.tell()
        seen.other.wait_until(lambda: seen.other.get("/readyz").status_code == 503)
        seen.prometheus.has_scraped(seen.other.port)
        assert seen.other.get("/readyz").status_code == 503


@pytest.mark.parametrize("name", ['a"b', "a\nb", "a{b}", "a\\b", "-", ".*"])
@pytest.mark.parametrize("what", ["coder", "trial", "law"])
def test_names_that_would_need_care_in_labels_are_refused(what: str, name: str) -> None:
    text = re.sub(rf"\b{what}\b", lambda _: json.dumps(name), ROUTES).replace('["small", ', "[small, ")
    with pytest.raises(ConfigError):
        parse_config(text, source="routes.yaml", environ={"SIM": "http://127.0.0.1:9", "STORE": "x.db"})
    parse_config(ROUTES, source="routes.yaml", environ={"SIM": "http://127.0.0.1:9", "STORE": "x.db"})
