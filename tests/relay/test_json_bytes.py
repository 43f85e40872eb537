import json
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.relay.json_bytes import members, replace_model
from tests.relay.wire import House

SPACE = st.text(" \t\r\n", max_size=2)
MODEL_KEYS = st.sampled_from(['"model"', '"model"', '"mod\\u0065l"', '"\\u006dodel"', '"\\u006D\\u006F\\u0064el"'])
STRINGS = st.one_of(
    st.builds(json.dumps, st.text(max_size=8), ensure_ascii=st.booleans()).map(lambda text: text.replace("/", "\\/")),
    st.sampled_from(
        ['"model"', '"a\\"model\\": "', '"\\"model"', '"{[\\\\"', '"\\ud83d\\ude80"', '"🚀 é"', '"\\u006d"', '"]},:"']
    ),
)
NUMBERS = st.sampled_from(["0", "-0", "1e2", "100.0", "9223372036854775807", "18446744073709551615", "0.1E+2", "1e400"])
SCALARS = st.one_of(STRINGS, NUMBERS, st.sampled_from(["null", "true", "false"]))


def _array(values: list[str], space: str) -> str:
    return "[" + space + f"{space},".join(values) + space + "]"


def _object(pairs: list[tuple[str, str]], space: str) -> str:
    return "{" + space + ",".join(f"{space}{key}{space}:{space}{value}" for key, value in pairs) + space + "}"


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(_array, st.lists(inner, max_size=3), SPACE),
        st.builds(_object, st.lists(st.tuples(st.one_of(STRINGS, MODEL_KEYS), inner), max_size=3), SPACE),
    ),
    max_leaves=6,
)


class Written(NamedTuple):
    """One member of an object as it is written."""

    before: str
    key: str
    colon: str
    value: str
    after: str
    is_model: bool

    def text(self, value: str) -> str:
        return self.before + self.key + self.colon + value + self.after


COLON = st.builds("{}:{}".format, SPACE, SPACE)
OTHER_KEYS = STRINGS.filter(lambda key: json.loads(key) != "model")
MODEL = st.builds(Written, SPACE, MODEL_KEYS, COLON, VALUES, SPACE, st.just(True))
OTHER = st.builds(Written, SPACE, OTHER_KEYS, COLON, VALUES, SPACE, st.just(False))
BODIES = st.tuples(SPACE, st.lists(OTHER, max_size=4), MODEL, st.lists(st.one_of(OTHER, MODEL), max_size=3), SPACE)


@given(BODIES, st.text(min_size=1, max_size=10))
def test_nothing_but_the_model_changes(body: tuple[str, list[Written], Written, list[Written], str], name: str) -> None:
    """However the body is written, each top-level `model` has the new value and every other byte is as it was."""
    start, before, model, after, end = body
    written = [*before, model, *after]

    def whole(value: Callable[[Written], str]) -> bytes:
        return (start + "{" + ",".join(one.text(value(one)) for one in written) + "}" + end).encode()

    sent = whole(lambda one: one.value)
    json.loads(sent)  # the test itself writes JSON
    got = replace_model(sent, name)
    assert json.loads(got)["model"] == name
    quoted = next(got[found.start : found.end] for found in members(got) if found.key == b"model").decode()
    assert got == whole(lambda one: quoted if one.is_model else one.value)


@given(st.lists(OTHER, max_size=5))
def test_members(written: list[Written]) -> None:
    """Every member is found where it stands, in its order."""
    body = ("{" + ",".join(one.text(one.value) for one in written) + "}").encode()
    found = list(members(body))
    assert [one.key.decode("utf-8") for one in found] == [json.loads(one.key) for one in written]
    assert [body[one.start : one.end].decode() for one in found] == [one.value for one in written]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b'{"model":"a"}', b'{"model":"b"}', id="plain"),
        pytest.param(b'{"x":{"model":"a"},"model":"a"}', b'{"x":{"model":"a"},"model":"b"}', id="nested-before"),
        pytest.param(b'{"model":"a","model":"c"}', b'{"model":"b","model":"b"}', id="twice"),
        pytest.param(b'{"x":"model","mod\\u0065l":"a"}', b'{"x":"model","mod\\u0065l":"b"}', id="escaped-key"),
        pytest.param(b'{"x":"\\"model\\":1","model":"a"}', b'{"x":"\\"model\\":1","model":"b"}', id="in-a-string"),
        pytest.param(b'{"model":null,"seed":12345678901234567890}', b'{"model":"b","seed":12345678901234567890}', id="null"),
    ],
)  # fmt: skip
def test_replace_model(body: bytes, expected: bytes) -> None:
    assert replace_model(body, "b") == expected


def test_a_large_body_arrives_byte_for_byte(house: House) -> None:
    """Twenty megabytes of image, a 64-bit seed and odd spaces reach the upstream as they were sent."""
    image = "iVBORw0KGgo+/" * (20 * 2**20 // 13)
    template = (
        '{ "seed":9223372036854775807,"temperature" : 1e0,\t"metadata":{"model":"mine"},"model": %s ,'
        '"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,%s"}}]}]}\n'
    )
    answer = house.http.post("/v1/chat/completions", content=(template % ('"raw"', image)).encode())
    assert answer.status_code == 200
    assert house.raw.last.body == (template % ('"raw-model"', image)).encode()
