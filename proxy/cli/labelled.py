"""Labelled texts for `pointsman tune`: JSON lines of a text and its topic."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from proxy.config import Config, ConfigError, Problem, choices, did_you_mean, folded, quote
from proxy.routing.chat import prompt_body, read_chat

_FORM = '{"text": "...", "topic": "..."}, with null for a text of no topic'
_SURROGATE = re.compile("[\ud800-\udfff]")


class Labelled(NamedTuple):
    """One line."""

    line: int
    text: str
    """What the server would look at of it."""
    topic: str | None
    """None: of no topic."""


def read_labelled(path: Path, config: Config) -> list[Labelled]:
    """
    Every labelled text of a file.

    Raises:
        ConfigError: every line that cannot be used, topics that routes.yaml does not have, and texts with two topics.
    """
    reader = _Reader(path, config)
    found = list(reader.read())
    reader.judge(found)
    if reader.problems:
        raise ConfigError(reader.problems)
    if not found:
        raise ConfigError([Problem.of(path, f"no labelled texts; write lines like {_FORM}")])
    return found


class _Reader:
    def __init__(self, path: Path, config: Config) -> None:
        self._path, self._config = path, config
        self.problems: list[Problem] = []

    def read(self) -> Iterator[Labelled]:
        # Not splitlines(): a JSON string may hold what Unicode takes for the end of a line.
        for number, line in enumerate(self._lines(), start=1):
            if line.strip() and (labelled := self._labelled(number, line)) is not None:
                yield labelled

    def judge(self, found: list[Labelled]) -> None:
        """Report what lines say that are right each by itself."""
        topics = self._config.topics
        unknown: dict[str, list[int]] = {}
        first: dict[str, Labelled] = {}
        for one in found:
            if one.topic is not None and one.topic not in topics:
                unknown.setdefault(one.topic, []).append(one.line)
            other = first.setdefault(folded(one.text), one)
            if other.topic != one.topic:
                label = "of no topic" if other.topic is None else f"of topic {quote(other.topic)}"
                self._say(one.line, f"the same text is {label} on line {other.line}; leave one of the two")
        for name, lines in unknown.items():
            near = did_you_mean(name, topics)
            hint = (
                f"did you mean {quote(near)}?"
                if near
                else f"there {'is' if len(topics) == 1 else 'are'} {choices(map(quote, topics), last='and')}"
            )
            others = f" (on {len(lines)} lines)" if len(lines) > 1 else ""
            self._say(lines[0], f"no topic is called {quote(name)}{others}; {hint}")

    def _say(self, line: int, message: str, column: int = 1) -> None:
        self.problems.append(Problem(str(self._path), line, column, "", message))

    def _lines(self) -> list[str]:
        try:
            return self._path.read_bytes().decode("utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            message = f"not UTF-8 (byte {error.start} of the file cannot be decoded); save it as UTF-8"
        except OSError as error:
            message = f"cannot be read: {error.strerror}"
        self.problems.append(Problem.of(self._path, message))
        raise ConfigError(self.problems)

    def _labelled(self, number: int, line: str) -> Labelled | None:
        try:
            value: Any = json.loads(line)
        except json.JSONDecodeError as error:
            self._say(number, f"not JSON: {error.msg}; each line is {_FORM}", error.colno)
            return None
        except (ValueError, RecursionError):  # a number of thousands of digits, or brackets nested as deep
            self._say(number, f"not JSON that can be read; each line is {_FORM}")
            return None
        if not isinstance(value, dict):
            self._say(number, f"expected an object, got {quote(line.strip())}; each line is {_FORM}")
            return None
        text = _either(value, "text", "prompt")
        topic = _either(value, "topic", "label")
        problem = None
        if not isinstance(text, str):
            problem = "'text' is missing" if text is _ABSENT else f"'text' is {quote(json.dumps(text))}, not a string"
        elif _SURROGATE.search(text):
            problem = "an escape in 'text' means half of a character"
        elif topic is _ABSENT:
            problem = "'topic' is missing"
        elif not (topic is None or isinstance(topic, str)):
            problem = f"'topic' is {quote(json.dumps(topic))}, neither a name nor null"
        if problem is not None:
            self._say(number, f"{problem}; each line is {_FORM}")
            return None
        looked_at = read_chat(prompt_body(text), {}).text(self._config.text)
        if not looked_at:
            self._say(number, f"nothing is looked at of the text {quote(text)}; remove the line")
            return None
        return Labelled(number, looked_at, topic)


_ABSENT = object()


def _either(value: dict[str, Any], name: str, other: str) -> Any:
    return value.get(name, value.get(other, _ABSENT))
