"""
Files of routes.yaml that differ in everything, for `bench.reload`: every name in one, its key, its edits of the
body, carry the file's number. So an answer that is from two of them tells.
"""

from __future__ import annotations

from itertools import islice

from bench.pointsman import SAME_TEXT
from bench.prompts import texts

__all__ = ["BAD_EVERY", "bad_result", "numbered"]

BAD_EVERY = 4
"""One file of so many is bad, each in another way."""

OF_A_TOPIC = 20

FILE = """
version: 1
upstreams:
  up-{number}: {{base_url: "http://127.0.0.1:{port}/file-{number}/v1", api_key: sk-{number}}}
models:
  small-{number}:
    target: {{upstream: up-{number}, name: mini-{number}}}
    default: {{metadata: {{file: {number}}}}}
  large-{number}:
    target: {{upstream: up-{number}, name: maxi-{number}}}
    default: {{metadata: {{file: {number}}}}}
rewrite: ["*"]
default: small-{number}
embedding: {{queue: 4096, deadline: 20s}}
topics:
  code:
    examples:
      - Write a function that merges two sorted lists
      - Why does this raise a segmentation fault?
      - Fix the off-by-one error in this loop
      - Add type hints to this Python module
  smalltalk:
    examples:
      - hi there, for time number {number}
      - thanks, that helped!
      - how are you today?
      - good morning
{more}routes:
  - {{name: fast-{number}, when: {{model: fast}}, use: small-{number}, set: {{seed: {number}}}}}
  - {{name: code-{number}, when: {{topic: code}}, use: large-{number}, set: {{seed: {number}}}}}
tests:
  - {{prompt: "{text}", route: {expected}-{number}}}
"""


def bad_result(number: int) -> str | None:
    """What a reload of file `number` ends with; None for a good one."""
    if number % BAD_EVERY != BAD_EVERY - 1:
        return None
    return "tests_failed" if _way(number) == "wrong-test" else "invalid"


def numbered(number: int, port: int, *, examples: int = 0) -> str:
    """
    File `number`.

    Args:
        number: every fourth from 3 on is bad.
        port: of the upstream.
        examples: how many more it has, in topics of twenty, the same in every file.
    """
    way = _way(number) if bad_result(number) else None
    lines = [f"      - {example}\n" for example in islice(texts(0), examples)]
    starts = range(0, len(lines), OF_A_TOPIC)
    more = "".join(f"  more-{i}:\n    examples:\n{''.join(lines[i : i + OF_A_TOPIC])}" for i in starts)
    expected = "fast" if way == "wrong-test" else "code"
    file = FILE.format(number=number, port=port, more=more, text=SAME_TEXT, expected=expected)
    match way:
        case "cut-short":
            return file[: file.index("set: {")]  # an earlier cut may be a whole file, without routes
        case "unknown-model":
            return file.replace(f"use: large-{number}", f"use: huge-{number}")
        case "empty":
            return ""
        case "too-large":
            return file + "#" * 9_000_000
    return file


def _way(number: int) -> str:
    ways = ("cut-short", "unknown-model", "wrong-test", "empty", "too-large")
    return ways[number // BAD_EVERY % len(ways)]
