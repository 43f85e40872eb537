"""Where the files lie that come with the package: in a wheel beside the code, in a checkout at its top."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """
    The path of a file or folder that every installation has, such as `routes.yaml`.

    Raises:
        FileNotFoundError: this installation is incomplete.
    """
    for root in (_PACKAGE / "_shipped", _PACKAGE.parent):
        if (path := root / name).exists():
            return path
    raise FileNotFoundError(f"{name} is missing from this installation of Pointsman; install the package again")
