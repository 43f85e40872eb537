"""`${NAME}` and `${NAME:-default}`: fill in a scalar from the environment, without ever showing what came."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from proxy.config.problems import quote
from proxy.config.source import MAX_BYTES
from proxy.config.tree import Scalar

_VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\})?")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Unresolved(Exception):
    """A variable cannot be filled in; the messages say why and hold no value."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(messages)
        self.messages = messages


def substitute(scalar: Scalar, environ: Mapping[str, str]) -> Scalar:
    """
    Return the scalar with its variables filled in; the same one when it has none.

    As in a shell, the default of `${NAME:-default}` also stands in for an empty variable, and `$${` is a literal
    `${`. What comes in is text inside one scalar: it is never read as YAML, nor searched for variables again.
    With quotes it is plain too: a key tells of which type its value is. Where none does, `is_text` tells.

    Raises:
        Unresolved: a variable is not set and has no default, or `${` begins no variable.
    """
    if "${" not in scalar.text or scalar.written is not None:
        return scalar
    messages: dict[str | None, str] = {}  # by the variable that each is about
    length = 0

    def fill(match: re.Match[str]) -> str:
        nonlocal length
        if match[0] == "$${":
            return "${"
        name, default = match[1], match[2]
        if name in messages:
            return ""
        if name is None:
            messages[name] = "'${' begins no variable: write ${NAME}, ${NAME:-default}, or $${ for the two characters"
            return ""
        value = environ.get(name)
        if default is not None:
            value = value or default
        if value is None:
            shown = quote(name)[1:-1]
            messages[name] = (
                f"the variable {shown} is not set; set it, give a default with ${{{shown}:-...}}, "
                f"or write $${{{shown}}} for the text itself"
            )
            return ""
        length += len(value)
        if _SURROGATE.search(value):
            messages[name] = f"the variable {quote(name)[1:-1]} is not UTF-8"
        elif length > MAX_BYTES:
            messages[name] = f"the variable {quote(name)[1:-1]} makes this text longer than 8 MB"
        return value

    text = _VARIABLE.sub(fill, scalar.text)
    if messages:
        raise Unresolved(list(messages.values()))
    return replace(scalar, text=text, plain=True, written=scalar.text)
