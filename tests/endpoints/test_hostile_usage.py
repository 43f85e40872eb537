"""What an upstream claims of its tokens must not cost the log line, the metrics or the client's connection."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.relay.wire import SSE, Exchange, House
from tests.relay.wire import house as open_house


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as house:
        yield house


@pytest.mark.parametrize("tokens", [b"-1", b"1" + b"0" * 400], ids=["below-zero", "past-all-floats"])
@pytest.mark.parametrize("stream", [False, True])
def test_tokens_that_cannot_be(house: House, tokens: bytes, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    usage = b'{"usage":{"prompt_tokens":%b,"completion_tokens":2}}' % tokens

    def answer(exchange: Exchange) -> None:
        if stream:
            exchange.send(SSE + b"data: " + usage + b"\n\ndata: [DONE]\n\n")
            exchange.cut()
        else:
            exchange.answer(usage, b"content-type: application/json")

    house.raw.script = answer
    caplog.set_level(logging.INFO, "pointsman.request")
    assert house.chat("raw", stream=stream).status_code == 200
    assert house.http.get("/healthz").status_code == 200  # on the same connection
    assert [record.message for record in caplog.records if record.name == "pointsman.request"] == ["request"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
