"""The bench measures what it says it measures: the right bytes, and no figure from a wrong answer."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bench.client import Asker, Reply, Target, percentile
from bench.load import Cell, Wrong
from bench.processes import Memory
from bench.prompts import texts
from bench.report import verdicts
from bench.results import Decisions, Results, Row, Workload
from bench.soak import judge
from bench.upstream import EVENTS, Answering, answer_body, stream_body
from bench.verify import meaning_of, verify

MANY = Workload(stream=False, connections=32)
ONE = Workload(stream=False, connections=1)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_upstream_answers_with_the_request_s_own_number(stream: bool) -> None:
    async def ask() -> Reply:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            asker = await Asker.connect(port)
            try:
                for number in ("00000001", "12345678"):
                    reply = await asker.ask(Target(port).request("hi", stream=stream, user=f"echo-{number}"))
                return reply
            finally:
                asker.close()

    reply = asyncio.run(ask())
    assert (reply.status, reply.body) == (200, (stream_body if stream else answer_body)(b"12345678"))


def test_stream_and_whole_answer_mean_the_same() -> None:
    assert meaning_of(stream_body(), stream=True) == meaning_of(answer_body(), stream=False)
    assert len(EVENTS) == 50


def test_stream_without_done_is_no_answer() -> None:
    with pytest.raises(ValueError, match="DONE"):
        meaning_of(b"".join(EVENTS[:-1]), stream=True)


def test_a_server_of_errors_is_not_verified() -> None:
    class Refusing(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, _: bytes) -> None:
            assert isinstance(self.transport, asyncio.Transport)
            self.transport.write(b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy")

    async def check() -> None:
        server = await asyncio.get_running_loop().create_server(Refusing, "127.0.0.1", 0)
        async with server:
            await verify(Target(server.sockets[0].getsockname()[1]), stream=False)

    with pytest.raises(Wrong, match="status 503: busy"):
        asyncio.run(check())


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        pytest.param(Reply(200, body=answer_body()), "right", id="every-byte"),
        pytest.param(Reply(200, body=answer_body()[:-1]), "short", id="one-byte-missing"),
        pytest.param(Reply(200, body=answer_body(b"00000009")), "wrong", id="another-client-s-answer"),
        pytest.param(Reply(502, body=answer_body()), "status 502", id="an-error"),
    ],
)
def test_judge(reply: Reply, word: str) -> None:
    assert judge(reply, answer_body()) == word


def test_texts_are_new_each_time_and_the_same_for_a_seed() -> None:
    def first(seed: int, count: int = 1000) -> list[str]:
        fresh: Iterator[str] = texts(seed)
        return [next(fresh) for _ in range(count)]

    assert len(set(first(1))) == 1000
    assert first(1) == first(1)
    assert not set(first(1)) & set(first(2))


def test_percentile() -> None:
    hundred = list(map(float, range(100, 0, -1)))
    assert [percentile(hundred, percent) for percent in (50, 99, 100)] == [50, 99, 100]
    assert percentile([7.0], 99) == 7


def test_budgets_are_judged_by_the_rounds_own_ratios() -> None:
    """A slow second round, which hits both alike, changes no verdict."""

    def row(key: str, rates: list[float], p50_s: float) -> Row:
        cells = [Cell(rate, p50_s, 2 * p50_s, 1.0) for rate in rates]
        return Row(key, key, cells={MANY: cells, ONE: cells}, memory=Memory(100, 90), ready_s=1)

    rule = row("rule", [2000, 200, 2000], 0.0004)
    rule.decisions = Decisions([[0.0001] * 3], {"rule": 3})
    rows = [row("direct", [50_000] * 3, 0.0001), row("envoy", [10_000, 1000, 20_000], 0.0002), rule]
    results = Results(rows, [ONE, MANY], "a machine", "settings")
    judged = {verdict.what: verdict for verdict in verdicts(results)}
    envoy = judged["rule only, non-streaming, 32 connections, against Envoy"]
    assert (envoy.figure, envoy.met) == ("0.20x", True)
    assert judged["added p50, non-streaming, 1 connection, against Envoy"].met is False
    assert judged["rule only, non-streaming, 32 connections, against LiteLLM"].met is None
    rows[2] = replace(rule, memory=Memory(300, 290))
    assert {v.met for v in verdicts(results) if v.what.startswith("memory")} == {False, None}
