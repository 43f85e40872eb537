"""The standard streams, whatever they were made of."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import click


def fit_streams() -> None:
    """
    Let everything that is said be written: no text ends a command.

    What the terminal's encoding lacks is replaced on standard output; standard error escapes it by itself. Where a
    stream was closed by whoever started this process, Python has None, which knows nothing of what a stream does.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open while the process is


def echo_json(value: object) -> None:
    """One line of JSON; in ASCII where the encoding may lack a sign, for one that is replaced is another value."""
    is_utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
    click.echo(json.dumps(value, ensure_ascii=not is_utf8))
