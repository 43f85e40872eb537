"""The watch as a block: a task for the file and, in a process of its own, SIGHUP."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from proxy.reload.reloader import Reloader


@asynccontextmanager
async def watching(reloader: Reloader) -> AsyncIterator[None]:
    """Reload on change and on SIGHUP for the length of the block."""
    task = asyncio.create_task(reloader.run(), name="reload")
    # An app in a thread, as in a test, has no say about the process's signals.
    takes_signals = sys.platform != "win32" and threading.current_thread() is threading.main_thread()
    loop = asyncio.get_running_loop()
    if takes_signals:
        loop.add_signal_handler(signal.SIGHUP, reloader.ask)
        # The parent of several workers has it held back until here: unheard, it would end the process.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        if takes_signals:
            loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the process ends already, and in order
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
