"""Configurations that come and go, and what is still done for their requests."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import cast

import pytest

from proxy.endpoints.afterwards import doing_afterwards
from proxy.endpoints.current import Active, Current
from proxy.endpoints.running import Running


class Opened:
    """What was opened for a configuration."""

    def __init__(self, error: Exception | None = None) -> None:
        self.closed = asyncio.Event()
        self._error = error

    def active(self) -> Active:
        return Active(cast("Running", object()), self.close)

    async def close(self) -> None:
        self.closed.set()
        if self._error is not None:
            raise self._error


def test_an_old_one_is_closed_with_its_last_request_and_then_forgotten() -> None:
    async def seen() -> None:
        first, second = Opened(), Opened()
        old = first.active()
        current = Current(old)
        old.enter()
        old.enter()
        current.replace(second.active())
        old.leave()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not first.closed.is_set(), "a request is still under way"
        old.leave()
        await asyncio.wait_for(first.closed.wait(), 5)
        known = weakref.ref(old)
        del old
        await asyncio.sleep(0)
        gc.collect()
        assert known() is None, "else each reload would keep all that its configuration has"
        assert not second.closed.is_set()

    asyncio.run(seen())


def test_the_end_waits_for_no_request_and_closes_all_though_one_fails() -> None:
    async def seen() -> None:
        opened = [Opened(), Opened(RuntimeError()), Opened()]
        actives = [each.active() for each in opened]
        for active in actives:
            active.enter()
        current = Current(actives[0])
        for active in actives[1:]:
            current.replace(active)
        await asyncio.wait_for(current.close(), 5)
        assert all(each.closed.is_set() for each in opened)

    asyncio.run(seen())


def test_what_is_done_afterwards_is_waited_for_no_longer_than_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.endpoints.afterwards._PATIENCE_S", 0.01)

    async def seen() -> str:
        ended = ""

        async def work() -> None:
            nonlocal ended
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended = "cancelled"
                raise

        async with asyncio.timeout(5), doing_afterwards() as afterwards:
            afterwards.start(work())
        return ended

    assert asyncio.run(seen()) == "cancelled"
