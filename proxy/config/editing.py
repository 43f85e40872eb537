"""Changing a value in a file whose comments and layout stay as they are."""

from __future__ import annotations

import codecs
from collections.abc import Mapping

import msgspec

from proxy.config import tree
from proxy.config.loading import parse_config
from proxy.config.problems import Report
from proxy.config.schema import Config
from proxy.config.source import Lines, decode

_Edit = tuple[int, int, str]
"""From, to, and what comes there."""


class CannotEdit(Exception):
    """The text is written in a way that is not changed safely; says which part."""


def edit_thresholds(
    content: bytes, thresholds: Mapping[str, float], *, source: str, environ: Mapping[str, str]
) -> bytes:
    """
    The same file with these thresholds of topics, and not another byte different.

    What comes out has been read back: it means the same config but for the thresholds.

    Args:
        content: a valid routes.yaml.
        thresholds: by topic of the file.
        source: what messages call the file.
        environ: where `${NAME}` is looked up.

    Raises:
        CannotEdit: a threshold has no place of its own in the text.
        ConfigError: the file is not valid.
    """
    before = parse_config(content, source=source, environ=environ)
    report = Report(source)
    text = decode(content, report)
    file, lines = tree.read_tree(text, report), Lines(text)
    edits = [_edit(name, f"{value:g}", text, file, lines) for name, value in thresholds.items()]
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    edited = mark + text.encode()
    if parse_config(edited, source=source, environ=environ) != with_thresholds(before, thresholds):
        # An alias or a merge key: what one topic says is another's too.
        raise CannotEdit("what topics say stands behind anchors, which others share")
    return edited


def with_thresholds(config: Config, thresholds: Mapping[str, float]) -> Config:
    """The same config with these thresholds of topics."""
    topics = {
        name: msgspec.structs.replace(topic, threshold=thresholds.get(name, topic.threshold))
        for name, topic in config.topics.items()
    }
    return msgspec.structs.replace(config, topics=topics)


def _edit(name: str, value: str, text: str, file: tree.Tree, lines: Lines) -> _Edit:
    topic = file.node(("topics", name))
    assert isinstance(topic, tree.Mapping)  # the file is valid
    place = topic.entries["threshold"].value.place if "threshold" in topic.entries else topic.place
    at = lines.index(place)
    where = f"topic {name!r}, on line {place.line},"
    if "threshold" in topic.entries:
        old = topic.entries["threshold"].value
        # With quotes, an anchor or a tag the text at its place is another than its value.
        if isinstance(old, tree.Scalar) and old.plain and old.written is None and text.startswith(old.text, at):
            return at, at + len(old.text), value
        raise CannotEdit(f"the threshold of {where} is not a plain number")
    if text[at] == "{":
        inside = text[at + 1 :]
        key = '"threshold"' if inside.lstrip().startswith('"') else "threshold"
        new = f"{key}: {value},"
        if inside.startswith(" "):
            return at + 1, at + 1, f" {new}"
        return at + 1, at + 1, new if inside[0].isspace() else f"{new} "
    start = at - (place.column - 1)
    if text[start:at].strip(" "):
        raise CannotEdit(f"{where} has no line of its own for a threshold")
    end = "\r\n" if lines.ends_with_crlf else "\n"
    return start, start, f"{text[start:at]}threshold: {value}{end}"
