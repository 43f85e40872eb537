"""Reloads under load: an answer by half a config is told from a whole one, and a real run has none."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.client import Reply
from bench.echo import DONE, EVENTS, Echoing
from bench.numbered import bad_result, numbered
from bench.reload import BY_RULE, BY_TEXT, KINDS, InUse, Load, Mixed, ask_results, complaints, file_of, judge, phase
from proxy.app import build_app
from proxy.config import ConfigError, parse_config
from proxy.reload.source import ConfigSource
from tests.serving import serving

STREAM = KINDS[3]
MARK = "00000042"


def test_of_twenty_files_five_are_bad_each_in_another_way() -> None:
    files = {number: numbered(number, 1) for number in range(21)}
    bad = {number: result for number in files if (result := bad_result(number))}
    assert list(bad) == [3, 7, 11, 15, 19]
    assert Counter(bad.values()) == {"invalid": 4, "tests_failed": 1}
    said = set()
    for number, text in files.items():
        if bad.get(number) != "invalid":
            parse_config(text, source="f", environ={})
            continue
        with pytest.raises(ConfigError) as error:
            parse_config(text, source="f", environ={})
        said.add(error.value.problems[0].message)
    assert len(said) == 4


PARTS = ("route", "model", "up", "target", "url", "key", "name", "edit", "own")


def reply(number: int = 5, *, stream: bool = False, mark: str = MARK, odd: str | None = None) -> Reply:
    """An answer by file `number`, of which one part may be from another."""
    of = {part: number + (part == odd) for part in PARTS}
    sent = {"user": f"echo-{mark}", "model": f"maxi-{of['name']}", "seed": of["edit"], "metadata": {"file": of["own"]}}
    head = f"POST /file-{of['url']}/v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer sk-{of['key']}\r\nhost: x\r\n\r\n"
    body = json.dumps({"choices": [], "head": head, "body": sent}).encode()
    if stream:
        body = b"".join([b"data: " + body + b"\n\n"] * EVENTS) + DONE
    headers = {"route": f"code-{of['route']}", "model": f"large-{of['model']}"}
    headers["target"] = f"up-{of['up']}/maxi-{of['target']}"
    return Reply(200, {f"x-pointsman-{name}": value for name, value in headers.items()}, body)


@pytest.mark.parametrize("stream", [False, True])
def test_a_whole_answer_is_of_its_file(stream: bool) -> None:
    assert file_of(reply(12, stream=stream), STREAM if stream else BY_TEXT, MARK) == 12


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_another_file_is_seen(part: str) -> None:
    with pytest.raises(Mixed):
        file_of(reply(12, odd=part), BY_TEXT, MARK)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        pytest.param(reply(5), "right", id="in-use"),
        pytest.param(reply(4), "from file 4, where 5 to 6 were in use", id="older-than-what-was-in-use"),
        pytest.param(reply(8), "from file 8, where 5 to 6 were in use", id="not-written-yet"),
        pytest.param(reply(5, mark="00000043"), "mixed: another request's answer: echo-00000043", id="another-s"),
        pytest.param(Reply(502), "status 502", id="error"),
        pytest.param(Reply(200, {}, reply().body[:-3]), "not whole", id="cut"),
    ],
)
def test_words(answer: Reply, word: str) -> None:
    assert judge(answer, BY_TEXT, MARK, 5, 6)[0].startswith(word)
    assert judge(reply(7), BY_TEXT, MARK, 5, 9)[0].startswith("from file 7"), "a bad file decides nothing"
    assert judge(reply(5), BY_RULE, MARK, 5, 6)[0].startswith("mixed"), "another way than asked for"


def test_a_run_with_a_wrong_answer_or_a_lost_reload_fails() -> None:
    right, wrong = Load(counts=Counter(right=9)), Load(counts=Counter({"right": 9, "lost": 1}))
    as_sent = Counter(ok=3, invalid=1)
    assert complaints([right], as_sent, Counter(ok=3, invalid=1, unchanged=0)) == []
    assert complaints([right, wrong], as_sent, as_sent) == ["1 x lost"]
    assert "reloads ended" in complaints([right], as_sent, Counter(ok=2, invalid=2))[0]


@contextmanager
def echoing() -> Iterator[int]:
    """The bench's upstream, in a thread; its port."""
    loop, listener = asyncio.new_event_loop(), socket.create_server(("127.0.0.1", 0))
    connections: list[Echoing] = []

    def connected() -> Echoing:
        connections.append(Echoing())
        return connections[-1]

    async def close() -> None:
        server.close()
        for connection in connections:
            connection.transport.abort()
        await asyncio.sleep(0)  # a transport is closed in the turn of the loop after its abort

    server = loop.run_until_complete(loop.create_server(connected, sock=listener))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.slow
def test_twenty_reloads_under_load(tmp_path: Path) -> None:
    """The bench's own run, small: 32 connections, 20 files of which 5 are bad, on the real embedding model."""
    path = tmp_path / "routes.yaml"
    with echoing() as upstream:
        path.write_text(numbered(0, upstream))
        source = ConfigSource(path, {})
        load, in_use = Load(), InUse()
        with serving(build_app(source.load(), source=source, poll_s=0.02)) as served:
            files = [(number, numbered(number, upstream)) for number in range(1, 21)]
            asyncio.run(phase(served.port, 32, 1.0, load, path, files, in_use))
            ended = asyncio.run(ask_results(served.port))
    assert complaints([load], Counter(ok=15, invalid=4, tests_failed=1), ended) == []
    assert load.counts["right"] > 100
    assert len(load.files) > 5, "many of the files were met"
