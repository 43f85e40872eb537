"""The JSON Schema says what the loader says, as far as a schema can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from proxy.cli.schema import schema_text
from proxy.config import ConfigError, json_schema, parse_config
from tests.config.files import BASE, add

ROOT = Path(__file__).parent.parent.parent
VALIDATOR = jsonschema.Draft7Validator(json_schema())


def mistakes(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))]


def test_it_is_a_schema_and_the_file_beside_the_starter_is_up_to_date() -> None:
    jsonschema.Draft7Validator.check_schema(json_schema())
    assert (ROOT / "routes.schema.json").read_text(encoding="utf-8") == schema_text(), "run: make schema"
    first = (ROOT / "routes.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=routes.schema.json"


def test_every_key_is_described_and_every_reference_is_there() -> None:
    schema = json_schema()
    for name, definition in schema["definitions"].items():
        assert definition["description"], name
    for found in _references(schema):
        assert found.removeprefix("#/definitions/") in schema["definitions"]


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        mine = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return mine + [found for inner in value.values() for found in _references(inner)]
    return [found for inner in value for found in _references(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param((ROOT / "routes.yaml").read_text(encoding="utf-8"), id="starter"),
        pytest.param(BASE, id="base"),
        pytest.param(add("embedding: {threads: '${N:-2}', deadline: '${D:-1s}'}"), id="variables"),
        pytest.param(add("topics: {a: {examples: [1, true, x]}}"), id="scalars-as-texts"),
        pytest.param(add("baseline: ~\npolicy: ~\nstore: null\nshadow: null\ncomplexity: ~"), id="null"),
        pytest.param(
            add("routes: [{name: r, use: small, fallbacks: ~, block: ~, when: {topic: ~, has: ~, tokens: {min: ~, max: 1}}}]"),
            id="null-in-a-route",
        ),
        pytest.param(
            add("routes: [{name: r, when: {any: [{not: {topic: a}}, {has: [tools]}]}, use: {split: {small: 1}}}]\n"
                "topics: {a: {examples: [x]}}"),
            id="nested",
        ),
    ],
)  # fmt: skip
def test_what_the_loader_takes_the_schema_takes(text: str) -> None:
    parse_config(text, source="f", environ={})
    assert mistakes(text) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(add("routez: []"), id="unknown-key"),
        pytest.param(BASE.replace("version: 1", "version: 2"), id="version"),
        pytest.param(BASE.replace("default: small\n", ""), id="missing-key"),
        pytest.param(add("text: {turns: 0}"), id="too-small"),
        pytest.param(add("embedding: {deadline: 5}"), id="duration-without-unit"),
        pytest.param(add("routes: [{name: r, use: small, when: {any: [{topik: a}]}}]"), id="nested-unknown-key"),
        pytest.param(add("routes: [{name: r, use: small, when: {has: [tool]}}]"), id="unknown-choice"),
        pytest.param(add("routes: [{name: r, use: small, when: {header: {'a b': c}}}]"), id="header-name"),
        pytest.param(add("routes: [{name: 'a b', use: small, when: {not: 3}}]"), id="wrong-types"),
    ],
)
def test_what_the_schema_refuses_the_loader_refuses(text: str) -> None:
    assert mistakes(text) != []
    with pytest.raises(ConfigError):
        parse_config(text, source="f", environ={})


def test_the_command_prints_it() -> None:
    assert json.loads(schema_text()) == json_schema()
