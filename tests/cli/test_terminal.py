"""Tables on terminals of several widths: of what a command says nothing is broken where a terminal ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest
from rich.cells import cell_len

from proxy.learning.store import Store
from proxy.learning.stored_rows import Rating
from tests.learning.rows import row, settings

HEADS = (
    "decisions", "errors", "USD", "saved USD", "rated", "rating", "asked again", "prompt", "cached", "answer", "cut",
    "bad calls", "p50", "p95", "first p50", "first p95",
)  # fmt: skip
_STEERING = re.compile(r"\x1b\[[0-9;]*m")


def shown(arguments: list[str], columns: int) -> list[str]:
    """What a command says in a terminal that is so wide, line by line."""
    ours, its = os.openpty()
    try:
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("4H", 40, columns, 0, 0))
        command = [sys.executable, "-m", "proxy", *arguments]
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        with subprocess.Popen(
            command, stdout=its, stdin=its, stderr=its, env=environment | {"TERM": "xterm"}
        ) as running:
            os.close(its)
            said = b""
            with suppress(OSError):  # as Linux tells that the other side is closed
                while piece := os.read(ours, 65_536):
                    said += piece
        assert running.returncode == 0, said
    finally:
        os.close(ours)
    return [line.rstrip() for line in _STEERING.sub("", said.decode()).splitlines()]


@pytest.fixture
def store(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/store.db"

    async def fill() -> None:
        base = Store(settings(url))
        names = [("simple", "small"), ("reasoning", "meta-llama/Meta-Llama-3.1-70B-Instruct"), ("翻訳", "mittel")]
        for number, (route, model) in enumerate(names):
            await base.write([row(number, route=route, model=model, answered=model, cost_usd=0.0125)])
            assert await base.rate(Rating(f"ptm-{number}", 1.0, "user"), None) is not None
        await base.close()

    asyncio.run(fill())
    return url


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_a_report_is_as_wide_as_the_terminal(store: str, columns: int) -> None:
    lines = shown(["report", "--store", store], columns)
    assert max(map(cell_len, lines)) <= columns
    parts = [line for line in lines if line.startswith("route")]
    heads = [head for line in parts for head in re.split(r" {2,}", line)[2:]]
    assert tuple(heads) == HEADS, "each once, whole and in its place"
    assert len(parts) == {60: 7, 80: 5, 120: 4, 200: 2}[columns]
    for route in ("simple", "reasoning", "翻訳", "all"):
        assert sum(line.startswith(f"{route} ") for line in lines) == len(parts), "by each part's rows a name"
    assert sum("0.0125" in line for line in lines) == 3
