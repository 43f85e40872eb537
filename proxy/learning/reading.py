"""JSON lines of rated requests, read with suspicion: every mistake with its line, no more kept than asked for."""

from __future__ import annotations

import gzip
import json
import math
import random
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
import numpy as np

from proxy.config import ConfigError, Name, Problem, Text, choices, did_you_mean, quote
from proxy.embedding import DIMENSIONS, Vector
from proxy.learning.training_rows import LEAST_CHANCE
from proxy.routing.chat import prompt_body, read_chat
from proxy.routing.facts import Facts

FORM = '{"prompt": "...", "scores": {"MODEL": 0 to 1}, "costs": {"MODEL": USD}}, costs optional'
MOST_PROBLEMS = 50
MOST_LINE = 16 * 1024 * 1024
LEAST_COST, MOST_COST = 1e-9, 1e6
"""USD a request; what is beyond is a mistake, and would break every sum."""
_TELL_EVERY = 1_000
_SHORTEST, _LONGEST = 1e-6, 1e6
"""Lengths of a vector; the embedding model's are near 1, and beyond these a float32 of its square is none."""
_NAME = get_args(Name)[1].description


class RatedLine(NamedTuple):
    """One line."""

    text: str
    """What the server would look at of the prompt; empty where the line has its vector."""
    vector: Vector | None
    tokens: float
    """Of the prompt, estimated; NaN where there is none."""
    scores: dict[str, float]
    costs: dict[str, float]
    weight: float
    prompt: str = ""
    """As the line has it; empty where it has none."""
    domain: str = ""
    """What the request truly is about, as the line says; never learned from, only compared with."""


@dataclass(frozen=True)
class Read:
    """A file's rows."""

    models: tuple[str, ...]
    rows: list[RatedLine]
    found: int
    """How many there were; more than `rows` where only a sample is kept."""


def read_rated(
    path: Path,
    *,
    models: tuple[str, ...] = (),
    known: Collection[str] | None = None,
    which: Text | None = None,
    limit: int = 50_000,
    seed: int = 0,
    tell: Callable[[int], None] | None = None,
) -> Read:
    """
    The rated requests of a file, or a sample of them.

    Args:
        path: JSON lines, gzipped or not.
        models: the only ones to look at; all that the file has when empty.
        known: those of routes.yaml; where all are looked at, another one is a mistake then. None for any.
        which: what of a prompt is looked at, as in routes.yaml.
        limit: rows to keep; of more, each has the same chance.
        seed: of that choice.
        tell: is given how many were read, now and then.

    Raises:
        ConfigError: every line that cannot be used, up to some, and models that the file does not have.
    """
    reader = _Reader(path, models, known, which or Text())
    draw = random.Random(seed)  # noqa: S311 - no secret
    rows: list[RatedLine] = []
    found = 0
    for rated in reader.read():
        found += 1
        if tell is not None and found % _TELL_EVERY == 0:
            tell(found)
        if len(rows) < limit:
            rows.append(rated)
        elif (place := draw.randrange(found)) < limit:  # Vitter's algorithm R
            rows[place] = rated
    reader.judge(found)
    if reader.problems:
        raise ConfigError(reader.problems)
    return Read(models or tuple(reader.counts), rows, found)


