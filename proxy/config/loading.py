"""The way from a file to a `Config`: text, tree, types, meaning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from proxy.config.annotations import reader_for
from proxy.config.files import with_files
from proxy.config.judging import Judge
from proxy.config.meaning import judge
from proxy.config.problems import ConfigError, Report, TooMany
from proxy.config.schema import Config, When
from proxy.config.source import decode, read_bytes
from proxy.config.tree import read_tree
from proxy.config.typed import BROKEN, Reading
from proxy.config.values import File


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """
    Read the file at `path`, and what it names; see `parse_config`.

    Raises:
        ConfigError: also when there is no such file, or it cannot be read.
    """
    return parse_config(read_bytes(path), source=str(path), environ=environ, folder=path.parent)


def load_shadow(config: Config, environ: Mapping[str, str]) -> Config | None:
    """
    The other routes.yaml that decides in the shadow of this one, None if it names none.

    Of the files that it names only the policy is found: its upstreams are never opened, nor has it a shadow itself.

    Raises:
        ConfigError: it cannot be read or is not right.
    """
    if config.shadow is None or config.shadow.routes is None:
        return None
    path = config.shadow.routes.path
    found = parse_config(read_bytes(path), source=str(path), environ=environ)
    policy = None if found.policy is None else File(path.parent / found.policy.path)
    return msgspec.structs.replace(found, policy=policy, shadow=None)


def parse_config(text: str | bytes, *, source: str, environ: Mapping[str, str], folder: Path | None = None) -> Config:
    """
    Return what the text says, checked in full.

    Args:
        text: YAML; bytes are UTF-8, with or without a byte order mark.
        source: what messages call the file.
        environ: where `${NAME}` is looked up; the process's own environment is never read.
        folder: where relative paths in it begin; None leaves the files that it names unread, and their paths as
            they are.

    Raises:
        ConfigError: every problem that the text has. Nothing else is raised, whatever the text.
    """
    report = Report(source)
    try:
        return _parse(text, report, environ, folder)
    except TooMany:
        pass
    # Out of the `except`: what was being read when it was raised may be a secret.
    raise ConfigError(report.problems, report.files)


def _parse(text: str | bytes, report: Report, environ: Mapping[str, str], folder: Path | None) -> Config:
    tree = read_tree(decode(text, report), report)
    config = Reading(report, environ).read(reader_for(Config), tree.root, ())
    assert config is not BROKEN  # the root is a mapping, and from a mapping a struct is always made
    file = Judge(tree, report)
    judge(config, file)
    if folder is not None:
        report.files = tuple(folder / named.path for named in config.files if named is not BROKEN)
        config = with_files(config, folder, file)
    report.unless_empty()
    return _with_lower_headers(config)


def _with_lower_headers(config: Config) -> Config:
    """Header names as ASGI servers give them, so that those of a request are found by a plain look-up."""
    routes = tuple(msgspec.structs.replace(route, when=_lowered(route.when)) for route in config.routes)
    upstreams = {
        name: msgspec.structs.replace(
            upstream, headers={header.lower(): value for header, value in upstream.headers.items()}
        )
        for name, upstream in config.upstreams.items()
    }
    return msgspec.structs.replace(config, routes=routes, upstreams=upstreams)


def _lowered(when: When) -> When:
    header = when.header and {name.lower(): globs for name, globs in when.header.items()}
    return msgspec.structs.replace(
        when,
        header=header,
        all=when.all and tuple(map(_lowered, when.all)),
        any=when.any and tuple(map(_lowered, when.any)),
        not_=when.not_ and _lowered(when.not_),
    )
