"""Panels in few words, and the JSON that Grafana makes of them: no panel says twice what all of them share."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["timeseries", "stat", "heatmap", "state-timeline", "table", "bargauge"]

RUNBOOKS = "https://runbooks.example/runbooks.md"
"""Where docs/runbooks.md is served; each dashboard has it once, in a variable."""

_COLUMNS = 24
_AT_LEAST = {"percentunit": 0.1, "reqps": 0.1, "none": 1}
"""By unit, how far an axis goes at least. Where all is zero, Grafana's own end is 100, which it calls 10000%."""
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
NARROWED = {
    "decisions_total": ("route", "model"),
    "experiment_decisions_total": ("route",),
    "requests_total": ("route", "model"),
    "request_seconds": ("route", "model"),
    "first_token_seconds": ("model",),
    "usage_total": ("model",),
    "tokens_total": ("model",),
    "cost_usd_total": ("model",),
    "feedback_total": ("route", "model"),
    "policy_correction": ("model",),
    "target_info": ("model",),
}
"""The series that the variables `route` and `model` narrow; the others have no such label."""


def series(
    name: str,
    where: str = "",
    *,
    narrow: Sequence[str] = ("route", "model"),
    among: Sequence[str] = ("namespace", "job", "instance"),
) -> str:
    """
    A selector with the dashboard's variables in it.

    Args:
        name: without `pointsman_`.
        where: further matchers.
        narrow: which of the variables `route` and `model` count, as far as the series has them.
        among: which of those count that tell one process from another.
    """
    base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
    labels = [*among, *(label for label in NARROWED.get(base, ()) if label in narrow)]
    matchers = [f'{label}=~"${label}"' for label in labels] + ([where] if where else [])
    return f"pointsman_{name}{{{', '.join(matchers)}}}"


def per_second(name: str, by: str = "", where: str = "", *, over: str = "$__rate_interval") -> str:
    """How fast a counter grows, added up."""
    return f"sum by ({by}) (rate({series(name, where)}[{over}]))".replace(" by ()", "")


def grown(name: str, by: str = "", where: str = "") -> str:
    """By how much a counter grew in the time that is shown."""
    return f"sum by ({by}) (increase({series(name, where)}[$__range]))".replace(" by ()", "")


def quantile(share: float, name: str, by: str = "", where: str = "", *, over: str = "$__rate_interval") -> str:
    """A quantile of a histogram; nothing where nothing happened, which Prometheus calls NaN and legends would list."""
    rate = per_second(f"{name}_bucket", f"le, {by}".rstrip(", "), where, over=over)
    return f"histogram_quantile({share}, {rate}) > 0"


def now(name: str, by: str = "", where: str = "", *, how: str = "sum") -> str:
    """A gauge, put together."""
    return f"{how} by ({by}) ({series(name, where)})".replace(" by ()", "")


def mean_of(total: str, count: str) -> str:
    """Total for each of what is counted; nothing where there is none."""
    return f"{total} / ({count} > 0)"


def each_answer(name: str, by: str = "", where: str = "") -> str:
    """Of tokens or their cost: how much there is for each answer that tells its tokens; not all streams do."""
    return mean_of(grown(name, by, where), grown("usage_total", by))


def mean_rating(by: str) -> str:
    """Of feedback in the time that is shown: 0 is all down, 1 all up, and what is between counts one half."""
    up, neutral = (grown("feedback_total", by, f'rating="{rating}"') for rating in ("up", "neutral"))
    return mean_of(f"({up} + 0.5 * {neutral})", grown("feedback_total", by))


def share_of(part: str, whole: str) -> str:
    """Part of whole; zero where there is no part, nothing where there is no whole."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


@dataclass(frozen=True)
class Panel:
    """One panel, by its questions."""

    title: str
    text: str
    """What it answers, and how to read it."""
    queries: Mapping[str, str]
    """By legend, in Grafana's template for it."""
    kind: Kind = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    is_stacked: bool = False
    most: float | None = None
    """The end of the axis; it begins at 0 where there is one."""
    decimals: int | None = None
    """Grafana's choice when None. Counts that `increase` extrapolates have some that mean nothing."""
    nothing: str = "nothing yet"
    """What stands there without data."""
    steps: Sequence[tuple[float | None, str]] = ()
    """Colours, each from a value on. Without any, a number stands for nothing good or bad."""
    values: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """What values are called, and in which colour."""
    runbook: str = ""
    """A heading of docs/runbooks.md."""


