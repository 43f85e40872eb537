"""The bench of the store, run small: what it measures is what it says."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.store import rate_among
from proxy.embedding import DIMENSIONS


def test_ratings_among_few_decisions(tmp_path: Path) -> None:
    found = asyncio.run(rate_among(600, 2, tmp_path))
    assert found["rows"] == 600
    assert isinstance(found["bytes_a_row"], float)
    assert found["bytes_a_row"] > 2 * DIMENSIONS, "the vectors are there"
    assert isinstance(found["written_bytes_a_row"], float)
    assert found["written_bytes_a_row"] > 2 * DIMENSIONS
    for kind in ("id", "completion_id", "unknown"):
        assert f"rate_by_{kind}_s" in found
