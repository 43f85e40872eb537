"""docs/openapi.yaml says what the server does: schemathesis plays it, valid and invalid, against a running one."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation, Case, CheckFunction, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection

from proxy.app import build_app
from proxy.config import parse_config
from proxy.learning.fit import fit_policy
from proxy.routing.decision import REASONS
from proxy.routing.policy_file import pack
from proxy.simulator import build_simulator
from proxy.telemetry.metrics import TARGET_STATES, ReloadResult
from tests.endpoints.test_policy import Words, rows, words
from tests.serving import serving

DOCUMENT: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parent.parent.parent / "docs" / "openapi.yaml").read_text(encoding="utf-8")
)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}
PLAYED = {label: operation for label, operation in OPERATIONS.items() if label != "GET /v1/live"}
"""All that end by themselves."""
EXAMPLES = 6
"""Of each operation and kind, at either server; the whole file takes some seconds with these."""
SLOW = {"POST /v1/feedback": 2}
"""A rating waits for a decision that may just not be written yet, and those that are made up never are."""
OPEN = ("POST /v1/chat/completions", "POST /v1/route")
"""Of their bodies little is read, and what is not read is the upstream's to refuse."""

FILE = """\
version: 1
upstreams: {{up: {{base_url: "{upstream}/up/v1"}}}}
models:
  small: {{target: {{upstream: up, name: gpt-4o-mini}}, price: {{input: 0.15, output: 0.6}}}}
  large: {{target: {{upstream: up, name: gpt-4o}}}}
  coder: {{target: {{upstream: up, name: o3-mini}}}}
default: small
topics: {{maths: {{examples: [sum integral proof, matrix limit prime]}}, chat: {{examples: [hello weather, film music]}}}}
routes:
  - {{name: refused, when: {{user: refused}}, block: {{status: 403}}}}
  - {{name: maths, when: {{topic: maths}}, use: large}}
  - {{name: all, use: {{learned: [small, large, coder]}}}}
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """One with a policy and a store, and one with neither."""
    folder = tmp_path_factory.mktemp("openapi")
    (folder / "policy.npz").write_bytes(pack(fit_policy(rows(), embedder=Words().name())))
    with serving(build_simulator(pace=0)) as upstream:
        bare = FILE.format(upstream=upstream.url)
        whole = f"{bare}policy: {folder / 'policy.npz'}\nstore: sqlite:///{folder / 'store.db'}\n"
        apps = [build_app(parse_config(text, source="", environ={}), load_model=words) for text in (whole, bare)]
        with serving(apps[0]) as with_all, serving(apps[1]) as with_nothing:
            yield with_all.url, with_nothing.url


def takes_input(operation: APIOperation[Any, Any, Any, Any]) -> bool:
    return bool(operation.body or operation.query or operation.headers or operation.path_parameters)


@pytest.mark.parametrize(
    ("label", "mode"),
    [
        pytest.param(label, mode, id=f"{label}-{mode.value}")
        for label, operation in PLAYED.items()
        for mode in GenerationMode
        if takes_input(operation) or mode is GenerationMode.POSITIVE
    ],
)
def test_every_answer_has_a_status_headers_and_a_body_that_are_written(
    label: str, mode: GenerationMode, servers: tuple[str, str]
) -> None:
    operation = OPERATIONS[label]
    not_asked: list[CheckFunction] = [negative_data_rejection] if label in OPEN else []

    @settings(
        max_examples=SLOW.get(label, EXAMPLES) if takes_input(operation) else 1,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def play(case: Case[Any]) -> None:
        case.call_and_validate(base_url=servers[0], excluded_checks=not_asked)
        # Where nothing is kept, feedback is answered 501: that is what is written, and no accident.
        case.call_and_validate(base_url=servers[1], excluded_checks=[*not_asked, not_a_server_error])

    play()


def examples(label: str) -> dict[str, Any]:
    """The request that the page shows of an operation, for httpx."""
    raw = DOCUMENT["paths"][OPERATIONS[label].path][OPERATIONS[label].method]
    url = OPERATIONS[label].path
    for parameter in raw.get("parameters", ()):
        if parameter.get("in") == "path":
            url = url.replace(f"{{{parameter['name']}}}", parameter["example"])
    body = raw.get("requestBody", {})
    if "$ref" in body:
        body = DOCUMENT["components"]["requestBodies"][body["$ref"].rpartition("/")[2]]
    found = {"method": label.split()[0], "url": url}
    return found | ({"json": body["content"]["application/json"]["example"]} if body else {})


@pytest.mark.parametrize("label", PLAYED)
def test_what_it_shows_is_answered_well(label: str, servers: tuple[str, str]) -> None:
    """Else a page of nothing but errors would do."""
    with httpx.Client(base_url=servers[0]) as http:
        asked = examples(label)
        if label == "POST /v1/feedback":
            chat = http.request(**examples("POST /v1/chat/completions"))
            asked["json"] = asked["json"] | {"id": chat.json()["id"]}
        answered = http.request(**asked)
        assert answered.status_code == 200, answered.text
        OPERATIONS[label].validate_response(answered)


def test_a_refusal_and_a_stream_are_as_written(servers: tuple[str, str]) -> None:
    with httpx.Client(base_url=servers[0]) as http:
        asked = examples("POST /v1/chat/completions")
        chat = OPERATIONS["POST /v1/chat/completions"]
        refused = http.request(**asked | {"json": asked["json"] | {"user": "refused"}})
        assert refused.status_code == 403
        chat.validate_response(refused)
        streamed = http.request(**asked | {"json": asked["json"] | {"stream": True}})
        assert streamed.headers["content-type"].startswith("text/event-stream")
        chat.validate_response(streamed)


@pytest.mark.parametrize(
    ("label", "url", "status"),
    [
        ("GET /v1/models", "/v1/models", 200),
        ("GET /v1/models/{id}", "/v1/models/auto", 200),
        ("GET /v1/models/{id}", "/v1/models/small", 404),
    ],
)
def test_a_client_of_anthropics_is_told_of_models_as_written(
    label: str, url: str, status: int, servers: tuple[str, str]
) -> None:
    answer = httpx.get(servers[0] + url, headers={"anthropic-version": "2023-06-01"})
    assert (answer.status_code, answer.json().get("object")) == (status, None)
    OPERATIONS[label].validate_response(answer)


def test_what_never_ends_begins_as_written(servers: tuple[str, str]) -> None:
    with httpx.stream("GET", f"{servers[0]}/v1/live") as live:
        assert live.status_code == 200
        assert live.headers["content-type"] in DOCUMENT["paths"]["/v1/live"]["get"]["responses"]["200"]["content"]
        assert next(line for line in live.iter_lines() if line.startswith("event")) == "event: hello"


def test_it_is_openapi() -> None:
    SCHEMA.validate()


def test_it_has_every_path_of_the_app_and_no_other() -> None:
    """Those that are routed or passed on besides have references of their own, at whoever made them."""
    served = re.findall(r'Route\("(/[^"]*)", .*methods=\["(\w+)"\]', inspect.getsource(build_app))
    ours = {
        (path.replace("models/{name:path}", "models/{id}").replace(":path", ""), method.lower())
        for path, method in served
    }
    written = {(path, method) for path, operations in DOCUMENT["paths"].items() for method in operations}
    assert len(ours) > 5
    assert written == ours | {("/v1/chat/completions", "post")}
    assert written == {(operation.path, operation.method) for operation in OPERATIONS.values()}


def test_its_closed_sets_are_those_of_the_code() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["Reason"]["enum"] == list(REASONS)
    assert schemas["Target"]["properties"]["state"]["enum"] == list(TARGET_STATES)
    ready = DOCUMENT["paths"]["/readyz"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert ready["properties"]["reload"]["properties"]["result"]["enum"] == list(get_args(ReloadResult))
