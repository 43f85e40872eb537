"""What is feedback, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.errors import BadRequest
from proxy.learning.feedback import LONGEST_COMMENT, kind_of, read_feedback


def read(**fields: Any) -> Any:
    return read_feedback(json.dumps({"id": "ptm-1", "rating": "up", **fields}).encode())


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"rating": "up"}, 1.0),
        ({"rating": "down"}, 0.0),
        ({"rating": 0}, 0.0),
        ({"rating": 1}, 1.0),
        ({"rating": 0.3}, 0.3),
        ({"rating": 1, "scale": 5}, 0.0),
        ({"rating": 5, "scale": 5}, 1.0),
        ({"rating": 3.5, "scale": 5}, 0.625),
    ],
)
def test_ratings(fields: dict[str, Any], value: float) -> None:
    assert read(**fields).value == value


def test_what_is_left_out() -> None:
    told = read()
    assert (told.source, told.comment) == ("user", None)
    told = read(source="judge-2", comment="so\0 so")
    assert (told.source, told.comment) == ("judge-2", "so so")
    assert read(source=None, comment=None, scale=None).source == "user"


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        (b"", None, "not valid JSON"),
        (b"nonsense", None, "not valid JSON"),
        (b'{"id": ' + b"[" * 100_000, None, "not valid JSON"),
        (b'{"id": "ptm-1", "rating": NaN}', None, "not valid JSON"),
        (b'{"id": "ptm-1", "rating": 1e999}', None, "out of range"),
        (b'{"id": "ptm-1", "rating": 1e300}', "rating", "from 0 to 1"),
        (b'{"id": "ptm-1"}', "rating", "from 0 to 1"),
        (b'{"id": "ptm-1", "rating": true}', "rating", "from 0 to 1"),
        (b'{"id": "ptm-1", "rating": 1.01}', "rating", "from 0 to 1"),
        (b'{"id": "ptm-1", "rating": -0.1}', "rating", "from 0 to 1"),
        (b'{"id": "ptm-1", "rating": 4}', "rating", 'with "scale": 5, not 4.'),
        (b'{"id": "ptm-1", "rating": "UP"}', "rating", "'up' or 'down'"),
        (b'{"id": "ptm-1", "rating": "UP"}', "rating", "not 'UP'."),
        (b'{"id": "ptm-1", "rating": [' + b"1," * 1000 + b"1]}", "rating", "not [1,1,"),
        (b'{"id": "ptm-1", "rating": 0, "scale": 5}', "rating", "from 1 to 5, not 0."),
        (b'{"id": "ptm-1", "rating": "up", "scale": 5}', "rating", "from 1 to 5"),
        (b'{"id": "ptm-1", "rating": true, "scale": 5}', "rating", "from 1 to 5"),
        (b'{"id": "ptm-1", "rating": 3, "scale": 10}', "scale", "5 is the only one"),
        (b'{"id": "ptm-1", "rating": 3, "scale": 10}', "scale", "not 10."),
        (b'{"rating": 1}', "id", "x-pointsman-id"),
        (b'{"id": "", "rating": 1}', "id", "x-pointsman-id"),
        (b'{"id": 7, "rating": 1}', "id", "x-pointsman-id"),
        (b'{"id": "a\\nb", "rating": 1}', "id", "x-pointsman-id"),
        (b'{"id": "ptm-1", "rating": 1, "source": "a b"}', "source", "or digit, not 'a b'."),
        (b'{"id": "ptm-1", "rating": 1, "source": ""}', "source", "letters, digits"),
        (b'{"id": "ptm-1", "rating": 1, "comment": 3}', "comment", "give a text"),
        (b'{"id": "ptm-1", "rating": 1, "note": "x"}', None, "unknown field `note`"),
        (json.dumps({"id": "p", "rating": 1, "comment": "x" * (LONGEST_COMMENT + 1)}).encode(), "comment", "4,001"),
    ],
)
def test_what_is_none(body: bytes, param: str | None, said: str) -> None:
    with pytest.raises(BadRequest) as told:
        read_feedback(body)
    assert told.value.param == param
    assert said in str(told.value)
    assert len(str(told.value)) < 250


def test_thirds_of_the_scale() -> None:
    kinds = [kind_of(step / 4) for step in range(5)]
    assert kinds == ["down", "down", "neutral", "up", "up"]
