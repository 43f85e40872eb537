"""Standard output and error, whatever they were made of."""

from __future__ import annotations

import io
import json
import sys

import click


def fit_streams() -> None:
    """
    Let everything that is said be written: no text ends a command.

    What the terminal's encoding lacks is replaced on standard output; standard error escapes it by itself.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def echo_json(value: object) -> None:
    """One line of JSON; in ASCII where the encoding may lack a sign, for one that is replaced is another value."""
    is_utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
    click.echo(json.dumps(value, ensure_ascii=not is_utf8))
