"""Edits of a body: what they change, and that the rest stays byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.relay.edits import edit_body
from proxy.routing.edits import Edits


def edits(
    rename: dict[str, str] | None = None, drop: tuple[str, ...] = (), default: dict[str, Any] | None = None,
    set_: dict[str, Any] | None = None,
) -> Edits:  # fmt: skip
    def encoded(values: dict[str, Any] | None) -> dict[str, bytes]:
        return {key: json.dumps(value, separators=(",", ":")).encode() for key, value in (values or {}).items()}

    return Edits(rename or {}, frozenset(drop), encoded(default), encoded(set_))


@pytest.mark.parametrize(
    ("body", "made", "expected"),
    [
        pytest.param(b'{"a": 1e2, "b":[ 1 ]}', edits(), b'{"a": 1e2, "b":[ 1 ]}', id="nothing"),
        pytest.param(b'{"a": 1, "b": 2}', edits(set_={"a": "x"}), b'{"a": "x", "b": 2}', id="set-in-place"),
        pytest.param(b'{"a": 1 }', edits(set_={"b": [1]}), b'{"a": 1,"b":[1] }', id="set-new"),
        pytest.param(b"{ }", edits(set_={"b": None}), b'{"b":null }', id="set-in-an-empty-one"),
        pytest.param(b'{"a": 1}', edits(default={"a": 2, "c": 3}), b'{"a": 1,"c":3}', id="default"),
        pytest.param(b'{"a": 1, "b": 2, "c": 3}', edits(drop=("a",)), b'{"b": 2, "c": 3}', id="drop-first"),
        pytest.param(b'{"a": 1, "b": 2, "c": 3}', edits(drop=("b",)), b'{"a": 1, "c": 3}', id="drop-middle"),
        pytest.param(b'{"a": 1, "b": 2, "c": 3 }', edits(drop=("b", "c")), b'{"a": 1 }', id="drop-last"),
        pytest.param(b'{ "a": 1}', edits(drop=("a",)), b"{ }", id="drop-all"),
        pytest.param(
            b'{"max_tokens" : 5,"x":1}',
            edits(rename={"max_tokens": "max_completion_tokens"}),
            b'{"max_completion_tokens" : 5,"x":1}',
            id="rename",
        ),
        pytest.param(b'{"a":1,"b":2}', edits(rename={"a": "b"}), b'{"a":1,"b":2}', id="rename-yields-to-the-client"),
        pytest.param(b'{"a":1}', edits(rename={"a": "b"}, default={"b": 2}), b'{"b":1}', id="rename-then-default"),
        pytest.param(b'{"a":1,"a":2}', edits(set_={"a": 3}), b'{"a":3,"a":3}', id="both-of-a-double-key"),
        pytest.param(b'{"\\u0061":1}', edits(drop=("a",)), b"{}", id="escaped-key"),
        pytest.param(
            '{"ä":"ü","b":{"a":1}}'.encode(), edits(drop=("a",)), '{"ä":"ü","b":{"a":1}}'.encode(), id="top-level-only"
        ),
    ],
)
def test_edit_body(body: bytes, made: Edits, expected: bytes) -> None:
    assert edit_body(body, made) == expected
    json.loads(expected)


KEYS = st.sampled_from(["a", "b", "c", "d", "é", "model"])
VALUES = st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2))


@given(
    st.dictionaries(KEYS, VALUES),
    st.dictionaries(KEYS, KEYS, max_size=2),
    st.sets(KEYS, max_size=2),
    st.dictionaries(KEYS, VALUES, max_size=2),
    st.dictionaries(KEYS, VALUES, max_size=2),
    st.sampled_from([None, 1]),
)
def test_the_result_is_what_the_same_edits_do_to_the_parsed_object(
    body: dict[str, Any], rename: dict[str, str], drop: set[str], default: dict[str, Any], set_: dict[str, Any],
    indent: int | None,
) -> None:  # fmt: skip
    renamed = {key: new for key, new in rename.items() if key in body and new not in body}
    if len(set(renamed.values())) < len(renamed):
        return  # two keys cannot become one
    expected = {renamed.get(key, key): value for key, value in body.items()}
    expected = {key: value for key, value in expected.items() if key not in drop}
    expected = {**default, **expected, **set_}
    made = edits(rename, tuple(drop), default, set_)
    assert json.loads(edit_body(json.dumps(body, indent=indent).encode(), made)) == expected
