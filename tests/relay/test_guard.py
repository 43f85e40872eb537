import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from proxy.errors import ShuttingDown
from proxy.relay.body import SHUTTING_DOWN, ClientLeft
from proxy.relay.guard import Deadline, DeadlinePassed, Guard

NEVER = 3600.0


class Wire:
    """`receive` of a client that can hang up, or of a server that can end."""

    def __init__(self, **more: object) -> None:
        self.gone = asyncio.Event()
        self.message = {"type": "http.disconnect", **more}

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return self.message


def run(case: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(5):
            await case()

    asyncio.run(bounded())


@asynccontextmanager
async def unharmed() -> AsyncIterator[None]:
    """After the block this task has no cancellation left, neither counted nor on its way."""
    yield
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {task}


def test_a_block_that_ends_by_itself() -> None:
    async def case() -> None:
        async with unharmed():
            async with Guard(Wire().receive) as guard:
                guard.begin(NEVER)
                guard.expire_in(NEVER, "idle")
            await asyncio.sleep(0)

    run(case)


def test_an_error_of_the_block_passes_through() -> None:
    async def case() -> None:
        async with unharmed():
            with pytest.raises(KeyError):
                async with Guard(Wire().receive):
                    raise KeyError
            await asyncio.sleep(0)

    run(case)


def test_a_client_that_leaves_ends_the_block() -> None:
    async def case() -> None:
        wire, freed = Wire(), False
        async with unharmed():
            with pytest.raises(ClientLeft):
                async with Guard(wire.receive):
                    try:
                        wire.gone.set()
                        await asyncio.Event().wait()
                    finally:
                        freed = True
        assert freed

    run(case)


def test_a_server_that_ends_ends_the_block_as_the_client_can_be_told() -> None:
    async def case() -> None:
        wire = Wire(**{SHUTTING_DOWN: True})
        async with unharmed():
            with pytest.raises(ShuttingDown) as caught:
                async with Guard(wire.receive) as guard:
                    try:
                        wire.gone.set()
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        guard.end_attempt()  # not of its own
                        raise
        assert (caught.value.status, caught.value.code) == (503, "shutting_down")

    run(case)


def test_in_a_pause_the_total_deadline_alone_stands() -> None:
    async def case() -> None:
        with pytest.raises(DeadlinePassed) as caught:
            async with Guard(Wire().receive) as guard:
                guard.begin(0.05)
                guard.expire_in(0.01, "idle")
                guard.pause()
                await asyncio.Event().wait()
        assert (caught.value.deadline, caught.value.in_pause) == ("total", True)

    run(case)


@pytest.mark.parametrize(
    ("total_s", "expected"),
    [pytest.param(NEVER, "first_token", id="own"), pytest.param(0.0, "total", id="total-is-sooner")],
)
def test_a_deadline_ends_the_block(total_s: float, expected: Deadline) -> None:
    async def case() -> None:
        async with unharmed():
            with pytest.raises(DeadlinePassed) as caught:
                async with Guard(Wire().receive) as guard:
                    guard.begin(total_s)
                    guard.expire_in(0.01, "first_token")
                    await asyncio.Event().wait()
        assert (caught.value.deadline, caught.value.in_pause) == (expected, False)
        assert caught.value.seconds == (0.01 if expected == "first_token" else total_s)

    run(case)


def test_the_block_goes_on_after_a_deadline_of_its_own_part() -> None:
    async def case() -> None:
        deadlines: tuple[Deadline, ...] = ("first_token", "idle")
        async with unharmed():
            async with Guard(Wire().receive) as guard:
                guard.begin(NEVER)
                for deadline in deadlines:
                    guard.expire_in(0.0, deadline)
                    with pytest.raises(DeadlinePassed) as caught:
                        try:
                            await asyncio.Event().wait()
                        except asyncio.CancelledError:
                            guard.end_attempt()
                            raise
                    assert caught.value.deadline == deadline
            await asyncio.sleep(0)

    run(case)


def test_the_total_deadline_is_no_part_s_own() -> None:
    """Else another attempt would begin when the time for all is over."""

    async def case() -> None:
        is_passed_on = False
        with pytest.raises(DeadlinePassed):
            async with Guard(Wire().receive) as guard:
                guard.begin(0.0)
                guard.expire_in(NEVER, "idle")
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    guard.end_attempt()
                    is_passed_on = True
                    raise
        assert is_passed_on

    run(case)


def test_a_deadline_does_not_hide_a_cancellation_from_outside() -> None:
    async def case() -> None:
        async def guarded() -> None:
            async with Guard(Wire().receive) as guard:
                guard.end(DeadlinePassed("idle", 1.0))
                task.cancel()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    guard.end_attempt()
                    raise

        task = asyncio.ensure_future(guarded())
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(case)


def test_the_first_cause_is_told() -> None:
    async def case() -> None:
        async with unharmed():
            with pytest.raises(ClientLeft):
                async with Guard(Wire().receive) as guard:
                    guard.end(ClientLeft())
                    guard.end(ShuttingDown("It ends."))
                    await asyncio.Event().wait()

    run(case)


def test_a_deadline_that_is_moved_on_holds_from_then() -> None:
    async def case() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(DeadlinePassed) as caught:
            async with Guard(Wire().receive) as guard:
                guard.expire_in(0.01, "first_token")
                guard.expire_in(0.05, "idle")
                await asyncio.Event().wait()
        assert caught.value.deadline == "idle"
        assert loop.time() - begun >= 0.049

    run(case)


def test_a_deadline_that_is_brought_forward_holds_from_then() -> None:
    async def case() -> None:
        with pytest.raises(DeadlinePassed) as caught:
            async with Guard(Wire().receive) as guard:
                guard.expire_in(NEVER, "first_token")
                guard.expire_in(0.01, "idle")
                await asyncio.Event().wait()
        assert caught.value.deadline == "idle"

    run(case)


def test_release() -> None:
    """What comes after it neither cuts the block nor is an error."""

    async def case() -> None:
        wire = Wire()
        async with unharmed(), Guard(wire.receive) as guard:
            guard.expire_in(0.0, "idle")
            guard.release()
            wire.gone.set()
            for _ in range(5):
                await asyncio.sleep(0)

    run(case)


@pytest.mark.parametrize("both", [False, True], ids=["alone", "with-the-client"])
def test_a_cancellation_from_outside_passes_through(both: bool) -> None:
    async def case() -> None:
        wire, inside = Wire(), asyncio.Event()

        async def guarded() -> None:
            async with Guard(wire.receive):
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.ensure_future(guarded())
        await inside.wait()
        task.cancel()
        if both:
            wire.gone.set()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(case)


@pytest.mark.parametrize("order", ["hang-up-first", "end-first"])
def test_a_block_that_ends_in_the_moment_of_the_hang_up(order: str) -> None:
    """Either it ended or the client left; in both cases nothing is left over that would hit what comes next."""

    async def case() -> None:
        wire, end = Wire(), asyncio.Event()
        async with unharmed():
            with suppress(ClientLeft):
                async with Guard(wire.receive):
                    await asyncio.sleep(0)
                    loop = asyncio.get_running_loop()
                    for step in (wire.gone.set, end.set) if order == "hang-up-first" else (end.set, wire.gone.set):
                        loop.call_soon(step)
                    await end.wait()
            await asyncio.sleep(0)

    run(case)


def test_a_block_that_ends_before_its_cancellation_arrives_has_ended() -> None:
    async def case() -> None:
        async with unharmed():
            async with Guard(Wire().receive) as guard:
                guard.end(ClientLeft())
            await asyncio.sleep(0)

    run(case)


def test_a_block_that_ends_in_its_cancellation_has_ended() -> None:
    async def case() -> None:
        wire = Wire()
        async with unharmed():
            async with Guard(wire.receive):
                wire.gone.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
            await asyncio.sleep(0)

    run(case)


def test_a_cancellation_from_outside_is_not_lost_as_the_block_ends() -> None:
    """The block has taken the hang-up's cancellation and ends; the one from outside, still on its way, arrives."""

    async def case() -> None:
        wire = Wire()

        async def guarded() -> None:
            async with Guard(wire.receive):
                wire.gone.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
                task.cancel()
            await asyncio.sleep(0)

        task = asyncio.ensure_future(guarded())
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(case)


def test_nothing_is_left_to_the_garbage_collector() -> None:
    """Circles of tasks and frames, one a request, were half of the work of a loaded proxy and all of its p99."""

    async def case() -> None:
        async def one() -> None:
            async with Guard(Wire().receive) as guard:
                guard.begin(NEVER)
                guard.expire_in(NEVER, "idle")
                await asyncio.sleep(0)
                guard.release()

        await asyncio.create_task(one())
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await asyncio.create_task(one())
            await asyncio.sleep(0)
            assert gc.collect() < 20
        finally:
            gc.enable()

    run(case)


def test_no_timer_outlives_its_block() -> None:
    """It would hold all of a request for as long as that might have taken."""

    async def case() -> None:
        async with Guard(Wire().receive) as guard:
            guard.begin(NEVER)
            guard.expire_in(NEVER / 2, "first_token")
            guard.expire_in(NEVER / 3, "idle")
        left = weakref.ref(guard)
        del guard
        for _ in range(3):
            await asyncio.sleep(0)
        assert left() is None

    run(case)
