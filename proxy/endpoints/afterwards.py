"""What is done for requests when their answers are out, and nothing waits for it but the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

_PATIENCE_S = 1.0


class Afterwards:
    """The tasks of one configuration. What they do when they fail, they say themselves."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this soon; it is cancelled where the configuration ends and it takes more than a second more."""
        task = asyncio.create_task(work, name="afterwards")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let what is under way end, within a second."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_PATIENCE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


@asynccontextmanager
async def doing_afterwards() -> AsyncIterator[Afterwards]:
    """That of one configuration, until the block ends."""
    afterwards = Afterwards()
    try:
        yield afterwards
    finally:
        await afterwards.close()
