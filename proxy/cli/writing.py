"""How a command writes a file: all of it or nothing, for whoever watches it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click


def write_whole(path: Path, content: bytes) -> None:
    """
    Put a new file in place of what there is; a server that watches it never reads half of it.

    Raises:
        click.ClickException: it cannot be written.
    """
    new: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            new = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        new.chmod(0o666 & ~umask)
        new.replace(path)
    except OSError as error:
        if new is not None:
            new.unlink(missing_ok=True)
        raise click.ClickException(f"{path} cannot be written: {error.strerror or error}.") from None
