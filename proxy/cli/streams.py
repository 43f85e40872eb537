"""The standard streams, whatever they were made of."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from pathlib import Path

import click


class OutputLost(click.ClickException):
    """What was to be told cannot be written, as on a full disk; exit code 2, whatever was found or done."""

    exit_code = 2


class _Output(io.TextIOWrapper):
    """Standard output that raises OutputLost."""

    @classmethod
    def in_place_of(cls, stream: io.TextIOWrapper) -> _Output:
        """With the same settings; the other one is of no use any more."""
        kept = {name: getattr(stream, name) for name in ("encoding", "errors", "line_buffering", "write_through")}
        return cls(stream.detach(), **kept)

    def write(self, text: str, /) -> int:
        if text == "":  # with which Click tries what a stream takes, deaf to errors
            return 0
        try:
            return super().write(text)
        except OSError as error:
            raise self._lost(error) from None

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise self._lost(error) from None

    def _lost(self, error: OSError) -> Exception:
        if error.errno == errno.EPIPE:  # nobody reads any more, and Click ends without a word
            return error
        # What is left would be tried again as the process ends, and be a traceback then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
        return OutputLost(f"standard output cannot be written: {error.strerror or error}.")


def fit_streams() -> None:
    """
    Let everything that is said be written: no text ends a command.

    What the terminal's encoding lacks is replaced on standard output; standard error escapes it by itself. Where a
    stream was closed by whoever started this process, Python has None, which knows nothing of what a stream does.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if type(sys.stdout) is io.TextIOWrapper:  # the process's own, and no stand-in for it
        sys.stdout = _Output.in_place_of(sys.stdout)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open while the process is


def echo_json(value: object) -> None:
    """One line of JSON; in ASCII where the encoding may lack a sign, for one that is replaced is another value."""
    is_utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
    click.echo(json.dumps(value, ensure_ascii=not is_utf8))
