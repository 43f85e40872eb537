"""A real server around any ASGI app, for tests that look at what crosses the wire."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socket import socket
from typing import Any

import uvicorn

# After the hang-up an app has this long to end by itself; then its tasks are cancelled.
PATIENCE_S = 0.5


@dataclass(frozen=True)
class Served:
    """Where the app answers."""

    url: str
    port: int


class _Server(uvicorn.Server):
    """Uvicorn's server, driven by events: its own main loop looks up only every 100 ms."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()  # started, or failed to

    def run(self, sockets: list[socket] | None = None) -> None:
        try:
            with suppress(SystemExit):  # how uvicorn ends when the app does not start
                super().run(sockets)
        finally:
            self.settled.set()

    async def main_loop(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self.on_tick(0)
        self.settled.set()
        await self._stop.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Hang up on everybody, where uvicorn would wait for open streams to end."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if tasks := set(self.server_state.tasks):
            _, late = await asyncio.wait(tasks, timeout=PATIENCE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for server in self.servers:
            await server.wait_closed()
        await self.lifespan.shutdown()


@contextmanager
def serving(app: Any, *, host: str = "127.0.0.1", **uvicorn_options: Any) -> Iterator[Served]:
    """
    Run `app` on a real uvicorn server, in a thread, on a free port, for the length of the block.

    At the end every connection is cut, so neither a keep-alive connection nor an open stream
    delays it; the app sees `http.disconnect`, and its lifespan ends as usual.

    Raises:
        RuntimeError: the app's lifespan failed to start; the log of `uvicorn.error` says why.
    """
    options: dict[str, Any] = {
        "port": 0,
        "loop": "uvloop",
        "http": "httptools",
        "lifespan": "on",
        "date_header": False,
        "server_header": False,
        "log_config": None,
        "access_log": False,
        # Longer than a client keeps its connections: one that is closed just as it is used again is a test's chance.
        "timeout_keep_alive": 75,
    }
    server = _Server(uvicorn.Config(app, host=host, **(options | uvicorn_options)))
    thread = threading.Thread(target=server.run, name="serving", daemon=True)
    thread.start()
    try:
        server.settled.wait()
        if not server.started:
            raise RuntimeError("the app did not start; see the log of uvicorn.error")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(f"http://{f'[{host}]' if ':' in host else host}:{port}", port)
    finally:
        if server.started:
            server.stop()
        thread.join()
