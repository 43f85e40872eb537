"""A client that reads nothing of what it is sent is let go of."""

from __future__ import annotations

import asyncio
import socket
import struct

_NO_LINGER = struct.pack("ii", 1, 0)
_LONGEST_MS = 2**31 - 1


def reset_when_closed(transport: asyncio.Transport) -> None:
    """Let the connection end with a reset, which no client takes for an end; the system drops what it has to send."""
    _socket_of(transport).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)


class Sending:
    """
    Watches that what is written to a connection gets less, from when it piles up until it does not.

    It then cuts the connection, which the app sees as a client that left. What the system has taken to send it watches
    by itself, where it can, also after the connection was closed.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
        self._transport = transport
        self._loop = loop
        self._timeout_s = timeout_s
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0  # bytes, when the timer was set
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = min(int(timeout_s * 1e3), _LONGEST_MS)
            _socket_of(transport).setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def watch(self) -> None:
        """From now on, while nothing more is written."""
        self.stop()
        self._unsent = self._transport.get_write_buffer_size()
        if self._unsent:
            self._timer = self._loop.call_later(self._timeout_s, self._look)

    def stop(self) -> None:
        """No longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        if self._transport.get_write_buffer_size() < self._unsent:
            self.watch()
        else:
            reset_when_closed(self._transport)  # else the system would keep what it has taken to send
            self._transport.abort()


def _socket_of(transport: asyncio.Transport) -> socket.socket:
    found: socket.socket = transport.get_extra_info("socket")
    return found