def _panel(panel: Panel, x: int, y: int) -> Json:
    defaults: Json = {"unit": panel.unit, "noValue": panel.nothing}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            # The line of what is zero would lie around what is below it; areas of several lines mix to brown.
            "lineWidth": 0 if panel.is_stacked else 1,
            "fillOpacity": 70 if panel.is_stacked else 0,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        }
        if panel.most is None and panel.unit in _AT_LEAST:
            defaults["custom"] |= {"axisSoftMin": 0, "axisSoftMax": _AT_LEAST[panel.unit]}
    if panel.kind == "state-timeline":
        defaults["custom"] = {"lineWidth": 0, "fillOpacity": 80}
    if panel.kind == "bargauge":
        defaults["min"] = 0  # else bars begin at the least of them
    if panel.most is not None:
        defaults |= {"min": 0, "max": panel.most}
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    if panel.kind in ("stat", "bargauge"):
        defaults["color"] = {"mode": "fixed", "fixedColor": "blue"}  # Grafana's own are red from 80 on, whatever it is
    if panel.steps:
        defaults["color"] = {"mode": "thresholds"}
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in panel.steps],
        }
    if panel.values:
        options = {
            str(value): {"index": index, "text": text, "color": colour}
            for index, (value, (text, colour)) in enumerate(panel.values.items())
        }
        defaults["mappings"] = [{"type": "value", "options": options}]
    found: Json = {
        "id": zlib.crc32(panel.title.encode()) % 1_000_000,  # stays when others come or move
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
        "targets": [_target(panel, *query, chr(ord("A") + index)) for index, query in enumerate(panel.queries.items())],
    }
    if panel.runbook:
        link = {"title": "What to do", "url": f"${{runbooks}}#{panel.runbook.lower()}", "targetBlank": True}
        found["links"] = [{**link, "type": "link"}]
    if panel.kind == "table":
        hidden = {"Time": True, "Value": True}
        found["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return found


def _target(panel: Panel, legend: str, expr: str, ref: str) -> Json:
    found: Json = {"refId": ref, "datasource": _SOURCE, "expr": expr, "legendFormat": legend, "editorMode": "code"}
    if panel.kind == "table":
        return found | {"format": "table", "instant": True, "range": False}
    if panel.kind == "heatmap":
        found["format"] = "heatmap"
    if panel.kind == "bargauge" or (panel.kind == "stat" and "$__range]" in expr):
        return found | {"instant": True, "range": False}
    return found | {"range": True}


def _options(panel: Panel) -> Json:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    match panel.kind:
        case "timeseries":
            if len(panel.queries) == 1 and panel.width >= 12:
                legend |= {"displayMode": "table", "placement": "right", "calcs": ["mean", "max"]}  # many lines
            return {"legend": {"calcs": []} | legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        case "stat":
            return {"reduceOptions": last, "colorMode": "value", "graphMode": "area", "textMode": "auto"}
        case "bargauge":
            return {
                "reduceOptions": last,
                "orientation": "horizontal",
                "displayMode": "basic",
                "text": {"titleSize": 13, "valueSize": 16},
            }  # else they grow with the room
        case "heatmap":
            return {
                "calculate": False,
                "yAxis": {"unit": panel.unit},
                "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
                "cellGap": 1,
                "tooltip": {"mode": "single", "yHistogram": False},
                "legend": {"show": True},
            }
        case "state-timeline":
            return {"mergeValues": True, "showValue": "never", "rowHeight": 0.8, "legend": legend}
        case "table":
            return {"showHeader": True}


def _variable(name: str, text: str, query: str) -> Json:
    return {
        "name": name,
        "label": name,
        "description": text,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "sort": 1,
    }


def _annotation(name: str, metric: str, label: str, colour: str) -> Json:
    shown = f"count by ({label}) ({{}} == 1)"
    before = shown.format(series(metric) + " offset 2m")
    return {
        "name": name,
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": colour,
        "expr": f"{shown.format(series(metric))} unless {before}",
        "step": "60s",
        "titleFormat": name,
        "textFormat": f"{{{{{label}}}}}",
    }


def dashboard(uid: str, title: str, text: str, rows: Mapping[str, Sequence[Panel]]) -> Json:
    """
    Args:
        uid: in its URL.
        title: as Grafana lists it.
        text: what it is for.
        rows: by title, their panels, from left to right and then down.
    """
    panels: list[Json] = []
    y = 0
    for row, in_row in rows.items():
        position = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
        panels.append(
            {"id": zlib.crc32(f"row {row}".encode()) % 1_000_000, "type": "row", "title": row, "gridPos": position,
             "collapsed": False, "panels": []}
        )  # fmt: skip
        x, y, height = 0, y + 1, 0
        for panel in in_row:
            if x + panel.width > _COLUMNS:
                x, y, height = 0, y + height, 0
            panels.append(_panel(panel, x, y))
            x, height = x + panel.width, max(height, panel.height)
        y += height
    variables = [
        {"name": "datasource", "label": "data source", "type": "datasource", "query": "prometheus", "refresh": 1},
        # Of Kubernetes. Elsewhere there is none, and `.*` holds for what is not there too.
        _variable("namespace", "in Kubernetes", "label_values(pointsman_build_info, namespace)"),
        _variable("job", "as Prometheus calls it", f"label_values({series('build_info', among=('namespace',))}, job)"),
        _variable(
            "instance", "one of its processes",
            f"label_values({series('build_info', among=('namespace', 'job'))}, instance)",
        ),
        _variable("route", "of routes.yaml", f"label_values({series('requests_total', narrow=())}, route)"),
        _variable("model", "of routes.yaml", f"label_values({series('requests_total', narrow=())}, model)"),
        {"name": "runbooks", "type": "constant", "query": RUNBOOKS, "hide": 2,
         "current": {"selected": False, "text": RUNBOOKS, "value": RUNBOOKS}},
    ]  # fmt: skip
    link = {"title": "Dashboards", "type": "dashboards", "tags": ["pointsman"], "asDropdown": False, "keepTime": True}
    return {
        "uid": uid,
        "title": title,
        "description": text,
        "tags": ["pointsman"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [link | {"includeVars": True}],
        "templating": {"list": variables},
        "annotations": {
            "list": [
                _annotation("another configuration", "config_info", "sha256", "blue"),
                _annotation("another policy", "policy_info", "version", "purple"),
            ]
        },
        "panels": panels,
    }
