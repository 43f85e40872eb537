"""The way from a file to a `Config`: text, tree, types, meaning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from proxy.config.annotations import reader_for
from proxy.config.meaning import judge
from proxy.config.problems import ConfigError, Report, TooMany
from proxy.config.schema import Config, When
from proxy.config.source import decode, read_bytes
from proxy.config.tree import read_tree
from proxy.config.typed import BROKEN, Reading

__all__ = ["load_config", "parse_config"]


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """
    Read the file at `path`; see `parse_config`. What it names other files by is relative to its own folder.

    Raises:
        ConfigError: also when there is no such file, or it cannot be read.
    """
    config = parse_config(read_bytes(path), source=str(path), environ=environ)
    if config.policy is None:
        return config
    return msgspec.structs.replace(config, policy=str(path.parent / config.policy))


def parse_config(text: str | bytes, *, source: str, environ: Mapping[str, str]) -> Config:
    """
    Return what the text says, checked in full.

    Args:
        text: YAML; bytes are UTF-8, with or without a byte order mark.
        source: what messages call the file.
        environ: where `${NAME}` is looked up; the process's own environment is never read.

    Raises:
        ConfigError: every problem that the text has. Nothing else is raised, whatever the text.
    """
    report = Report(source)
    try:
        return _parse(text, report, environ)
    except TooMany:
        pass
    # Out of the `except`: what was being read when it was raised may be a secret.
    raise ConfigError(report.problems)


def _parse(text: str | bytes, report: Report, environ: Mapping[str, str]) -> Config:
    tree = read_tree(decode(text, report), report)
    config = Reading(report, environ).read(reader_for(Config), tree.root, ())
    assert config is not BROKEN  # the root is a mapping, and from a mapping a struct is always made
    judge(config, tree, report)
    report.unless_empty()
    return _with_lower_headers(config)


def _with_lower_headers(config: Config) -> Config:
    """Header names as ASGI servers give them, so that a request is matched by a plain look-up."""
    routes = tuple(msgspec.structs.replace(route, when=_lowered(route.when)) for route in config.routes)
    return msgspec.structs.replace(config, routes=routes)


def _lowered(when: When) -> When:
    header = when.header and {name.lower(): globs for name, globs in when.header.items()}
    return msgspec.structs.replace(
        when,
        header=header,
        all=when.all and tuple(map(_lowered, when.all)),
        any=when.any and tuple(map(_lowered, when.any)),
        not_=when.not_ and _lowered(when.not_),
    )
