"""
`python -m bench.tasks FILE serve ...`: `pointsman serve ...` in a process that on SIGUSR1 writes into the file how many
asyncio tasks it has. Nothing in Pointsman itself tells, so that nothing there need be kept for it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from bench.processes import NotReady

__all__ = ["count_tasks"]


def count_tasks(pid: int, file: Path, patience_s: float = 5.0) -> int:
    """
    Ask the process that was started with this file. It must serve already: before that the signal would end it.

    Raises:
        NotReady: it does not say.
    """
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    ends = time.monotonic() + patience_s
    while time.monotonic() < ends:
        if file.exists():
            return int(file.read_text())
        time.sleep(0.01)
    raise NotReady("it does not say how many tasks it has")


def _tell(file: Path) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(str(len(asyncio.all_tasks())))
    fresh.replace(file)


def main() -> None:
    from proxy.cli import main as pointsman

    file = Path(sys.argv.pop(1))
    signal.signal(signal.SIGUSR1, lambda *_: _tell(file))
    pointsman(prog_name="pointsman")


if __name__ == "__main__":
    main()
