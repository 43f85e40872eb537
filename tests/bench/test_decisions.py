"""The decision's cost, as a histogram and against the bare run: right buckets, right pairs, right figures."""

import asyncio
import io
import itertools
import json

import pytest
from rich import box
from rich.console import Console

from bench.bare import Running as Bare
from bench.client import Target
from bench.decisions import BLOCK, time_decisions
from bench.histogram import BOUNDS_S, as_buckets, histogram, summary
from bench.report import as_json, print_report
from bench.results import Decisions, Results, Row, Stages


def test_buckets_resolve_what_decisions_take() -> None:
    """From 0.005 ms to 10 ms, none more than a third longer than the one before."""
    assert min(BOUNDS_S) <= 5e-6
    assert max(BOUNDS_S) == 0.01
    assert all(1 < longer / shorter < 1.35 for shorter, longer in itertools.pairwise(BOUNDS_S))


def test_each_time_is_in_the_bucket_that_it_does_not_exceed() -> None:
    counts = as_buckets([0.000001, 0.001, 0.00101, 0.01, 0.5])
    assert sum(counts) == 5
    assert (counts[0], counts[BOUNDS_S.index(0.001)], counts[BOUNDS_S.index(0.0012)]) == (1, 1, 1)
    assert (counts[-2], counts[-1]) == (1, 1)


def test_the_histogram_shows_every_series_and_a_lonely_time() -> None:
    out = io.StringIO()
    times = {"many": [0.002] * 500, "one": [0.2]}
    Console(file=out, width=120).print(histogram("a title", times, box.MARKDOWN))
    shown = out.getvalue()
    assert "█ 1" in shown
    assert "█ 500" in shown
    assert "longer" in shown
    assert shown.count("p99") == 1


def test_summary_is_json() -> None:
    found = json.loads(json.dumps(summary([0.001, 0.003, 7.0])))
    assert (found["count"], found["p50_s"], found["p99_s"]) == (3, 0.003, 7.0)
    assert found["buckets"][-1] == [None, 1]


def test_a_ratio_pairs_neighbours_in_time() -> None:
    """A slow second round, which hits both alike, changes no ratio."""
    decisions = Decisions(rounds_s=[[0.002] * 3, [0.02] * 3, [0.002] * 3])
    assert decisions.ratio([[0.001], [0.01], [0.001]]) == pytest.approx(2.0)
    assert decisions.ratio([]) is None


class Pretending(Bare):
    """Answers as Pointsman does, with a stage's sum that grows by 2 ms a request."""

    asked = 0

    def data_received(self, data: bytes) -> None:
        head = b""
        if data.startswith(b"GET /metrics"):
            sums = (("read", 0.0001), ("embed", 0.002), ("decide", 0.0))
            lines = [
                f'pointsman_decision_stage_seconds_sum{{stage="{name}"}} {Pretending.asked * each}'
                for name, each in sums
            ]
            body = "\n".join(lines).encode()
        else:
            Pretending.asked += data.startswith(b"POST /v1/chat/completions ")
            body, head = b"{}", b"x-pointsman-decision-ms: 2.300\r\nx-pointsman-reason: topic\r\n"
        self.transport.write(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))


def timed() -> Decisions:
    """Two rounds against a pretended proxy and a pretended model."""

    async def measure() -> Decisions:
        loop = asyncio.get_running_loop()
        proxy = await loop.create_server(lambda: Pretending(lambda _: []), "127.0.0.1", 0)
        bare = await loop.create_server(lambda: Bare(lambda texts: [0.001] * len(texts)), "127.0.0.1", 0)
        async with proxy, bare:
            ports = [server.sockets[0].getsockname()[1] for server in (proxy, bare)]
            return await time_decisions(Target(ports[0], "auto"), 1, ports[1], rounds=2)

    return asyncio.run(measure())


def test_blocks_of_decisions_and_bare_runs_take_turns() -> None:
    decisions = timed()
    assert [len(taken) for taken in decisions.rounds_s + decisions.bare_s + decisions.bare_at_once_s] == [BLOCK] * 6
    assert decisions.ratio(decisions.bare_s) == pytest.approx(2.3)
    assert len(decisions.stages) == 2 * BLOCK
    assert decisions.stages[-1].embed_s == pytest.approx(0.002)
    assert decisions.stages[-1].others_s == pytest.approx(0.0003)
    assert set(decisions.reasons) == {"topic"}


@pytest.mark.parametrize("markdown", [False, True])
def test_the_report_prints_both_histograms(markdown: bool) -> None:
    new = Decisions([[0.0023] * 4], {"topic": 4}, [[0.0015] * 4], [[0.0014] * 4], [0.0005])
    new.stages.append(Stages(0.0024, 0.0021, 0.00002))
    rows = [Row("rule", "rule", decisions=Decisions([[0.00006] * 9])), Row("new", "new", decisions=new)]
    results = Results(rows, [], "a machine", "settings")
    out = io.StringIO()
    print_report(results, Console(file=out, width=130), markdown=markdown)
    shown = out.getvalue()
    for words in ("embedding", "bare ONNX run, paced alike", "rule only", "new text, less the embedding", "1.53x"):
        assert words in shown
    found = json.loads(json.dumps(as_json(results)))["decision_times"]["decisions on a new text, ms"]
    assert found["embedding"]["count"] == 1
