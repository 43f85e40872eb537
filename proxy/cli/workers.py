"""Several workers under one parent: uvicorn's, except that SIGHUP reloads the file instead of replacing processes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from uvicorn.supervisors import Multiprocess


def outlive_hangups() -> None:
    """Until somebody listens to it, SIGHUP does nothing, where it would end the process."""
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """
    A process started in the block keeps SIGHUP waiting until it listens, which takes a second of imports.

    It inherits that from this thread. The parent's own handler is reset in it, so a SIGHUP would end it.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Workers(Multiprocess):
    """The parent of the workers."""

    def init_processes(self) -> None:
        """Start them."""
        with _held_back():
            super().init_processes()

    def keep_subprocess_alive(self) -> None:
        """Replace those that ended."""
        with _held_back():
            super().keep_subprocess_alive()

    def handle_ttin(self) -> None:
        """One worker more."""
        with _held_back():
            super().handle_ttin()

    def handle_hup(self) -> None:
        """Pass it on: each worker reads the file by itself, and no connection is cut."""
        for process in self.processes:
            if process.pid is not None and process.exitcode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGHUP)
