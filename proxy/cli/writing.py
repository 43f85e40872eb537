"""How a command writes a file: all of it or nothing, for whoever watches it; and not one that it should not."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from proxy.cli.options import EXIT_BAD_CONFIG


class CannotWrite(click.ClickException):
    """A file cannot be written; exit code 2: what was made is lost, or nothing can be made."""

    exit_code = EXIT_BAD_CONFIG


def to_write(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """The callback of an option that names a file to write: what is wrong with it is told before the work."""
    if value is None:
        return None
    problem, folder = None, _real(value).parent
    if value.is_dir():
        problem = f"{value} is a folder; name a file in it."
    elif value.exists() and not value.is_file():
        problem = f"{value} is a pipe, a socket or a device; name a file."
    elif not folder.is_dir():
        problem = f"{value}: there is no folder {folder}."
    elif not os.access(folder, os.W_OK):
        problem = f"{value}: nothing can be written to the folder {folder}."
    if problem is not None:
        raise click.BadParameter(problem, context, parameter)
    return value


def _picture(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and value.suffix.lower() != ".svg":
        problem = f"{value}: the picture is an SVG; give it a name that ends in .svg."
        raise click.BadParameter(problem, context, parameter)
    return to_write(context, parameter, value)


plot_option = click.option(
    "--plot", "plot_path", type=click.Path(path_type=Path), callback=_picture,
    help="A picture of quality and cost: FILE.svg.",
)  # fmt: skip


def write_whole(path: Path, content: bytes) -> None:
    """
    Put a new file in place of what there is, readable as new ones are here.

    Raises:
        CannotWrite: it cannot be written.
    """
    umask = os.umask(0)
    os.umask(umask)
    try:
        replace_file(path, content, 0o666 & ~umask)
    except OSError as error:
        raise CannotWrite(f"{path} cannot be written: {error.strerror or error}.") from None


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """
    Put a file with these permissions in place of what there is; a server that watches it never reads half of it.

    A link stays, and what it leads to is replaced.

    Raises:
        OSError: it cannot be written, and what there is stays.
    """
    path = _real(path)
    new: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            new = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(mode)
        new.replace(path)
    except OSError:
        if new is not None:
            new.unlink(missing_ok=True)
        raise


def _real(path: Path) -> Path:
    """Where a path leads by its links; they may lead to nothing yet."""
    return Path(os.path.realpath(path))
