"""Several processes that serve, under one parent that starts, watches and ends them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import wait

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.server import HANDLED_SIGNALS
from uvicorn.supervisors.multiprocess import SIGNALS, Process

from proxy.server.server import EXIT_REFUSED, Server

logger = logging.getLogger(__name__)

_LOOK_S = 0.5
# After a second signal a worker has so long to end by itself.
_FORCED_S = 5.0
# One that did not get as far as to serve is not started again sooner than so long after it was started.
_AGAIN_S = 5.0
_NOT_STARTED = frozenset((STARTUP_FAILURE, EXIT_REFUSED))


def outlive_hangups() -> None:
    """Until somebody listens to it, SIGHUP does nothing, where it would end the process."""
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """
    A process started in the block keeps two signals waiting, which it inherits from this thread.

    SIGHUP until it listens, which takes a second of imports: the parent's own handler is reset in it, so a SIGHUP
    would end it. And SIGINT for good: a terminal sends it to all of them at once, and only the parent should act.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker(Process):
    """A process that serves."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        """As uvicorn's; `start` starts it."""
        super().__init__(config, sockets)
        self.parent_conn.send(b"ping")  # answered once it runs
        self._is_starting = True
        self.has_served = False
        """Whether it got as far as to serve."""
        self.began = time.monotonic()

    def start(self) -> None:
        """Start the process, which alone has its end of the pipe then: once it is gone, nobody waits for its answer."""
        super().start()
        self.child_conn.close()

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """In the process: serve."""
        self.parent_conn.close()  # the parent's end, of which this process got a copy, is the parent's alone
        super().target(sockets)

    def always_pong(self) -> None:
        """In the process, in a thread: answer until the parent is gone, and then drain, since nobody looks after it."""
        with contextlib.suppress(OSError, EOFError):
            super().always_pong()
        if not self.server.should_exit:
            logger.warning("parent is gone")
            os.kill(os.getpid(), signal.SIGTERM)

    def is_alive(self, timeout: float = 5) -> bool:
        """
        Whether it runs and answers in so many seconds.

        Until it has answered for the first time, it need not: it imports, which takes a second alone on a core and may
        take many beside others. One that is killed for that is followed by one that is killed for it too.
        """
        if self._is_starting and self.is_running:
            if not self.parent_conn.poll():
                return True
            with contextlib.suppress(OSError, EOFError):  # it ends in this moment
                self.parent_conn.recv()
            self._is_starting = False
        return super().is_alive(timeout)

    def ping(self, timeout: float = 5) -> bool:
        """Whether it answers in so many seconds; its answer is whether it serves by now."""
        with contextlib.suppress(OSError, EOFError):
            self.parent_conn.send(b"ping")
            if self.parent_conn.poll(timeout):
                self.has_served = self.parent_conn.recv()
                return True
        return False

    def pong(self) -> None:
        """Answer one `ping`."""
        self.child_conn.recv()
        self.child_conn.send(self._server is not None and self._server.started)

    @property
    def server(self) -> uvicorn.Server:
        """The server, made in the process that runs it."""
        if self._server is None:
            self._server = Server(self.config)
        return self._server

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.is_alive()

    def tell(self, number: int) -> None:
        """Send it a signal."""
        if self.is_running and self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Workers:
    """
    The parent. SIGHUP reloads the file in every worker and replaces none; SIGTTIN and SIGTTOU make one more or fewer.

    One that dies is replaced. Where what it starts on has been spoilt since, that is tried again and again, and the
    others serve on.

    SIGTERM and SIGINT drain them all, and it waits as long as they take; a second one makes them end at once. One that
    does not serve yet ends at once by the first.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        *,
        forget: Callable[[int], None],
        greet: Callable[[], None],
    ) -> None:
        """
        Args:
            config: of every worker, with their number.
            listener: bound and listening; closed here once it drains, so that nobody waits in its queue.
            forget: is told the process of each worker that ended before it served, at least once.
            greet: called once the first of them serves.
        """
        self._config = config
        self._listener = listener
        self._forget = forget
        self._greet = greet
        self._workers: list[Worker] = []
        self._leaving: list[Worker] = []
        """Those that were one too many, until they have drained."""
        self._signals: list[int] = []
        self._ends: list[int] = []
        """The signals that ask for the end."""
        self._serves = False
        """Whether any got as far as to serve: then the others may serve on, whatever keeps a new one from it."""
        self._failed: int | None = None
        """What a worker ended with that did not start."""

    def run(self) -> None:
        """
        Serve until a signal ends it.

        Raises:
            SystemExit: no worker started; or with 128 and the signal's number where a second one cut it short, or one
                came before any worker served.
        """
        # Else the first worker's start would start it, and that lets SIGINT through again in this thread.
        resource_tracker.ensure_running()
        with self._waking() as wake:
            for _ in range(self._config.workers):
                self._workers.append(self._start())
            while self._failed is None:
                self._sleep(wake)
                if self._ends:
                    break
                self._replace_the_dead()
            self._drain(wake)
        if self._failed is not None:
            sys.exit(self._failed)
        if len(self._ends) > 1 or all(worker.exitcode for worker in self._workers):
            sys.exit(128 + self._ends[-1])

    def _drain(self, wake: socket.socket) -> None:
        self._listener.close()
        for worker in self._workers:
            worker.tell(signal.SIGTERM)
        asked, kill_at = 1, float("inf")
        while running := [worker for worker in (*self._workers, *self._leaving) if worker.is_running]:
            self._sleep(wake)
            if len(self._ends) > asked:
                asked, kill_at = len(self._ends), time.monotonic() + _FORCED_S
                for worker in running:
                    worker.tell(signal.SIGTERM)
            if time.monotonic() > kill_at:
                for worker in running:
                    worker.kill()

    def _start(self) -> Worker:
        worker = Worker(self._config, [self._listener])
        with _held_back():
            worker.start()
        return worker

    def _replace_the_dead(self) -> None:
        for at, worker in enumerate(self._workers):
            if worker.is_alive(timeout=self._config.timeout_worker_healthcheck):
                if worker.has_served and not self._serves:
                    self._serves = True
                    self._greet()
                continue
            worker.kill()  # it may hang
            worker.join()
            if not worker.has_served and worker.pid is not None:
                self._forget(worker.pid)
            if worker.exitcode in _NOT_STARTED and not self._serves:
                self._failed = worker.exitcode  # and so would the next
                return
            if not worker.has_served and time.monotonic() < worker.began + _AGAIN_S:
                continue
            logger.warning("worker died", extra={"pid": worker.pid, "exit": worker.exitcode})
            self._workers[at] = self._start()
        self._leaving = [worker for worker in self._leaving if worker.is_running]

    @contextlib.contextmanager
    def _waking(self) -> Iterator[socket.socket]:
        """What becomes readable with a signal, which is then in `_signals`."""
        wake, woken = socket.socketpair()
        with wake, woken:
            woken.setblocking(False)
            wake.setblocking(False)
            for number in SIGNALS:
                signal.signal(number, lambda number, _: self._signals.append(number))
            before = signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
            try:
                yield wake
            finally:
                signal.set_wakeup_fd(before)

    def _sleep(self, wake: socket.socket) -> None:
        """Until a signal comes, a worker ends, or it is time to look after them."""
        sentinels = [worker.process.sentinel for worker in (*self._workers, *self._leaving) if worker.is_running]
        wait([wake, *sentinels], timeout=_LOOK_S)
        with contextlib.suppress(BlockingIOError):
            wake.recv(4096)
        while self._signals:
            self._heed(self._signals.pop(0))

    def _heed(self, number: int) -> None:
        name = SIGNALS[number]
        if number in HANDLED_SIGNALS:
            self._ends.append(number)
        elif name == "HUP":
            for worker in self._workers:
                worker.tell(number)
        elif name == "TTIN" and not self._ends:
            self._workers.append(self._start())
        elif name == "TTOU" and not self._ends and len(self._workers) > 1:
            worker = self._workers.pop()
            worker.tell(signal.SIGTERM)
            self._leaving.append(worker)
