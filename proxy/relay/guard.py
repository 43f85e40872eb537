"""A block that ends early when the client hangs up, the server ends or a deadline passes."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Literal, Self

from starlette.types import Receive

from proxy.relay.body import why_ended

Deadline = Literal["connect", "first_token", "whole_answer", "idle", "total"]


class DeadlinePassed(Exception):
    """Something took too long; `deadline` says what."""

    def __init__(self, deadline: Deadline, seconds: float, *, in_pause: bool = False) -> None:
        """
        Args:
            deadline: which.
            seconds: that it gave.
            in_pause: whether it passed while nothing was awaited of an upstream.
        """
        super().__init__(deadline)
        self.deadline = deadline
        self.seconds = seconds
        self.in_pause = in_pause


class Guard:
    """
    Runs its block until it ends, the client hangs up, the server ends or a deadline passes, whichever is first.

    Enter it once the body is read: after that, all `receive` can bring is the end. Leaving the block raises
    `ClientLeft`, `ShuttingDown` or `DeadlinePassed` where the block was cut short; what the block holds is freed by
    its own `finally`, as under any cancellation.

    One task and at most one timer a request: moving the deadline on, which a stream does with each piece, only
    notes the new time, and the timer looks at it when it fires.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0
        self._total_s = self._total_at = math.inf
        self._deadline: tuple[Deadline, float] = ("total", 0.0)
        self._is_paused = False
        self._cause: Exception | None = None

    def begin(self, total_s: float) -> None:
        """End the block so many seconds from now at the latest; the clock that `expire_in` cannot move."""
        self._total_s = total_s
        self._total_at = self._loop.time() + total_s

    def expire_in(self, seconds: float, deadline: Deadline) -> None:
        """End the block so many seconds from now, instead of at the deadline that was set before."""
        self._is_paused = False
        self._until = self._loop.time() + seconds
        self._deadline = (deadline, seconds)
        if self._total_at < self._until:
            self._until = self._total_at
            self._deadline = ("total", self._total_s)
        if self._timer is None or self._until < self._timer.when():
            self._arm()

    def end_attempt(self) -> None:
        """
        A part of the block was cancelled; if only a deadline of its own is why, the block goes on.

        Raises:
            DeadlinePassed: it is, and passed. For any other reason, the total deadline among them, the caller should
                let the cancellation pass.
        """
        passed = self._cause
        if not isinstance(passed, DeadlinePassed) or passed.deadline == "total":
            return
        assert self._task is not None
        if self._task.cancelling() > 1:  # others asked for it too
            return
        self._task.uncancel()
        self._cause = None
        raise passed from None

    def pause(self) -> None:
        """Nothing is awaited of an upstream: only the total deadline stands."""
        self._is_paused = True
        self._until = self._total_at  # not sooner than before, so the timer need not be set anew
        self._deadline = ("total", self._total_s)
        if self._timer is None:
            self._arm()

    def release(self) -> None:
        """
        Let the block end by itself from here on, whatever the client does.

        Call it before the answer's last byte is sent: after that `receive` reports the end of the request in the
        same words as a hang-up.
        """
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None  # it knows this guard, and a circle would wait for the garbage collector
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self._watch = self._loop.create_task(self._wait_for_the_client())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        task, self._task = self._task, None
        self.release()
        if self._cause is None:
            return
        asked_by_others = task.uncancel() > 0
        if kind is None or not issubclass(kind, asyncio.CancelledError):
            # The block ended by itself in the moment of its cancellation, which is still to be delivered.
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                if asked_by_others:
                    raise
        elif not asked_by_others:
            raise self._cause from None

    async def _wait_for_the_client(self) -> None:
        while (message := await self._receive())["type"] != "http.disconnect":
            pass
        self.end(why_ended(message))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._until, self._look)

    def _look(self) -> None:
        self._timer = None  # uvloop's is nothing once it has fired
        if self._loop.time() < self._until:
            self._arm()
        else:
            self.end(DeadlinePassed(*self._deadline, in_pause=self._is_paused))

    def end(self, cause: Exception) -> None:
        """End the block, and raise this where it was cut short."""
        if self._cause is None and self._task is not None:
            self._cause = cause
            self._task.cancel()
