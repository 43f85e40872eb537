"""A small forward proxy: tunnels what asks for CONNECT, and forwards the rest."""

from __future__ import annotations

import base64
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit


class ForwardProxy:
    """Listens on a free port; remembers the head of each request, in the tunnels nothing."""

    def __init__(self, *, credentials: str = "") -> None:
        """`credentials` are those that it asks for, as `name:password`."""
        self.heads: list[list[str]] = []
        self._expected = base64.b64encode(credentials.encode("latin-1")).decode() if credentials else ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def lines(self) -> list[str]:
        """The first line of each request."""
        return [head[0] for head in self.heads]

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in list(self._threads):
            thread.join(5)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _start(self, target: object, *sockets: socket.socket) -> None:
        thread = threading.Thread(target=target, args=sockets, daemon=True)  # type: ignore[arg-type]
        self._open.extend(sockets)
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                if not (piece := client.recv(65536)):
                    return
                data += piece
            head, _, rest = data.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            self.heads.append(lines)
            if self._expected and f"Proxy-Authorization: Basic {self._expected}" not in lines:
                client.sendall(b"HTTP/1.1 407 Who Are You\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n")
                return
            method, target, version = lines[0].split(" ")
            is_tunnel = method == "CONNECT"
            parts = urlsplit(f"//{target}" if is_tunnel else target)
            with socket.create_connection((parts.hostname or "", parts.port or 80)) as server:
                if is_tunnel:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    path = parts.path + (f"?{parts.query}" if parts.query else "")
                    kept = [line for line in lines[1:] if not line.lower().startswith("proxy-")]
                    server.sendall("\r\n".join([f"{method} {path} {version}", *kept, "", ""]).encode("latin-1") + rest)
                self._start(_pump, server, client)
                _pump(client, server)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
