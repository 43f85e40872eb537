"""`pointsman serve` with the starter file's store, as an operator runs it."""

from __future__ import annotations

import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.cli.test_serve import HELLO, QUICK, serve

pytestmark = pytest.mark.slow


def test_workers_share_the_store_and_lose_no_row_at_the_end(tmp_path: Path) -> None:
    with serve(tmp_path, "--workers", "2") as served:

        def ask_and_rate(_: int) -> str:
            """On connections of their own, so that any worker gets each."""
            answered = httpx.post(served.url + "/v1/chat/completions", json=HELLO, headers=QUICK, timeout=20)
            told = httpx.post(
                served.url + "/v1/feedback", json={"id": answered.json()["id"], "rating": "up"}, timeout=20
            )
            assert told.status_code == 200, told.text
            return str(told.json()["decision"])

        with ThreadPoolExecutor(4) as threads:
            rated = set(threads.map(ask_and_rate, range(12)))
        metrics = httpx.get(served.url + "/metrics").text
        assert 'pointsman_feedback_total{model="small",rating="up",route="simple"} 12.0' in metrics
        last = httpx.post(served.url + "/v1/chat/completions", json=HELLO, headers=QUICK).headers["x-pointsman-id"]
        served.end(signal.SIGTERM)
    with closing(sqlite3.connect(tmp_path / "pointsman.db")) as connection:
        kept = {name for (name,) in connection.execute("SELECT id FROM decisions")}
        (ratings,) = connection.execute("SELECT count(*) FROM feedback").fetchone()
    assert len(rated) == ratings == 12
    assert kept == rated | {last}
