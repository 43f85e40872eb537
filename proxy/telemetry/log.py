"""Log lines: JSON for machines, aligned words on a terminal."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import Any, Literal, TextIO

import msgspec

LogFormat = Literal["auto", "json", "pretty"]

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was logged beside the message: `extra={"fields": {...}}`, or `extra` itself."""
    given: dict[str, Any] = record.__dict__
    if "fields" in given:
        return dict(given["fields"])
    return {name: value for name, value in given.items() if name not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, then the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        try:
            return msgspec.json.encode(line, enc_hook=str).decode("utf-8")
        except UnicodeEncodeError:
            # Half a character, in a path say; the standard library writes it as an escape, slowly.
            return json.dumps(line, default=str)


_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}


class PrettyFormatter(logging.Formatter):
    """One line a person reads."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields = _fields(record)
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        if record.name == "pointsman.request":
            text = _request_line(fields)
        else:
            text = record.getMessage() + "".join(f"  {name}={value}" for name, value in fields.items())
        colour = _COLOURS.get(record.levelname, "")
        line = f"\x1b[2m{at}\x1b[0m {colour}{text}{chr(27) + '[0m' if colour else ''}"
        if record.exc_info:
            line += "\n" + "".join(traceback.format_exception(*record.exc_info))
        return line


def _request_line(fields: dict[str, Any]) -> str:
    status = fields["status"] or "left"
    colour = "\x1b[32m" if isinstance(status, int) and status < 400 else "\x1b[31m"
    where = f"{fields.get('route', '-')} \x1b[2m→\x1b[0m \x1b[1m{fields.get('model', '-')}\x1b[0m"
    why = fields.get("reason", "")
    if "score" in fields:
        why += f" {fields.get('topic', '')} {fields['score']:.2f}"
    details = [f"decided in {fields['decision_ms']:.1f} ms"] if "decision_ms" in fields else []
    if "first_token_ms" in fields:
        details.append(f"first token {fields['first_token_ms']:.0f} ms")
    details.append(f"{fields['seconds']:.2f} s")
    if "cost_usd" in fields:
        details.append(f"${fields['cost_usd']:.6f}")
    details += [str(fields[name]) for name in ("phase", "error") if name in fields]
    said = "; ".join(part for part in (why, ", ".join(details)) if part)
    return f"{colour}{status}\x1b[0m {where}  \x1b[2m{said}\x1b[0m"


def configure_logging(form: LogFormat = "auto", *, level: str = "info", stream: TextIO | None = None) -> None:
    """
    Send this process's log to a stream, replacing what was set up before.

    Args:
        form: `auto` is pretty on a terminal and JSON elsewhere.
        level: the lowest level that is shown.
        stream: where to; standard error when None.
    """
    stream = stream or sys.stderr
    pretty = form == "pretty" or (form == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrettyFormatter() if pretty else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Each request has a line of its own, with more in it; the server's start and stop are told by the command.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # At debug they tell every statement with its values: texts, comments, and the salt that keeps hashes of keys apart.
    for driver in ("aiosqlite", "asyncpg", "sqlalchemy"):
        logging.getLogger(driver).setLevel(logging.WARNING)