class _Reader:
    def __init__(self, path: Path, models: tuple[str, ...], known: Collection[str] | None, which: Text) -> None:
        self._path, self._models, self._known, self._which = path, models, known, which
        self.problems: list[Problem] = []
        self.counts: dict[str, int] = {}
        """Ratings by model, in the order of their first."""
        self._named: dict[str, int] = {}
        """Every model that a line scores, asked for or not, and the first such line."""
        self._priced: dict[str, int] = {}
        """Every model that a line has a cost of; likewise."""
        self._strange: set[str] = set()
        """What is not to be repeated to a terminal as it is."""

    def read(self) -> Iterator[RatedLine]:
        """Line by line; stops at too many problems."""
        for number, line in self._lines():
            if line.strip() and (rated := self._rated(number, line)) is not None:
                yield rated
            if len(self.problems) >= MOST_PROBLEMS:
                self.problems.append(Problem(str(self._path), number + 1, 1, "", "the rest was not read"))
                return

    def judge(self, found: int) -> None:
        """Report what is wrong with the file as a whole."""
        if not found and not self.problems:
            self.problems.append(Problem.of(self._path, f"no rated requests; write lines like {FORM}"))
        unknown = {name: "" for name in self._models if not self.counts.get(name)}
        if not self._models:
            unknown = {name: ", which some have a cost of" for name in self._priced if name not in self._named}
        for name, said in unknown.items() if found else ():
            near = did_you_mean(name, self._named)
            hint = f"did you mean {quote(near)}?" if near else f"there are {_listed(self._named)}"
            message = f"no line has a score of {quote(name)}{said}; {hint}"
            self.problems.append(Problem.of(self._path, message))
        if self._known is not None and not self._models:
            for name, number in self._named.items():
                if name not in self._known and name not in self._strange:
                    self._say(number, _stranger(name, self._known, self._named))

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with self._path.open("rb") as raw:  # once, and looked at without being read: it may be a pipe
                is_zipped = raw.peek(2).startswith(b"\x1f\x8b")
                lines: gzip.GzipFile | BufferedReader = gzip.GzipFile(fileobj=raw) if is_zipped else raw
                number = 0
                while line := lines.readline(MOST_LINE):
                    number += 1
                    if len(line) < MOST_LINE or line.endswith(b"\n"):
                        yield number, line
                        continue
                    self._say(number, f"longer than {MOST_LINE:,} bytes; is this the right file?")
                    while line and not line.endswith(b"\n"):
                        line = lines.readline(MOST_LINE)
            return
        except (EOFError, gzip.BadGzipFile, zlib.error):
            message = "its gzip is damaged or cut short"
        except OSError as error:
            message = f"cannot be read: {error.strerror or error}"
        self.problems.append(Problem.of(self._path, message))

    def _say(self, number: int, message: str) -> None:
        self.problems.append(Problem(str(self._path), number, 1, "", message))

    def _read_line(self, number: int, line: bytes) -> dict[str, Any] | None:
        try:
            value: Any = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"), object_pairs_hook=_object)
        except UnicodeDecodeError:
            self._say(number, "not UTF-8")
        except json.JSONDecodeError as error:
            self._say(number, f"not JSON: {error.msg}; each line is {FORM}")
        except _Twice as error:
            self._say(number, f"{quote(str(error))} stands twice in one object; which of the two is meant?")
        except (ValueError, RecursionError):  # a number of thousands of digits, or brackets nested as deep
            self._say(number, f"not JSON that can be read; each line is {FORM}")
        else:
            if isinstance(value, dict):
                return value
            self._say(number, f"not an object; each line is {FORM}")
        return None

    def _rated(self, number: int, line: bytes) -> RatedLine | None:
        if (value := self._read_line(number, line)) is None:
            return None
        before = len(self.problems)
        scores = self._numbers(number, value, "scores", 1.0)
        costs = self._numbers(number, value, "costs", MOST_COST) if value.get("costs") is not None else {}
        text, tokens, vector = self._text(number, value)
        weight = self._weight(number, value)
        if before != len(self.problems):
            return None
        if not scores:
            if not (self._models and value["scores"]):  # else a request that none of the models asked for was rated on
                self._say(number, "no scores")
            return None
        for name in scores:
            self.counts[name] = self.counts.get(name, 0) + 1
        prompt = value.get("prompt", value.get("text"))
        shown, domain = (each if isinstance(each, str) else "" for each in (prompt, value.get("domain")))
        return RatedLine(text, vector, tokens, scores, costs, weight, shown, domain)

    def _numbers(self, number: int, value: dict[str, Any], key: str, most: float) -> dict[str, float]:
        given = value.get(key)
        if not isinstance(given, dict):
            self._say(number, f"'{key}' is {'missing' if given is None else 'not an object'}; each line is {FORM}")
            return {}
        found = {}
        known = self._named if key == "scores" else self._priced
        if not known.keys() >= given.keys():
            fresh = [name for name in given if name not in known]
            known |= dict.fromkeys(fresh, number)
            for name in fresh:
                if not (self._models and name not in self._models) and not _is_name(name):
                    self._strange.add(name)
                    self._say(number, f"{key}: {quote(name)} is not {_NAME}")
        for name, each in given.items():
            if each is None or name in self._strange or (self._models and name not in self._models):
                continue
            if isinstance(each, bool):
                each = float(each)
            if not isinstance(each, (int, float)) or not math.isfinite(_float(each)):
                self._say(number, f"{key}.{name}: {json.dumps(each)[:40]} is not a number")
            elif not 0 <= each <= most:
                self._say(number, f"{key}.{name}: {_float(each):g} is outside 0 to {most:,.0f}")
            else:
                found[name] = max(float(each), LEAST_COST) if key == "costs" else float(each)
        return found

    def _text(self, number: int, value: dict[str, Any]) -> tuple[str, float, Vector | None]:
        vector = value.get("vector")
        prompt = value.get("prompt", value.get("text"))
        nothing: tuple[str, float, Vector | None] = ("", math.nan, None)
        if vector is not None:
            try:
                with np.errstate(over="ignore"):
                    row = np.array(vector, dtype=np.float32)
            except (ValueError, TypeError, OverflowError):
                row = np.empty(0, dtype=np.float32)
            length = float(np.linalg.norm(row.astype(np.float64)))
            if row.shape != (DIMENSIONS,) or not _SHORTEST < length < _LONGEST:
                self._say(number, f"'vector' is not a list of {DIMENSIONS} numbers as the embedding model gives")
                return nothing
            facts = self._facts(number, prompt) if isinstance(prompt, str) else None
            tokens = math.nan if facts is None else facts.text_tokens(self._which)
            return "", tokens, row / np.linalg.norm(row)
        if not isinstance(prompt, str):
            self._say(number, f"'prompt' is {'missing' if prompt is None else 'not a string'}; each line is {FORM}")
            return nothing
        if (facts := self._facts(number, prompt)) is None:
            return nothing
        if not (text := facts.text(self._which)):
            self._say(number, "nothing is looked at of this prompt")
        return text, facts.text_tokens(self._which), None

    def _facts(self, number: int, prompt: str) -> Facts | None:
        try:
            return read_chat(prompt_body(prompt), {})
        except UnicodeEncodeError:
            self._say(number, "an escape in 'prompt' means half of a character")
            return None

    def _weight(self, number: int, value: dict[str, Any]) -> float:
        propensity = value.get("propensity")
        if propensity is None:
            return 1.0
        if isinstance(propensity, bool) or not isinstance(propensity, (int, float)) or not 0 < propensity <= 1:
            self._say(number, "'propensity' is not a number above 0 and up to 1")
            return 1.0
        return 1.0 / max(propensity, LEAST_CHANCE)


def _stranger(name: str, known: Collection[str], named: Collection[str]) -> str:
    """What is wrong with a model that routes.yaml does not have, and how to leave it out."""
    near = did_you_mean(name, known)
    hint = f"did you mean {quote(near)}?" if near else f"there {'is' if len(known) == 1 else 'are'} {_listed(known)}."
    others = ",".join(each for each in named if each in known)
    way_out = f" To leave it out: --models {others}" if others else ""
    return f"scores: routes.yaml has no model {quote(name)}; {hint}{way_out}"


def _listed(names: Collection[str]) -> str:
    return choices(map(quote, names), last="and")


class _Twice(ValueError):
    """The name that an object of JSON has two values for."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for place, name in enumerate(names) if name in names[:place]))
    return found


def _is_name(name: str) -> bool:
    """Whether routes.yaml could name a model so."""
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        return False
    return True


def _float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf
