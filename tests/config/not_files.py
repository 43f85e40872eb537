"""What may stand where a routes.yaml should, and is no file that can be read; each with what is said of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest


def nothing(path: Path) -> None:
    pass


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))  # such a name may have a hundred characters only


def broken_link(path: Path) -> None:
    path.symlink_to("gone.yaml")


def ring(path: Path) -> None:
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


NOT_FILES: list[tuple[Callable[[Path], None], str]] = [
    (nothing, "no such file; `pointsman init` writes a starter"),
    (folder, "is a directory; name the file in it, such as {path}/routes.yaml"),
    (pipe, "is a pipe that brought no whole file within 0.1 s; name a file"),
    (unix_socket, "is a socket; name a file"),
    (broken_link, "is a link to 'gone.yaml', where there is no file"),
    (ring, "cannot be read: Too many levels of symbolic links"),
    (device, "is a device; name a file"),
]

not_files = pytest.mark.parametrize(
    ("make", "message"), [pytest.param(make, message, id=make.__name__) for make, message in NOT_FILES]
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """With pipes that bring nothing; to be imported where they occur."""
    monkeypatch.setattr("proxy.config.source.PIPE_PATIENCE_S", 0.1)
