"""Who is let go of, on systems that do not watch it themselves too."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.server.sending import Sending


class Pipe(asyncio.Transport):
    """One that holds so many bytes, at each look that the watch takes."""

    def __init__(self, *sizes: int) -> None:
        super().__init__({"socket": socket.socket()})
        self.sizes = list(sizes)
        self.settled = asyncio.Event()
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        size = self.sizes.pop(0)
        if not self.sizes:
            self.settled.set()
        return size

    def abort(self) -> None:
        self.is_aborted = True


@pytest.mark.parametrize(
    ("sizes", "is_cut"),
    [
        pytest.param([100, 100], True, id="nothing-is-read"),
        pytest.param([100, 60, 60, 60], True, id="something-and-then-nothing"),
        pytest.param([100, 60, 60, 0, 0], False, id="all-is-read-in-time"),
        pytest.param([0], False, id="nothing-is-there"),
    ],
)
def test_who_reads_nothing_is_cut(sizes: list[int], is_cut: bool) -> None:
    async def case() -> None:
        pipe = Pipe(*sizes)
        with pipe.get_extra_info("socket"):
            Sending(pipe, asyncio.get_running_loop(), 0.01).watch()
            async with asyncio.timeout(5):
                await pipe.settled.wait()
            await asyncio.sleep(0)
        assert pipe.is_aborted == is_cut

    asyncio.run(case())
