"""YAML's own complaints in words that say what to do."""

from __future__ import annotations

import re

import yaml

from proxy.config.problems import Place
from proxy.config.source import Lines

_UNQUOTED_VARIABLE = re.compile(r"""(?<!["'$])\$\{""")

# By a part of what libyaml or PyYAML's own parser says; both word most of them nearly alike.
_ADVICE = (
    ("mapping values are not allowed", "a ':' cannot stand here; check the indentation, or put the text in quotes"),
    ("could not find expected ':'", "expected a ':' after this key"),
    ("sequence entries are not allowed", "a list cannot begin here; put each '-' on a line of its own"),
    ("found unknown escape character", r"an unknown escape in double quotes; write \\ for a backslash"),
    ("invalid Unicode character escape", "an escape that means no whole character; write the character itself"),
    ("found undefined tag handle", "an unknown YAML tag; put the text in quotes"),
    ("<document start>", "nothing may stand after the end of the document"),
    ("found duplicate anchor", "this anchor exists already"),
)


def explain(error: yaml.YAMLError, lines: Lines) -> tuple[Place, str]:
    """Where the file stops being YAML, and what to do about it. Quotes no value: it may be a secret."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Place(1, 1), "not YAML"
    mark = error.problem_mark
    place = lines.inside(mark.line, mark.column)
    problem, context = error.problem or "", error.context or ""
    began = error.context_mark
    opened = lines.inside(began.line, began.column) if began is not None else place
    line = lines[place.line - 1]
    here = line[place.column - 1 : place.column]

    if "tab" in problem or (here == "\t" and "cannot start any token" in problem):
        return place, "a tab cannot indent YAML; use spaces"
    if "cannot start any token" in problem:
        return place, f"a value cannot begin with {here!r}; put it in quotes"
    if "quoted scalar" in context and "unexpected" in problem:
        return opened, "this quote is never closed"
    if "alias" in context and "alphabetic" in problem:
        return opened, "a '*' begins an alias in YAML; put a pattern in quotes, like \"*\""
    if "anchor" in context and "alphabetic" in problem:
        return opened, "a '&' begins an anchor in YAML; put the text in quotes"
    if "flow" in context:
        bracket, closing = ("{", "}") if "mapping" in context else ("[", "]")
        if here == "{" and _UNQUOTED_VARIABLE.search(line):
            return place, 'a variable inside { } or [ ] needs quotes: "${NAME}"'
        if place == lines.inside(1 << 60, 0) or opened.line != place.line:
            return opened, f"this '{bracket}' is not closed by a '{closing}'"
        return place, f"expected ',' or '{closing}'"
    if "block mapping" in context:
        return place, "expected a key; check the indentation here and the quotes before it"
    if "block collection" in context:
        return place, "expected '- ' or the end of the list; check the indentation"
    for part, advice in _ADVICE:
        if part in problem:
            return (opened if "simple key" in context else place), advice
    return place, f"not YAML: {problem}"
