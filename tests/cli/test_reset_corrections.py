"""`pointsman reset-corrections`; what it does to servers is in tests/endpoints/test_policy.py."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from proxy.learning.store import Store
from proxy.learning.stored_rows import Rating
from tests.cli.test_commands import pointsman, written
from tests.learning.rows import row, settings
from tests.routing.requests import BASE


def test_it_tells_what_it_did(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"

    async def rate() -> None:
        store = Store(settings(url))
        predicted = {"policy": "p1", "region": 2, "predicted": 0.75}
        await store.write([row(1, **predicted, answered="small"), row(2), row(3, **predicted, answered="large")])
        for number in (1, 2, 3):
            await store.rate(Rating(f"ptm-{number}", 1.0, "user"), None)
        await store.close()

    asyncio.run(rate())
    # The policy is another program's, and the store is the same: what hurries need not wait for that.
    path = written(tmp_path, BASE + f"policy: {tmp_path / 'none.npz'}\nstore: {url}\ncorrections: {{every: 90s}}\n")
    first = pointsman("reset-corrections", "-c", str(path))
    assert first.exit_code == 0, first.output
    assert first.stdout == (
        f"{url}: 1 rating no longer counts for corrections, which are 0 from now on. Servers that share this store "
        "take it up within 90 s. The ratings are kept.\n"
    )
    again = pointsman("reset-corrections", "-c", str(path), "--json")
    assert json.loads(again.stdout) == {"store": url, "ratings": 0, "every_s": 90.0}


@pytest.mark.parametrize(
    ("store", "code", "said"),
    [
        pytest.param("", 1, "has no store, so no feedback is kept", id="none"),
        pytest.param("store: sqlite:///nowhere.db\n", 1, "nowhere.db is not there, from", id="another-folder"),
        pytest.param("store: sqlite:////{folder}/r.yaml\n", 1, "not a database; nothing was reset", id="no-database"),
        pytest.param("store: postgresql://me:hunter2@db/x?port=1,2\n", 1, "its driver refuses the URL", id="an-option"),
        pytest.param("store: mysql://me:hunter2@db/x\n", 2, "expected none, sqlite:///FILE", id="a-mistake"),
    ],
)
def test_what_cannot_be_reset_is_told(tmp_path: Path, store: str, code: int, said: str) -> None:
    path = written(tmp_path, BASE + store.replace("{folder}", str(tmp_path)[1:]))
    told = pointsman("reset-corrections", "-c", str(path))
    assert told.exit_code == code
    assert said in told.output
    assert "hunter2" not in told.output
    assert "Traceback" not in told.output
