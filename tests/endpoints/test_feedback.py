"""POST /v1/feedback, and the rows that decisions leave behind."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from proxy.app import build_app
from proxy.learning.stored_facts import asked_of
from proxy.learning.stored_rows import vector_of
from proxy.reload.source import ConfigSource
from proxy.routing.shape import shape_of
from proxy.simulator import build_simulator
from tests.relay.wire import MESSAGES, ROUTES, SSE, Exchange, House, WordModel, word_model
from tests.relay.wire import house as open_house
from tests.serving import serving

STORED = ROUTES + "store: sqlite:///${STORE}\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "decisions.db"


@pytest.fixture(scope="module")
def stored(file: Path) -> Iterator[House]:
    with open_house(STORED, environ={"STORE": str(file)}) as house:
        yield house


def rows(file: Path, table: str = "decisions", where: str = "1") -> list[dict[str, Any]]:
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table} WHERE {where}")]


def rate(house: House, named: str, rating: object = "up", *, headers: Any = None, **fields: object) -> httpx.Response:
    return house.http.post("/v1/feedback", json={"id": named, "rating": rating, **fields}, headers=headers)


def test_a_rating_takes_the_place_of_what_was_none(stored: House, file: Path) -> None:
    decision = stored.chat().headers["x-pointsman-id"]
    assert rate(stored, decision).status_code == 200
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE feedback SET rating = 'up' WHERE decision_id = ?", (decision,))
    told = rate(stored, decision, 0.25)
    assert (told.status_code, told.json()["replaced"]) == (200, False)
    (row,) = rows(file, "feedback", f"decision_id = '{decision}'")
    assert row["rating"] == 0.25


def test_a_decision_is_rated_by_its_id_and_its_row_is_there(stored: House, file: Path) -> None:
    answered = stored.chat()
    decision = answered.headers["x-pointsman-id"]
    told = rate(stored, decision, 0.75, comment="nice")
    assert told.status_code == 200
    assert told.json() == {
        "id": decision, "decision": decision, "rating": 0.75, "source": "user", "route": "pinned", "model": "sim",
        "replaced": False,
    }  # fmt: skip
    (row,) = rows(file, where=f"id = '{decision}'")
    assert (row["route"], row["model"], row["answered"], row["reason"]) == ("pinned", "sim", "sim", "pinned")
    assert row["completion_id"] == answered.json()["id"]
    (rating,) = rows(file, "feedback", f"decision_id = '{decision}'")
    assert (rating["source"], rating["rating"], rating["comment"]) == ("user", 0.75, "nice")


def test_ids_begin_with_their_second_and_go_on_at_random(stored: House) -> None:
    before = int(time.time())
    ids = [stored.chat().headers["x-pointsman-id"] for _ in range(20)]
    assert all(re.fullmatch("ptm-[0-9a-f]{24}", each) for each in ids)
    assert all(before <= int(each[4:12], 16) <= time.time() for each in ids), "side by side in the store's index"
    assert len({each[12:20] for each in ids} | {each[20:] for each in ids}) == 40


STREAMED = b"".join(
    b"data: " + json.dumps({"id": "chatcmpl-streamed", "choices": [{"index": 0, **choice}]}).encode() + b"\n\n"
    for choice in (
        {
            "delta": {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": '{"a"'}}]},
            "finish_reason": None,
        },
        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": ": "}}]}, "finish_reason": None},
        {"delta": {}, "finish_reason": "length"},
    )
)


def one_row(file: Path, house: House, decision: str) -> dict[str, Any]:
    """The row of a decision, which is there once it can be rated."""
    assert rate(house, decision, source="test").status_code == 200
    (row,) = rows(file, where=f"id = '{decision}'")
    return row


def test_a_stream_is_rated_by_the_completions_own_id_and_tells_how_it_ended(stored: House, file: Path) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(SSE + STREAMED + b"data: [DONE]\n\n")
        exchange.cut()

    stored.raw.script = answer
    answered = stored.chat("raw", stream=True)
    told = rate(stored, "chatcmpl-streamed", 5, scale=5)
    assert told.json()["decision"] == answered.headers["x-pointsman-id"]
    (row,) = rows(file, where="completion_id = 'chatcmpl-streamed'")
    assert (row["finish_reason"], row["is_cut"], row["bad_tool_calls"], row["is_stream"]) == ("length", 1, 1, 1)


CHUNK = b'data: {"id": "%s", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": null}]}\n\n'


def test_a_stream_that_broke_off_is_rated_by_the_completions_own_id(stored: House, file: Path) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(SSE.replace(b"connection: close", b"content-length: 9999") + CHUNK % b"chatcmpl-broken")
        exchange.cut()

    stored.raw.script = answer
    answered = stored.chat("raw", stream=True)
    assert rate(stored, "chatcmpl-broken").json()["decision"] == answered.headers["x-pointsman-id"]
    (row,) = rows(file, where="completion_id = 'chatcmpl-broken'")
    assert (row["outcome"], row["finish_reason"], row["bad_tool_calls"]) == ("cut", None, None)


def test_a_stream_that_its_client_stopped_is_rated_by_the_completions_own_id(stored: House, file: Path) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(SSE + CHUNK % b"chatcmpl-stopped")
        exchange.wait_until_left()

    stored.raw.script = answer
    body = {"model": "raw", "messages": MESSAGES, "stream": True}
    with stored.http.stream("POST", "/v1/chat/completions", json=body) as answered:
        assert "chatcmpl-stopped" in next(answered.iter_lines())
    assert rate(stored, "chatcmpl-stopped").json()["decision"] == answered.headers["x-pointsman-id"]
    (row,) = rows(file, where="completion_id = 'chatcmpl-stopped'")
    assert (row["outcome"], row["finish_reason"], row["bad_tool_calls"]) == ("client_left", None, None)


def test_the_vector_that_a_decision_was_made_on_is_kept(stored: House, file: Path) -> None:
    text = "fix the bug in the code"
    answered = stored.http.post(
        "/v1/chat/completions", json={"model": "auto", "messages": [{"role": "user", "content": text}]}
    )
    row = one_row(file, stored, answered.headers["x-pointsman-id"])
    assert row["reason"] == "topic"
    assert np.allclose(vector_of(row["vector"]), WordModel().embed(text), atol=1e-3)
    assert asked_of(row["facts"])[1] == pytest.approx(shape_of(text), rel=1e-3)
    assert row["text"] is None
    pinned = one_row(file, stored, stored.chat().headers["x-pointsman-id"])
    assert pinned["vector"] is None
    assert "shape" not in json.loads(pinned["facts"])


def test_what_rules_ask_for_is_kept_and_no_other_header(stored: House, file: Path) -> None:
    answered = stored.chat(headers={"x-priority": "low", "x-other": "my-secret-header", "x-pointsman-prefer": "cheap"})
    facts = json.loads(one_row(file, stored, answered.headers["x-pointsman-id"])["facts"])
    assert (facts["model"], facts["headers"]) == ("sim", {"x-priority": "low", "x-pointsman-prefer": "cheap"})


def test_neither_texts_nor_keys_are_in_the_file(stored: House, file: Path) -> None:
    messages = [{"role": "user", "content": "my-secret-prompt"}]
    answered = stored.http.post(
        "/v1/chat/completions",
        json={"model": "auto", "messages": messages},
        headers={"authorization": "Bearer sk-my-secret-key"},
    )
    told = rate(stored, answered.headers["x-pointsman-id"], headers={"x-api-key": "sk-my-secret-key"})
    assert told.status_code == 200
    for path in file.parent.iterdir():
        assert b"my-secret" not in path.read_bytes()


def test_a_decision_of_another_key_is_unknown(stored: House) -> None:
    alice = {"authorization": "Bearer sk-alice"}
    decision = stored.chat("other", headers=alice).headers["x-pointsman-id"]
    for headers in ({"authorization": "Bearer sk-bob"}, None):
        told = rate(stored, decision, headers=headers)
        unknown = rate(stored, "ptm-unknown", headers=headers)
        assert told.status_code == unknown.status_code == 404
        assert told.json()["error"]["code"] == unknown.json()["error"]["code"] == "decision_not_found"
    assert rate(stored, decision, headers=alice).status_code == 200


def test_the_same_again_replaces_and_is_counted_once(stored: House) -> None:
    decision = stored.chat().headers["x-pointsman-id"]

    def counted(kind: str) -> float:
        return stored.metric(f'pointsman_feedback_total{{model="sim",rating="{kind}",route="pinned"}}')

    up, down = counted("up"), counted("down")
    told = [rate(stored, decision, rating, source="me").json()["replaced"] for rating in ("up", 0.9, "down", "down")]
    assert told == [False, True, True, True]
    assert (counted("up") - up, counted("down") - down) == (1, 1)


def test_a_retry_names_the_decision_before(stored: House, file: Path) -> None:
    alice = {"authorization": "Bearer sk-alice"}
    first, second = (stored.chat("other", headers=alice, user="u") for _ in range(2))
    assert rate(stored, second.headers["x-pointsman-id"], headers=alice).status_code == 200
    found = {row["id"]: row["retry_of"] for row in rows(file)}
    assert found[second.headers["x-pointsman-id"]] == first.headers["x-pointsman-id"]
    assert found[first.headers["x-pointsman-id"]] is None
    nobody = [stored.chat("other") for _ in range(2)]
    assert one_row(file, stored, nobody[1].headers["x-pointsman-id"])["retry_of"] is None, "it may be a stranger"


def test_a_failure_is_kept_too(stored: House, file: Path) -> None:
    row = one_row(file, stored, stored.chat("dead").headers["x-pointsman-id"])
    assert (row["status"], row["outcome"], row["error"]) == (502, "unreachable", "upstream_unavailable")
    assert (row["completion_id"], row["finish_reason"], row["bad_tool_calls"]) == (None, None, None)


def test_bad_feedback_is_told_in_openais_envelope(stored: House) -> None:
    told = rate(stored, "ptm-1", 7)
    assert told.status_code == 400
    assert told.json()["error"]["param"] == "rating"
    assert rate(stored, "ptm-1", comment="x" * 100_000).status_code == 413
    assert stored.http.get("/v1/feedback").status_code == 405


def test_without_a_store_it_is_said_that_there_is_none(house: House) -> None:
    told = rate(house, house.chat().headers["x-pointsman-id"])
    assert told.status_code == 501
    assert told.json()["error"]["code"] == "no_store"
    assert "store" in told.json()["error"]["message"]
    assert "pointsman_store" not in house.http.get("/metrics").text


def test_replicas_that_share_a_store_take_each_others_feedback(file: Path, stored: House) -> None:
    with open_house(STORED, environ={"STORE": str(file)}) as other:
        answered = stored.chat(headers={"authorization": "Bearer sk-alice"})
        told = rate(other, answered.json()["id"], headers={"authorization": "Bearer sk-alice"})
        assert told.json()["decision"] == answered.headers["x-pointsman-id"]
        again = rate(stored, answered.headers["x-pointsman-id"], "down", headers={"authorization": "Bearer sk-alice"})
        assert again.json()["replaced"] is True


def test_a_text_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    text = ROUTES + "store: {url: 'sqlite:///${STORE}', text: true}\n"
    with open_house(text, environ={"STORE": str(file)}) as house:
        row = one_row(file, house, house.chat().headers["x-pointsman-id"])
    assert row["text"] == "hello there"


def test_a_store_that_cannot_be_written_fails_no_request(tmp_path: Path) -> None:
    with open_house(STORED, environ={"STORE": str(tmp_path / "nowhere" / "store.db")}) as house:
        answered = house.chat()
        assert answered.status_code == 200
        told = rate(house, answered.headers["x-pointsman-id"])
        assert told.status_code == 503
        assert told.json()["error"]["code"] == "store_unavailable"
        assert told.headers["retry-after"]
        series = 'pointsman_feedback_total{model="sim",rating="down",route="pinned"} 0.0'
        assert series in house.http.get("/metrics").text, "a first rating of a way is seen as a rise"


def test_a_store_comes_and_goes_with_the_file(tmp_path: Path) -> None:
    """A reload that changes the store takes effect; what waited for the one before is written."""
    routes, file = tmp_path / "routes.yaml", tmp_path / "store.db"
    with serving(build_simulator(pace=0)) as sim:
        base = f"""
