"""A request that cannot be read is a clear 4xx, and the next one is served."""

import pytest

from tests.relay.wire import House

DEEP = b"[" * 100_000 + b"]" * 100_000
M = b'"messages":[]'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 400, id="empty"),
        pytest.param(b"{", 400, id="not-json"),
        *[pytest.param(body, 400, id=f"top-{body.decode()}") for body in (b"[]", b'"a"', b"1", b"null")],
        pytest.param(b"{" + M + b"}", 400, id="no-model"),
        pytest.param(b'{"model":1,' + M + b"}", 400, id="model-number"),
        pytest.param(b'{"model":"sim"}', 400, id="no-messages"),
        *[
            pytest.param(b'{"model":"sim","messages":' + value + b"}", 400, id=f"messages-{value.decode()}")
            for value in (b'"a"', b"{}", b"null", b"1")
        ],
        pytest.param(b'{"model":"sim","messages":' + DEEP + b"}", 400, id="deep-messages"),
        pytest.param(b'{"model":"sim",' + M + b',"x":' + DEEP + b"}", 400, id="deep-elsewhere"),
        pytest.param(b'{"model":"sim","messages":[{"role":"user","content":"\xff"}]}', 400, id="not-utf-8"),
        pytest.param(b'{"model":"\\ud800",' + M + b"}", 400, id="lone-surrogate"),
        pytest.param(b'{"model":"nobody",' + M + b"}", 404, id="unknown-model"),
        pytest.param(b'{"x":"' + b"x" * 33554432 + b'"}', 413, id="too-large"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route"])
def test_bad_body(path: str, body: bytes, status: int, house: House) -> None:
    answer = house.http.post(path, content=body)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert house.raw.exchanges == []
    assert house.chat("sim").status_code == 200


@pytest.mark.parametrize(
    "messages",
    [[], [1, None], [{"role": "user", "content": ""}], [{"role": "user", "content": [{"type": "new", "x": 1}]}]],
)
def test_what_the_upstream_judges_is_passed_on(messages: list[object], house: House) -> None:
    assert house.chat("raw", messages=messages).status_code == 200
    assert len(house.raw.exchanges) == 1
