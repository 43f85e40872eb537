"""Log lines: one JSON object a line for machines, one line for a person."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.telemetry.log import JsonFormatter, PrettyFormatter, configure_logging

COLOUR = re.compile(r"\x1b\[\d+m")
LEFT = {"path": "/v1/chat/completions", "status": 0, "phase": "answer", "seconds": 1.5}
DONE = {
    "status": 200,
    "route": "code",
    "model": "large",
    "reason": "topic",
    "topic": "code",
    "score": 0.834,
    "decision_ms": 2.34,
    "first_token_ms": 311.6,
    "seconds": 1.234,
    "cost_usd": 0.00042,
}


def record(message: str = "request", *, level: str = "INFO", name: str = "x", **extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": message, "levelname": level, "name": name, **extra})
    made.created, made.msecs = 1_700_000_000.007, 7.0
    return made


def failed(message: str) -> logging.LogRecord:
    try:
        raise ValueError("boom\nat two lines")
    except ValueError:
        return record(message, level="ERROR", exc_info=sys.exc_info())


def line(made: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(made)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_json_line_begins_with_time_level_and_event() -> None:
    assert list(line(record("started", level="WARNING", port=80)).items()) == [
        ("time", "2023-11-14T22:13:20.007Z"),
        ("level", "warning"),
        ("event", "started"),
        ("port", 80),
    ]


def test_time_is_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        assert line(record())["time"] == "2023-11-14T22:13:20.007Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("extra", "fields"),
    [
        pytest.param({}, {}, id="none"),
        pytest.param({"target": "a/b", "error": "x"}, {"target": "a/b", "error": "x"}, id="each-by-its-name"),
        pytest.param(
            {"fields": {"status": 0, "name": "n", "msg": 1}}, {"status": 0, "name": "n", "msg": 1}, id="fields"
        ),
        pytest.param({"what": 1 + 2j}, {"what": "(1+2j)"}, id="what-json-has-no-word-for"),
        pytest.param({"text": 'a "b"\n\u2028é\x00'}, {"text": 'a "b"\n\u2028é\x00'}, id="control-characters"),
        pytest.param({"ratio": float("nan")}, {"ratio": None}, id="nan"),
        pytest.param({"color_message": "\x1b[1mx", "taskName": "Task-1"}, {}, id="what-the-machinery-adds"),
    ],
)
def test_the_events_own_fields_follow(extra: dict[str, Any], fields: dict[str, Any]) -> None:
    found = line(record(**extra))
    assert {name: value for name, value in found.items() if name not in ("time", "level", "event")} == fields


def test_arguments_are_put_into_the_message() -> None:
    assert line(record("%s of %d", args=("one", 2)))["event"] == "one of 2"


def test_an_exception_stays_on_the_one_line() -> None:
    found = line(failed("unforeseen"))
    assert found["traceback"].startswith("Traceback (most recent call last):\n")
    assert found["traceback"].endswith("ValueError: boom\nat two lines\n")


def pretty(made: logging.LogRecord) -> str:
    at, _, text = COLOUR.sub("", PrettyFormatter().format(made)).partition(" ")
    assert at == time.strftime("%H:%M:%S", time.localtime(made.created))
    return text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        pytest.param(
            DONE,
            "200 code → large  topic code 0.83; decided in 2.3 ms, first token 312 ms, 1.23 s, $0.000420",
            id="served",
        ),
        pytest.param(LEFT, "left - → -  1.50 s, answer", id="client-left"),
        pytest.param(
            {"status": 404, "seconds": 0.004, "error": "model_not_found"},
            "404 - → -  0.00 s, model_not_found",
            id="refused",
        ),
        pytest.param(
            {"status": 200, "route": "urgent", "model": "large", "reason": "rule", "decision_ms": 0.04, "seconds": 0.2},
            "200 urgent → large  rule; decided in 0.0 ms, 0.20 s",
            id="no-text-asked-for",
        ),
    ],
)
def test_a_persons_line_for_a_request(fields: dict[str, Any], text: str) -> None:
    assert pretty(record(name="pointsman.request", fields=fields)) == text


@pytest.mark.parametrize(("status", "colour"), [(200, "32"), (399, "32"), (400, "31"), (502, "31"), (0, "31")])
def test_the_status_is_green_or_red(status: int, colour: str) -> None:
    shown = PrettyFormatter().format(record(name="pointsman.request", fields=LEFT | {"status": status}))
    assert f"\x1b[{colour}m{status or 'left'}\x1b[0m" in shown


def test_a_persons_line_for_anything_else() -> None:
    assert pretty(record("upstream cut", target="a/b", error="x")) == "upstream cut  target=a/b  error=x"
    assert "\x1b[33mbeware\x1b[0m" in PrettyFormatter().format(record("beware", level="WARNING"))
    assert pretty(failed("oh")).endswith("ValueError: boom\nat two lines\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back afterwards as it was."""
    loggers = [logging.getLogger(name) for name in ("", "uvicorn.access", "uvicorn.error")]
    before = [(logger.level, logger.disabled, logger.handlers[:]) for logger in loggers]
    yield loggers[0]
    for logger, (level, disabled, handlers) in zip(loggers, before, strict=True):
        logger.level, logger.disabled, logger.handlers[:] = level, disabled, handlers
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        pytest.param("auto", io.StringIO(), True, id="auto-to-a-file"),
        pytest.param("auto", Terminal(), False, id="auto-to-a-terminal"),
        pytest.param("json", Terminal(), True, id="json"),
        pytest.param("pretty", io.StringIO(), False, id="pretty"),
    ],
)
def test_the_form_follows_the_stream(root: logging.Logger, form: Any, stream: io.StringIO, is_json: bool) -> None:
    replaced = io.StringIO()
    configure_logging("json", stream=replaced)
    configure_logging(form, stream=stream)
    logging.getLogger("pointsman.request").info("request", extra={"fields": DONE})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert replaced.getvalue() == ""
    assert lines[0].startswith("{") == is_json


def test_the_level_decides_what_is_shown(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure_logging("json", level="warning", stream=stream)
    logging.getLogger("proxy.any").info("quiet")
    logging.getLogger("proxy.any").warning("loud")
    logging.getLogger("uvicorn.access").error("a second line for each request")
    assert [json.loads(text)["event"] for text in stream.getvalue().splitlines()] == ["loud"]
