"""A value that a JSON schema accepts, as far as simple schemas go."""

import re
from typing import NamedTuple

from proxy.simulator.chat_request import Json

DEEPEST = 8  # nested values; a recursive schema ends here with what it allows to be empty

_FORMATS = {
    "date": "2025-01-15",
    "date-time": "2025-01-15T12:00:00Z",
    "time": "12:00:00Z",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "duration": "PT5M",
}


def invent(schema: object, prompt: str) -> object:
    """
    Make up a value, the same one for the same arguments.

    Args:
        schema: a JSON Schema; `$ref` into itself, `anyOf`, `enum`, `const`, bounds and common
            formats are heeded, `pattern` and the like are not.
        prompt: where texts and numbers are taken from, so that the value is about something.
    """
    root: Json = schema if isinstance(schema, dict) else {}
    number = re.search(r"-?\d+(?:\.\d+)?", prompt)
    hints = _Hints(" ".join(prompt.split())[:60] or "example", float(number.group()[:15]) if number else 1.0)
    return _invent(schema, root, hints, "", 0)


class _Hints(NamedTuple):
    text: str
    number: float


def _invent(schema: object, root: Json, hints: _Hints, name: str, depth: int) -> object:
    if not isinstance(schema, dict):
        return hints.text  # `true` accepts anything
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if (options := schema.get("enum")) and isinstance(options, list):
        named = [option for option in options if str(option).lower() in hints.text.lower()]
        return (named or options)[0]
    for key in ("anyOf", "oneOf"):
        if (options := schema.get(key)) and isinstance(options, list):
            return _invent(_simplest(options, root, depth), root, hints, name, depth)
    match _kind(schema):
        case "object":
            return _object(schema, root, hints, depth)
        case "array":
            return _array(schema, root, hints, name, depth)
        case "string":
            return _string(schema, hints, name)
        case "number":
            return _bounded(schema, hints.number, step=0.5)
        case "integer":
            return _integer(schema, hints)
        case "boolean":
            return True
        case _:
            return None


def _resolved(schema: Json, root: Json) -> Json:
    """Follow `$ref`, and fold `allOf` in."""
    for _ in range(DEEPEST):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        found: object = root
        for step in reference.lstrip("#/").split("/") if reference != "#" else ():
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        schema = found if isinstance(found, dict) else {}
    parts = schema.get("allOf")
    if not isinstance(parts, list):
        return schema
    merged: Json = {key: value for key, value in schema.items() if key != "allOf"}
    for part in parts:
        if not isinstance(part, dict):
            continue
        for key, value in _resolved(part, root).items():
            known = merged.get(key)
            if isinstance(known, dict) and isinstance(value, dict):
                merged[key] = known | value
            elif isinstance(known, list) and isinstance(value, list):
                merged[key] = known + value
            else:
                merged[key] = value
    return merged


def _kind(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _simplest(options: list[object], root: Json, depth: int) -> object:
    """The first option that is not null; deep down the null, which ends a recursion."""
    nulls = [option for option in options if isinstance(option, dict) and _resolved(option, root).get("type") == "null"]
    others = [option for option in options if option not in nulls]
    if not others or (depth >= DEEPEST and nulls):
        return nulls[0]
    return others[0]


def _object(schema: Json, root: Json, hints: _Hints, depth: int) -> object:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        properties = {}
    required = schema.get("required")
    wanted = [key for key in required if isinstance(key, str)] if isinstance(required, list) else []
    if not wanted and depth < 2:
        wanted = list(properties)  # with nothing required, an empty object would be true and dull
    if depth > 4 * DEEPEST:
        wanted = []  # a recursion without a way out has no value at all
    return {key: _invent(properties.get(key, {}), root, hints, key, depth + 1) for key in wanted}


def _array(schema: Json, root: Json, hints: _Hints, name: str, depth: int) -> object:
    if isinstance(prefix := schema.get("prefixItems"), list):
        return [_invent(item, root, hints, name, depth + 1) for item in prefix]
    fewest, most = schema.get("minItems"), schema.get("maxItems")
    count = max(fewest if isinstance(fewest, int) else 0, 0 if depth >= DEEPEST else 1)
    count = min(count, most) if isinstance(most, int) else count
    return [_invent(schema.get("items", {}), root, hints, name, depth + 1) for _ in range(min(count, 100))]


def _string(schema: Json, hints: _Hints, name: str) -> object:
    made = _FORMATS.get(str(schema.get("format")))
    if made is None:
        made = hints.text
        place = re.search(r"\b(?:in|at|for|to|of)\s+((?:[A-Z][\w-]+)(?:\s+[A-Z][\w-]+)*)", hints.text)
        if place and re.search("city|location|place|country|town|region|name|destination", name, re.IGNORECASE):
            made = place.group(1)  # "the weather in New York" -> New York
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    if isinstance(shortest, int):
        made = made.ljust(min(shortest, 10_000), ".")
    return made[:longest] if isinstance(longest, int) else made


def _integer(schema: Json, hints: _Hints) -> object:
    step = schema.get("multipleOf")
    number = int(_bounded(schema, float(int(hints.number)), step=1.0))
    if isinstance(step, int) and step > 0:
        number = -(-number // step) * step
    return number


def _bounded(schema: Json, number: float, step: float) -> float:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if isinstance(above, (int, float)) and not isinstance(above, bool) and number <= above:
        number = above + step
    if isinstance(below, (int, float)) and not isinstance(below, bool) and number >= below:
        number = below - step
    if isinstance(low, (int, float)):
        number = max(number, low)
    if isinstance(high, (int, float)):
        number = min(number, high)
    return number
