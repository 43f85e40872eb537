"""Links of README.md and docs/ resolve, and what the pages name exists."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

import click
import pytest
import yaml
from click.testing import CliRunner

from proxy.cli import main
from proxy.config import Config, json_schema, parse_config
from proxy.endpoints.exchange import Exchange
from proxy.errors import ProxyError
from proxy.relay.guard import Deadline
from proxy.routing.asks import OUR_HEADERS
from proxy.routing.decision import REASONS
from proxy.routing.facts import CONVERSATION_HEADER
from proxy.routing.router import Router
from proxy.telemetry import exporting
from proxy.telemetry.metrics import Metrics, ReloadMetrics
from proxy.telemetry.record import Record
from proxy.telemetry.shadow_metrics import ShadowMetrics
from proxy.telemetry.store_metrics import StoreMetrics
from tests.docs.pages import PAGES, ROOT, anchors, blocks, prose

every_page = pytest.mark.parametrize("page", PAGES)


@every_page
def test_its_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(PAGES[page]))
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / unquote(path) if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page}: {link}"


def test_the_index_has_every_page() -> None:
    for path in (ROOT / "docs").iterdir():
        if path.suffix in (".md", ".yaml") and path.name != "README.md":
            assert f"({path.name})" in PAGES["docs/README.md"], f"docs/README.md says nothing of {path.name}"
    assert "(docs/README.md)" in PAGES["README.md"]


def series() -> dict[str, tuple[str, str]]:
    """Kind and meaning of each series, by its name with its labels."""
    registry = Metrics().registry
    for metrics in (ReloadMetrics, StoreMetrics, ShadowMetrics, exporting._Metrics):
        metrics(registry)
    found = {}
    for collector in registry._collector_to_names:
        (family,) = collector.describe()  # type: ignore[attr-defined]
        labels: tuple[str, ...] = collector._labelnames  # type: ignore[attr-defined]
        name = f"{family.name}{'_total' * (family.type == 'counter')}{'{' + ','.join(labels) + '}' if labels else ''}"
        found[name] = (family.type, family.documentation)
    return found


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `(pointsman_[^`]*)` \| (\w+) \| (.*) \|$", PAGES["docs/operating.md"], re.MULTILINE)
    assert {name: (kind, text) for name, kind, text in rows} == series()


def test_the_table_of_the_log_is_that_of_the_code() -> None:
    whole = Record(
        id="ptm-1", request_id="mine", path="/", requested="auto", is_stream=True, route="r", model="m", target="u/m",
        reason="split", arm="m", policy="p1", topic="code", score=0.5, complexity=0.5, status=200, decided="d",
        outcome="ok", attempts_before=[("u/d", "failed")], fallbacks=[("d", "m", "failed")], fail_open="late",
        phase="answer", stages_s={"read": 1.0}, decision_s=1.0, first_token_s=1.0, seconds=1.0, tokens={"prompt": 1},
        cost_usd=1.0, baseline_cost_usd=1.0, error="upstream_cut", trace_id="t",
    )  # fmt: skip
    bare = Record(id="", request_id="", path="")
    assert not [one.name for one in fields(Record) if getattr(whole, one.name) == getattr(bare, one.name)], "give it"
    section = PAGES["docs/operating.md"].partition("\n## The log\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \| [^|]* \|$", section, re.MULTILINE) == list(whole.fields())


@every_page
def test_every_metric_that_it_names_exists(page: str) -> None:
    known = {name.partition("{")[0]: kind for name, (kind, _) in series().items()}
    for name, labels in re.findall(r"\b(pointsman_[a-z_]+[a-z])(?:\{([^}`]*)\})?", PAGES[page]):
        base = re.sub(r"_(sum|count|bucket)$", "", name)
        assert name in known or known.get(base) in ("histogram", "summary"), f"{page}: {name}"
        declared = next(full for full in series() if full.partition("{")[0] in (name, base)).partition("{")[2]
        for label in labels.split(","):
            assert label.partition("=")[0] in declared, f"{page}: {name}{{{labels}}}"


def test_every_header_of_ours_that_the_pages_name_exists_and_each_is_named() -> None:
    answered = re.findall(r'b"(x-pointsman-[a-z-]+)"', inspect.getsource(Exchange._own_headers))
    assert len(answered) > 5
    known = {*OUR_HEADERS, CONVERSATION_HEADER, *answered}
    for page, text in PAGES.items():
        named = set(re.findall(r"x-pointsman-[a-z-]+[a-z]", text))
        assert named <= known, page
    assert known <= set(re.findall(r"`(x-pointsman-[a-z-]+)`", PAGES["docs/api.md"]))


def test_the_tables_of_reasons_and_errors_are_those_of_the_code() -> None:
    reasons = re.findall(r"^\| `(\w+)` \| [^|]* \|$", PAGES["docs/decisions.md"], re.MULTILINE)
    assert tuple(reasons) == REASONS
    errors = re.findall(r"^\| (\d{3}) \| (?:`(\w+)`)? \| [^|]* \|$", PAGES["docs/api.md"], re.MULTILINE)
    assert sorted(errors) == sorted((str(kind.status), kind.code or "") for kind in ProxyError.__subclasses__())


def test_every_code_that_an_error_may_have_is_named() -> None:
    sources = [
        path.read_text(encoding="utf-8") for path in (ROOT / "proxy").rglob("*.py") if "simulator" not in path.parts
    ]
    codes = {code for text in sources for code in re.findall(r'\bcode="(\w+)"', text)}
    assert len(codes) > 3
    for code in codes | {f"{deadline}_timeout" for deadline in get_args(Deadline)}:
        assert f"`{code}`" in PAGES["docs/api.md"], code


@every_page
def test_every_command_and_option_that_it_names_exists(page: str) -> None:
    text = PAGES[page]
    spans = [*re.findall(r"`([^`\n]+)`", prose(text)), *(line for block in blocks(text) for line in block.splitlines())]
    for span in spans:
        if not (called := re.match(r"(?:\.venv/bin/)?pointsman ([a-z-]+)(.*)", span)):
            continue
        name, arguments = called.groups()
        command = main.get_command(click.Context(main), name)
        assert command is not None, f"{page}: {span}"
        options = {option for parameter in command.params for option in parameter.opts}
        for option in re.findall(r"(?<=\s)--?[a-z][a-z-]*", arguments.partition(" && ")[0]):
            assert option in options, f"{page}: {span}"


@every_page
def test_every_key_of_routes_yaml_that_it_shows_exists(page: str) -> None:
    text = PAGES[page]
    shown = [
        *re.findall(r"`(\w+: [\[{].*?[\]}])`", prose(text)),
        *(one for block in blocks(text) for one in parts(block)),
    ]
    for span in shown:
        try:
            told = yaml.safe_load(span)
        except yaml.YAMLError:
            continue  # a sentence of another kind
        if isinstance(told, dict) and set(told) <= set(Config.__struct_fields__) | {"upstreams"}:
            schema = json_schema()
            assert not strange(told, [schema], schema["definitions"]), f"{page}: {span}"


def parts(block: str) -> list[str]:
    """The top-level keys of a block, each with what belongs to it: a page may show one key twice."""
    return [part for part in re.split(r"^(?=\w)", block, flags=re.MULTILINE) if re.match(r"\w+:", part)]


def strange(value: Any, schemas: list[dict[str, Any]], definitions: dict[str, Any]) -> list[str]:
    """The keys of a value that none of the schemas has."""
    meant = [one for schema in schemas for one in resolved(schema, definitions)]
    if isinstance(value, list):
        inner = [one["items"] for one in meant if "items" in one]
        return [key for each in value for key in strange(each, inner, definitions)] if inner else []
    if not isinstance(value, dict) or not any("properties" in one or "additionalProperties" in one for one in meant):
        return []
    found: list[str] = []
    for key, below in value.items():
        inner = [one["properties"][key] for one in meant if key in one.get("properties", ())]
        inner += [free for one in meant if isinstance(free := one.get("additionalProperties"), dict)]
        found += strange(below, inner, definitions) if inner else [key]
    return found


def resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in schema:
        return resolved(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    several = schema.get("anyOf") or schema.get("allOf")
    return [one for each in several for one in resolved(each, definitions)] if several else [schema]


def test_a_key_that_does_not_exist_is_noticed() -> None:
    schema = json_schema()
    told = {
        "routes": [{"when": {"any": [{"topik": "a"}]}, "use": {"split": {"a": 1}, "arms": 2}}],
        "retry": {"share": 1},
    }
    assert strange(told, [schema], schema["definitions"]) == ["topik", "arms"]


def test_the_files_of_the_page_on_migrating_are_valid_and_say_the_same() -> None:
    plain, theirs, ours = blocks(PAGES["docs/migrating.md"], "yaml")
    parse_config(plain, source="plain", environ={})
    config = parse_config(ours, source="ours", environ={"OPENAI_API_KEY": "a", "AZURE_KEY": "b"})
    listed = yaml.safe_load(theirs)["model_list"]
    assert set(config.models) == {one["model_name"] for one in listed} - {"auto"}
    assert len(config.models["large"].all_targets) == sum(one["model_name"] == "large" for one in listed)
    small = next(one["litellm_params"] for one in listed if one["model_name"] == "small")
    timeouts = config.upstreams["openai"].timeouts
    assert (timeouts.whole_answer, timeouts.first_token) == (small["timeout"], small["stream_timeout"])


EVERYDAY = (
    "hi", "hello there", "What is the capital of France?", "Suggest a name for my cat", "Plan a weekend trip to Rome",
    "Translate good morning into Spanish", "Write a birthday card for my sister", "What should I cook tonight?",
    "How tall is Mount Everest?", "Summarise this email in two sentences", "Who won the world cup in 2018?",
)  # fmt: skip
CODING = (
    "Why does my test fail?", "Write a Python function that reverses a list", "How do I undo the last git commit?",
    "Explain this stack trace: NullPointerException at Main.java:12", "Add type hints to this module",
    "Write a SQL query that finds duplicate emails", "Why is my React component rendering twice?",
    "Fix the import error in utils.py", "What does this regular expression match?", "My loop never ends",
)  # fmt: skip


@pytest.mark.parametrize(
    ("page", "place", "everyday"),
    [("README.md", 0, "trial"), ("docs/migrating.md", 0, "default"), ("docs/migrating.md", 2, "default")],
)
def test_what_it_shows_tells_everyday_prompts_from_coding(page: str, place: int, everyday: str, tmp_path: Path) -> None:
    block = blocks(PAGES[page], "yaml")[place]
    expected = dict.fromkeys(EVERYDAY, everyday) | dict.fromkeys(CODING, "code")
    more = "".join(f"  - {{prompt: {json.dumps(prompt)}, route: {route}}}\n" for prompt, route in expected.items())
    path = tmp_path / "routes.yaml"
    path.write_text(block + more, encoding="utf-8")
    checked = CliRunner().invoke(main, ["check", "-c", str(path)], env={"OPENAI_API_KEY": "a", "AZURE_KEY": "b"})
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize(("page", "place"), [("README.md", 0), ("docs/migrating.md", 0), ("docs/migrating.md", 2)])
def test_a_conversation_goes_on_with_the_model_for_coding(page: str, place: int) -> None:
    environ = {"OPENAI_API_KEY": "a", "AZURE_KEY": "b"}
    config = parse_config(blocks(PAGES[page], "yaml")[place], source=page, environ=environ)
    (coder,) = (route.use for route in config.routes if route.name == "code")
    assert isinstance(coder, str)
    assert Router(config).is_stronger(coder, config.default)


def test_the_table_on_migrating_tells_of_every_key_of_theirs_that_the_file_has() -> None:
    page = PAGES["docs/migrating.md"]
    theirs = yaml.safe_load(blocks(page, "yaml")[1])
    column = " ".join(re.findall(r"^\| (.*?) \|", page, re.MULTILINE))
    parameters = {key for one in theirs["model_list"] for key in one["litellm_params"]}
    for key in (parameters | set(theirs["router_settings"]) | set(theirs["litellm_settings"])) - {"model"}:
        assert key in column, key


def test_the_readme_stays_short() -> None:
    assert PAGES["README.md"].count("\n") < 220, "what is longer belongs into docs/"
