"""Stored decisions made by chance, of which it is known what another policy would have earned."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from proxy.learning.store import Store
from proxy.learning.stored_rows import DecisionRow
from tests.learning.made import MODELS, made
from tests.learning.rows import row, settings

USUAL = MODELS.index("large")


def log(count: int = 400, *, seed: int = 0, explore: float = 0.6, **fields: Any) -> list[tuple[DecisionRow, float]]:
    """
    Decisions of a route that takes `large` but explores, and their ratings; see `made` for who is good at what.

    Args:
        count: of decisions.
        seed: of all chance.
        explore: the share to explore with; 0 takes `large` alone.
        fields: of all rows.
    """
    rows, draw = made(count, seed=seed), np.random.default_rng(seed + 100)
    found = []
    for at in range(count):
        place = int(draw.integers(len(MODELS))) if draw.random() < explore else USUAL
        chance = explore / len(MODELS) + (1.0 - explore if place == USUAL else 0.0)
        named = {
            "id": f"ptm-{seed}-{at}",
            "completion_id": None,
            "route": "everyday",
            "model": MODELS[place],
            "answered": MODELS[place],
            "reason": "learned",
            "cost_usd": float(rows.costs[at, place]),
            "prompt_tokens": 50,
            "propensity": chance,
            "vector": rows.inputs[at, :768],
            "conversation_hash": b"%08d%08d" % (seed, at),
        }
        found.append((row(at, **{**named, **fields}), float(rows.scores[at, place])))
    return found


def write(file: Path, decisions: Sequence[tuple[DecisionRow, float | None]]) -> str:
    """Keep decisions and their ratings; the URL of the store."""
    url = f"sqlite:///{file}"

    async def written() -> None:
        store = Store(settings(url))
        await store.write([decision for decision, _ in decisions])
        await store.close()

    asyncio.run(written())
    rated = [(decision.id, rating) for decision, rating in decisions if rating is not None]
    with closing(sqlite3.connect(file)) as connection, connection:  # all at once, which the server's way is not
        connection.executemany("INSERT INTO feedback VALUES (?, 'user', ?, NULL, 0)", rated)
    return url


def in_conversations(decisions: list[tuple[DecisionRow, float]], count: int) -> list[tuple[DecisionRow, float]]:
    """The same as the turns of so many conversations."""
    return [(changed([each], conversation_hash=b"%016d" % (at % count))[0]) for at, each in enumerate(decisions)]


def changed(decisions: list[tuple[DecisionRow, float]], **fields: Any) -> list[tuple[DecisionRow, float]]:
    """The same with other values in some columns."""
    return [(msgspec.structs.replace(decision, **fields), rating) for decision, rating in decisions]