version: 1
upstreams: {{up: {{base_url: "{sim.url}/up/v1"}}}}
models: {{sim: {{target: {{upstream: up, name: gpt-4o}}}}}}
default: sim
"""
        routes.write_text(base)
        source = ConfigSource(routes, {})
        with (
            serving(build_app(source.load(), load_model=word_model, source=source, poll_s=0.01)) as served,
            httpx.Client(base_url=served.url, timeout=10) as http,
        ):

            def reload(text: str, status: int) -> str:
                fresh = routes.with_suffix(".new")
                fresh.write_text(text)
                fresh.replace(routes)
                deadline = time.monotonic() + 10
                while http.post("/v1/feedback", json={"id": "ptm-0", "rating": 1}).status_code != status:
                    assert time.monotonic() < deadline
                answered = http.post("/v1/chat/completions", json={"model": "auto", "messages": MESSAGES})
                return answered.headers["x-pointsman-id"]

            first = reload(base + f"store: sqlite:///{file}\n", 404)
            reload(base + "store: none\n", 501)
            deadline = time.monotonic() + 10
            while not rows(file):
                assert time.monotonic() < deadline
            assert [row["id"] for row in rows(file)] == [first]


def test_a_store_that_refuses_a_rating_is_no_mistake_of_ours(stored: House, file: Path) -> None:
    """As one is that is full, or has been made to take no more: its caller may try again."""
    decision = stored.chat().headers["x-pointsman-id"]
    assert rate(stored, decision).status_code == 200
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TRIGGER no_more BEFORE UPDATE ON feedback BEGIN SELECT RAISE(ABORT, 'no more'); END")
    try:
        told = rate(stored, decision, "down")
    finally:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("DROP TRIGGER no_more")
    assert (told.status_code, told.json()["error"]["code"]) == (503, "store_unavailable")
    assert rate(stored, decision, "down").status_code == 200
