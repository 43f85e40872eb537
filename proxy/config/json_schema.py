"""The JSON Schema of routes.yaml, for editors: made from the structs, so that there is one owner of the format."""

from __future__ import annotations

import ast
import inspect
import types
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from proxy.config import schema, schema_upstreams, schema_uses
from proxy.config.annotations import limits_of
from proxy.config.schema import Config
from proxy.config.values import Duration, File, ProxyUrl, Regex, Secret, StoreUrl, Url

_DRAFT = "http://json-schema.org/draft-07/schema#"  # what editors' YAML servers know best
_VARIABLE = {"type": "string", "pattern": r"\$\{"}
"""Any value may come from the environment, whatever its type."""
_SCALARS: dict[Any, dict[str, Any]] = {
    # YAML's scalars are texts where a text is expected: an example may be 42, or no.
    str: {"type": ["string", "number", "boolean"]},
    bool: {"type": "boolean"},
    int: {"anyOf": [{"type": "integer"}, _VARIABLE]},
    float: {"anyOf": [{"type": "number"}, _VARIABLE]},
    type(None): {"type": "null"},
    Any: {},
    Duration: {"type": "string", "pattern": r"^([0-9.]+(ms|s|m|h|d)|.*\$\{.*)$"},
    Url: {"type": "string", "pattern": r"^(https?://|.*\$\{)"},
    Secret: {"type": ["string", "number"]},
    ProxyUrl: {"type": "string", "pattern": r"^(http://|.*\$\{|$)"},
    StoreUrl: {"type": "string", "pattern": r"^(sqlite|postgres|none$|.*\$\{)"},
    File: {"type": "string", "minLength": 1},
    Regex: {"type": "string"},
}
_LIMITS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum", "pattern": "pattern"}


def json_schema() -> dict[str, Any]:
    """The whole schema, JSON-ready; every key has its description and its default."""
    definitions: dict[str, Any] = {}
    _of(Config, definitions)
    root = definitions.pop(Config.__name__)
    return {"$schema": _DRAFT, "title": "Pointsman's routes.yaml", **root, "definitions": definitions}


def _of(annotation: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    plain, limits = limits_of(annotation)
    return _limited(_plain(plain, definitions), limits)


def _plain(annotation: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if annotation in _SCALARS:
        return dict(_SCALARS[annotation])
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        members = [_of(argument, definitions) for argument in arguments if argument is not type(None)]
        union = members[0] if len(members) == 1 else {"anyOf": members}
        return _or_null(union) if type(None) in arguments else union
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is dict:
        names = _of(arguments[0], definitions)
        found: dict[str, Any] = {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
        return found | ({"propertyNames": {"pattern": names["pattern"]}} if "pattern" in names else {})
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return _struct(annotation, definitions)
    raise TypeError(f"no JSON Schema for {annotation!r}; it is a mistake in schema.py or here")


def _or_null(found: dict[str, Any]) -> dict[str, Any]:
    if "type" in found:
        kinds = found["type"] if isinstance(found["type"], list) else [found["type"]]
        return found | {"type": [*kinds, "null"]}
    return {"anyOf": [*found.get("anyOf", [found]), {"type": "null"}]}


def _limited(found: dict[str, Any], limits: msgspec.Meta) -> dict[str, Any]:
    sized = {"array": "Items", "object": "Properties"}.get(str(found.get("type")), "Length")
    bounds = {theirs: value for ours, theirs in _LIMITS.items() if (value := getattr(limits, ours)) is not None}
    bounds |= {
        f"{side}{sized}": value
        for side, value in (("min", limits.min_length), ("max", limits.max_length))
        if value is not None
    }
    if "anyOf" in found:  # the limits are the number's, not the variable's
        return {"anyOf": [found["anyOf"][0] | bounds, *found["anyOf"][1:]]}
    return found | bounds


def _struct(struct: type[msgspec.Struct], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = {"$ref": f"#/definitions/{struct.__name__}"}
    if struct.__name__ in definitions:
        return reference
    found: dict[str, Any] = {"type": "object", "description": inspect.getdoc(struct), "additionalProperties": False}
    definitions[struct.__name__] = found  # before its fields: a struct may hold itself
    texts = described(struct)
    properties: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        of_field = _of(field.type, definitions)
        if text := texts.get(field.name):
            # Beside a reference, draft 7 ignores everything.
            of_field = {"description": text, **({"allOf": [of_field]} if "$ref" in of_field else of_field)}
        if isinstance(field.default, str | int | float) and not isinstance(field.default, Duration):
            of_field["default"] = field.default
        properties[field.encode_name] = of_field
    found["properties"] = properties
    if required := [field.encode_name for field in msgspec.structs.fields(struct) if field.required]:
        found["required"] = required
    return reference


def described(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The text under each field of a struct, where there is one; what it has from another is described there."""
    return {
        name: text for part in reversed(struct.__mro__) for name, text in _descriptions().get(part.__name__, {}).items()
    }


@cache
def _descriptions() -> dict[str, dict[str, str]]:
    """The text under each field of the structs, by struct and field."""
    found: dict[str, dict[str, str]] = {}
    for node in (
        node for part in (schema, schema_upstreams, schema_uses) for node in ast.parse(inspect.getsource(part)).body
    ):
        if not isinstance(node, ast.ClassDef):
            continue
        texts = found.setdefault(node.name, {})
        for field, text in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                texts[field.target.id] = inspect.cleandoc(str(text.value.value))
    return found
