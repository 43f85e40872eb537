"""`python -m proxy.simulator`: the simulated upstreams as a process."""

import argparse
import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from proxy.simulator.app import build_simulator
from proxy.simulator.qualities import BadQualities, Known, read_qualities


class _Server(uvicorn.Server):
    """Says where it listens, once it does."""

    async def startup(self, sockets: list | None = None) -> None:  # type: ignore[type-arg]
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        print(f"simulator listening on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM, or until stdin ends if asked to watch it."""
    parser = argparse.ArgumentParser(prog="python -m proxy.simulator", description="Simulated OpenAI upstreams.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--instant", action="store_true", help="answer at once, without the personas' pace")
    parser.add_argument("--pace", type=float, default=1.0, help="multiplies the personas' waiting (default 1)")
    parser.add_argument("--api-key", help="the bearer token to ask for; anyone may come without it")
    parser.add_argument(
        "--qualities", type=Path, metavar="FILE", help='how good models are: {"gpt-4o": {"default": 0.8, "logic": 0.5}}'
    )
    parser.add_argument("--parent-watch", action="store_true", help="exit when stdin ends, as it does with the parent")
    options = parser.parse_args(arguments)
    try:
        known = None if options.qualities is None else _read(options.qualities)
    except BadQualities as error:
        parser.error(f"{options.qualities}: {error}")
    simulator = build_simulator(pace=0.0 if options.instant else options.pace, api_key=options.api_key, known=known)
    config = uvicorn.Config(
        simulator,
        host=options.host,
        port=options.port,
        loop="auto",
        http="auto",
        log_config=None,
        log_level="critical",  # cutting connections is our trade, no error
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    if options.parent_watch:
        threading.Thread(target=_exit_with_stdin, args=(server,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again after its clean end
        server.run()


def _read(path: Path) -> Known:
    try:
        return read_qualities(path.read_bytes())
    except OSError as error:
        raise BadQualities(f"cannot be read: {error.strerror}") from None


def _exit_with_stdin(server: uvicorn.Server) -> None:
    """
    Read stdin to its end, then stop the server.

    A pipe's end closes with the process that holds it, however that one dies: no orphan stays, not even
    after a SIGKILL that no handler sees.
    """
    while os.read(sys.stdin.fileno(), 4096):
        pass
    server.should_exit = True


if __name__ == "__main__":
    main()
