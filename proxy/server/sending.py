"""A client that reads nothing of what it is sent is let go of."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

if sys.platform == "linux":
    import fcntl
    import termios

_NO_LINGER = struct.pack("ii", 1, 0)
_LONGEST_MS = 2**31 - 1


def reset_when_closed(transport: asyncio.Transport) -> None:
    """Let the connection end with a reset, which no client takes for an end; the system drops what it has to send."""
    _socket_of(transport).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)


class Sending:
    """
    Watches that what is written to a connection gets less, from when it piles up until it does not.

    It then cuts the connection, which the app sees as a client that left. The system takes more to send only when it
    has got rid of much, so a client that reads slowly shows in what it has taken, where it tells. When nothing is left
    but that, it watches it by itself, where it can, also after the connection was closed.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
        self._transport = transport
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0  # bytes, when the timer was set
        self.limit(timeout_s)

    def limit(self, timeout_s: float) -> None:
        """Cut it after so many seconds, from the next look on."""
        self._timeout_s = timeout_s
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = min(int(timeout_s * 1e3), _LONGEST_MS)
            _socket_of(self._transport).setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def watch(self) -> None:
        """From now on, while nothing more is written."""
        self.stop()
        self._unsent = self._count()
        if self._unsent:
            self._timer = self._loop.call_later(self._timeout_s, self._look)

    def stop(self) -> None:
        """No longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _count(self) -> int:
        piled_up = self._transport.get_write_buffer_size()
        return piled_up + _queued(_socket_of(self._transport)) if piled_up else 0

    def _look(self) -> None:
        if self._count() < self._unsent:
            self.watch()
        else:
            reset_when_closed(self._transport)  # else the system would keep what it has taken to send
            self._transport.abort()


def _socket_of(transport: asyncio.Transport) -> socket.socket:
    found: socket.socket = transport.get_extra_info("socket")
    return found


def _queued(connection: socket.socket) -> int:
    """Bytes that the system has taken to send and the client has not taken; 0 where it does not tell."""
    if sys.platform != "linux":
        return 0
    return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
