"""
`python -m bench.learning_scale`: how long it takes to learn from a million stored decisions, and in how much memory.

A SQLite file is filled as the server fills it, by a route that takes `large` and explores; a share of the decisions is
rated, by chances that hang on the text's vector. Then all decisions are read once as commands read them, and the real
`pointsman train --store` and `pointsman evaluate --store` run on it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from itertools import islice
from pathlib import Path

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.prompts import texts
from bench.store import row
from proxy.config import Store as Settings
from proxy.config import StoreUrl, Text
from proxy.embedding import DIMENSIONS
from proxy.learning.archive import Archive
from proxy.learning.store import Store
from proxy.learning.stored_facts import kept
from proxy.routing.asks import Asks
from proxy.routing.chat import prompt_body, read_chat
from proxy.routing.shape import shape_of

MODELS = ("large", "small", "coder")
CHANCES = ((0.85, 0.9, 0.2), (0.85, 0.2, 0.9))
"""Of a good answer, by the kind of text and by model."""
COSTS = (0.01, 0.001, 0.001)
_AT_ONCE = 500


async def fill(url: str, file: Path, rows: int, rated: float, explore: float) -> None:
    """Decisions as the server writes them, and ratings of some."""
    store, draw = Store(Settings(StoreUrl(url), rows=10 * rows)), np.random.default_rng(0)
    facts = [_facts(text) for text in islice(texts(0), _AT_ONCE)]
    await store.open()
    for start in track(range(0, rows, _AT_ONCE), f"{rows:,} decisions"):
        count = min(_AT_ONCE, rows - start)
        kinds = draw.integers(0, 2, count)
        vectors = draw.normal(0, 0.03, (count, DIMENSIONS)).astype(np.float32)
        vectors[:, 0] += np.where(kinds == 1, 0.6, -0.6)
        vectors[:, 400] += 0.3
        places = np.where(draw.random(count) < explore, draw.integers(0, len(MODELS), count), 0)
        decisions, ratings = [], []
        for at, (kind, place) in enumerate(zip(kinds.tolist(), places.tolist(), strict=True)):
            chance = explore / len(MODELS) + (1.0 - explore if place == 0 else 0.0)
            one = msgspec.structs.replace(
                row(start + at, vectors[at]), route="everyday", reason="learned", model=MODELS[place],
                answered=MODELS[place], cost_usd=COSTS[place], propensity=chance, facts=facts[at],
            )  # fmt: skip
            decisions.append(one)
            if draw.random() < rated:
                ratings.append((one.id, float(draw.random() < CHANCES[kind][place])))
        await store.write(decisions)
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.executemany("INSERT INTO feedback VALUES (?, 'user', ?, NULL, 0)", ratings)
    await store.close()


def _facts(text: str) -> str:
    """What is kept of a request besides its text."""
    return kept(read_chat(prompt_body(text), {}), Asks(), Text(), shape_of(text))


def read_all(url: str) -> tuple[int, int]:
    """How many decisions there are, and how many of them are rated; all of their vectors are read."""
    found = rated = 0
    with Archive(Settings(StoreUrl(url))) as archive:
        for piece in archive.decisions(["id", "model", "propensity", "cost_usd", "vector"]):
            found += len(piece)
            rated += sum(each.ratings > 0 for each in piece)
    return found, rated


def timed(arguments: list[str]) -> tuple[float, float, float, dict[str, object]]:
    """Seconds, processor seconds, the most memory in MB, and what a command of ours told."""
    began, environment = time.perf_counter(), os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([sys.executable, "-m", "proxy", *arguments, "--json"], stdout=out, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        told = out.read().decode()
    if process.returncode:
        raise click.ClickException(f"{arguments[0]} ended with {process.returncode}: {told}")
    seconds = time.perf_counter() - began
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, json.loads(told)


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Decisions in the store.")
@click.option("--rated", default=0.2, show_default=True, help="The share of them with feedback.")
@click.option("--explore", default=0.05, show_default=True, help="As in routes.yaml.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the store here, and use the one that is there.")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def main(rows: int, rated: float, explore: float, folder: Path | None, as_json: bool) -> None:
    """Measure learning from the store."""
    with tempfile.TemporaryDirectory(prefix="bench-learning-") as temporary:
        place = folder or Path(temporary)
        file = place / f"{rows}.db"
        url, out, old = f"sqlite:///{file}", Path(temporary) / "policy.npz", Path(temporary) / "old.npz"
        if not file.exists():
            asyncio.run(fill(url, file, rows, rated, explore))
        began = time.perf_counter()
        found: dict[str, object] = {"decisions": 0, "rated": 0}
        found["decisions"], found["rated"] = read_all(url)
        found["read_s"] = time.perf_counter() - began
        for name, arguments in {
            "train": ["train", "--store", url, "--out", str(out)],
            "evaluate": ["evaluate", str(out), "--store", url, "--limit", "10000"],
            "train_implicit": ["train", "--store", url, "--out", str(old), "--implicit"],
        }.items():
            seconds, used, memory, told = timed(arguments)
            told = {key: told.get(key) for key in ("rows", "read", "at_logged_cost", "logged")}
            found[name] = {"seconds": seconds, "cpu_s": used, "most_memory_mb": memory, **told}
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table("", "", title="Learning from the store")
    for name, figure in found.items():
        table.add_row(name, json.dumps(figure))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
