"""Values for JSON schemas."""

from typing import Any

import pytest

from proxy.simulator.invent import invent

PROMPT = "Book 3 seats to Oslo"
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "leaves": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name", "next", "leaves"],
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, PROMPT),
        ({"type": "string", "maxLength": 4}, "Book"),
        ({"type": "string", "minLength": 22}, PROMPT + ".."),
        ({"type": "string", "format": "date"}, "2025-01-15"),
        ({"type": "integer"}, 3),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "multipleOf": 10}, 10),
        ({"type": "number", "maximum": 1.5}, 1.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 3),
        ({"enum": ["paris", "oslo"]}, "oslo"),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": 7}, 7),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [3, 3]),
        ({"type": "array", "maxItems": 0}, []),
        ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, {"a": 3}),
        ({"type": "object", "properties": {"city": {"type": "string"}}}, {"city": "Oslo"}),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}, {"a": 1, "b": 2}),
        ({}, PROMPT),
        (True, PROMPT),
    ],
)
def test_a_value_that_fits(schema: object, value: object) -> None:
    made = invent(schema, PROMPT)
    assert made == value
    assert type(made) is type(value)


def test_recursion_ends() -> None:
    node: Any = invent(TREE, PROMPT)
    depth = 0
    while node is not None:
        assert set(node) == {"name", "next", "leaves"}
        node, depth = node["next"], depth + 1
    assert depth > 1


def test_a_recursion_without_a_way_out_ends_too() -> None:
    endless = {"type": "object", "properties": {"self": {"$ref": "#"}}, "required": ["self"]}
    assert "self" in str(invent(endless, PROMPT))
    assert invent({"$ref": "#"}, PROMPT) is not None
