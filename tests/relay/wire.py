"""Both ends of the wire: an upstream that sends exact bytes, and Pointsman in front of it."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np

from proxy.app import ModelLoader, build_app
from proxy.config import Config, parse_config
from proxy.embedding import DIMENSIONS, MiniLM, Vector
from proxy.server.protocol import Protocol
from proxy.simulator import Simulator, build_simulator
from tests.serving import serving

SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
MESSAGES = [{"role": "user", "content": "hello there"}]


class Exchange:
    """One request as it arrived at a raw upstream, and the connection to answer on."""

    def __init__(self, connection: socket.socket, head: bytes, incoming: Incoming) -> None:
        self.connection = connection
        self._incoming = incoming
        lines = head.split(b"\r\n")
        self.line = lines[0]
        self.headers = [
            (name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines[1:])
        ]
        self.body = b""
        self.is_over = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for found, value in self.headers if found == name]

    def pieces(self) -> Iterator[bytes]:
        """
        The body as it arrives, where the upstream does not hold bodies; it ends early if the other side leaves.
        """
        if self.values(b"transfer-encoding"):
            while (line := self._incoming.line()) and (size := int(line, 16)):
                yield self._incoming.exactly(size)
                self._incoming.line()
            self._incoming.line()
            return
        left = int((self.values(b"content-length") or [b"0"])[0])
        while left and (piece := self._incoming.some(left)):
            left -= len(piece)
            yield piece

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self, body: bytes = b"{}", *headers: bytes, status: bytes = b"200 OK") -> None:
        """A whole answer with a length, after which the connection can be used again."""
        lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
        self.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def cut(self) -> None:
        """Close, after what was sent."""
        self.is_over = True

    def wait_until_read(self, timeout: float = 3.0) -> None:
        """Until the other side has taken all that was sent from its socket, by Linux's table of these."""
        theirs, ours = map(_in_table, (self.connection.getpeername(), self.connection.getsockname()))
        deadline = time.monotonic() + timeout
        while True:
            lines = map(str.split, Path("/proc/net/tcp").read_text().splitlines())
            queues = {(line[1], line[2]): line[4].split(":") for line in lines}  # to send, and to be read
            if queues[ours, theirs][0] == queues[theirs, ours][1] == "00000000":
                return
            assert time.monotonic() < deadline, "the other side does not read"

    def wait_until_left(self, timeout: float = 3.0) -> float:
        """When the other side closed its connection, by `time.monotonic()`."""
        self.is_over = True
        self.connection.settimeout(timeout)
        with suppress(ConnectionError):
            assert self.connection.recv(1) == b"", "the other side spoke instead of leaving"
        return time.monotonic()


def _in_table(address: tuple[str, int]) -> str:
    host, port = address
    return f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}:{port:04X}"


Script = Callable[[Exchange], None]


class Incoming:
    """The bytes of a connection, asked for by line or by number; less than that when it ends."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held = bytearray()

    def line(self, end: bytes = b"\r\n") -> bytes:
        """Up to this end, which is left out."""
        while end not in self._held:
            if not self._more():
                return b""
        line, _, rest = bytes(self._held).partition(end)
        self._held = bytearray(rest)
        return line

    def some(self, most: int) -> bytes:
        """What is here, or comes next."""
        if not self._held and not self._more():
            return b""
        piece = bytes(self._held[:most])
        del self._held[:most]
        return piece

    def exactly(self, size: int) -> bytes:
        while len(self._held) < size and self._more():
            pass
        return self.some(size)

    def _more(self) -> bool:
        piece = self._connection.recv(1 << 20)
        self._held += piece
        return bool(piece)


class RawUpstream:
    """A socket server; `script` answers each request in a thread of its connection."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, path: str | None = None) -> None:
        """`path` is that of a unix socket to listen at, in place of a port."""
        self.script: Script = Exchange.answer
        self.holds_bodies = True
        """Whether a request's body is read before its script begins; if not, the script reads it."""
        self.exchanges: list[Exchange] = []
        self.tls = tls
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.port: int = self._listener.getsockname()[1]
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(path)
            self._listener.listen()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def last(self) -> Exchange:
        return self.exchanges[-1]

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._talk, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, connection: socket.socket) -> None:
        if self.tls is not None:
            try:
                connection = self.tls.wrap_socket(connection, server_side=True)
            except OSError:  # a client that does not trust it
                connection.close()
                return
            self._connections.append(connection)
        with connection, suppress(ConnectionError, ssl.SSLError):
            incoming = Incoming(connection)
            while head := incoming.line(b"\r\n\r\n"):
                exchange = Exchange(connection, head, incoming)
                if self.holds_bodies:
                    exchange.body = b"".join(exchange.pieces())
                self.exchanges.append(exchange)
                self.script(exchange)
                if exchange.is_over:
                    return


class WordModel(MiniLM):
    """A tiny stand-in for the embedding model: a text is the bag of its words."""

    def __init__(self) -> None:
        """There is nothing to load."""

    def fingerprint(self) -> bytes:
        return b"words"

    def embed(self, text: str) -> Vector:
        vector = np.full(DIMENSIONS, 0.01, dtype=np.float32)
        for word in text.lower().split():
            vector[zlib.crc32(word.encode()) % DIMENSIONS] += 1
        return (vector / np.linalg.norm(vector)).astype(np.float32)


class House(NamedTuple):
    """Pointsman, a client of it, and the upstreams behind it."""

    simulator: Simulator
    raw: RawUpstream
    url: str
    port: int
    http: httpx.Client

    def chat(self, model: str = "sim", *, headers: Any = None, **fields: object) -> httpx.Response:
        body = {"model": model, "messages": MESSAGES, **fields}
        return self.http.post("/v1/chat/completions", json=body, headers=headers)

    def metric(self, series: str) -> float:
        """A series by name and labels, as the exposition writes them; 0 when there is none."""
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith(series + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def wait_for_metric(self, series: str, value: float, timeout: float = 3.0) -> None:
        """A request is counted just after its last byte is out, so a look may come too early."""
        deadline = time.monotonic() + timeout
        while (seen := self.metric(series)) != value:
            assert time.monotonic() < deadline, f"{series} is {seen:g}, not {value:g}"


ROUTES = """
version: 1
embedding: {deadline: 20s}  # a machine that has much to do is no part of these tests
retry: {free: 100}  # nor is what the tests before have tried again
upstreams:
  keyed: {base_url: "${SIM}/east/v1", api_key: "${KEY}"}
  open: {base_url: "${SIM}/west/v1"}
  raw: {base_url: "${RAW}/v1"}
  rawkeyed: {base_url: "${RAW}/v1", api_key: "${KEY}"}
  hasty: {base_url: "${RAW}/v1", timeouts: {first_token: 150ms, whole_answer: 250ms}}
  patient: {base_url: "${RAW}/v1", timeouts: {first_token: 150ms}}
  restless: {base_url: "${RAW}/v1", timeouts: {idle: 150ms}}
  hurried: {base_url: "${RAW}/v1", timeouts: {total: 150ms}}
  dead: {base_url: "${DEAD}/v1"}
  deaf: {base_url: "${DEAF}/v1", timeouts: {connect: 150ms}}
models:
  sim: {target: {upstream: keyed, name: gpt-4o-mini}, price: {input: 1, output: 2}}
  other: {target: {upstream: open, name: gpt-4o}}
  raw: {target: {upstream: raw, name: raw-model}}
  rawkeyed: {target: {upstream: rawkeyed, name: raw-model}}
  hasty: {target: {upstream: hasty, name: raw-model}}
  patient: {target: {upstream: patient, name: raw-model}}
  restless: {target: {upstream: restless, name: raw-model}}
  silent: {target: {upstream: patient, name: silent-model}, fallbacks: [other]}
  narrow: {target: {upstream: raw, name: narrow-model}, context: 1000, fallbacks: [roomy]}
  roomy: {target: {upstream: open, name: gpt-4o}, context: 100000}
  hurried: {target: {upstream: hurried, name: raw-model}}
  dead: {target: {upstream: dead, name: nobody}}
  forlorn: {target: {upstream: dead, name: somebody}, fallbacks: [dead]}
  deaf: {target: {upstream: deaf, name: nobody}}
  team/slashed: {target: {upstream: open, name: o3-mini}}
rewrite: []
default: sim
server: {body_timeout: 5s, max_body: 33554432}
topics:
  code:
    examples: [fix the bug in my code, write code for a loop, my code has a bug, the loop in the code is a bug]
  weather:
    examples: [will rain come today, is sun or rain ahead, rain and sun and wind, the wind today brings rain]
routes:
  - {name: urgent, when: {header: {x-priority: high}}, use: other}
  - {name: code, when: {topic: code}, use: team/slashed}
"""


def config_of(text: str, **environ: str) -> Config:
    return parse_config(text, source="routes.yaml", environ={"KEY": "sk-operator", **environ})


def word_model(config: Config) -> MiniLM:
    return WordModel()


@contextmanager
def dead_port() -> Iterator[int]:
    """A port that nobody listens at, and that nobody else is given meanwhile."""
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        yield dead.getsockname()[1]


@contextmanager
def _deaf_port() -> Iterator[int]:
    """A port that neither takes nor refuses a connection: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        callers = [socket.socket() for _ in range(4)]
        try:
            for caller in callers:
                caller.setblocking(False)
                caller.connect_ex(listener.getsockname())
            yield listener.getsockname()[1]
        finally:
            for caller in callers:
                caller.close()


@contextmanager
def house(
    text: str = ROUTES, *, load_model: ModelLoader = word_model, environ: Mapping[str, str] | None = None
) -> Iterator[House]:
    """
    Pointsman on a free port, in front of a simulator, a raw upstream and some that do not answer.

    Args:
        text: routes.yaml.
        load_model: loads the embedding model.
        environ: further variables that the text has.
    """
    simulator, raw = build_simulator(pace=0), RawUpstream()
    try:
        with dead_port() as dead, _deaf_port() as deaf, serving(simulator) as upstream:
            config = config_of(
                text,
                SIM=upstream.url,
                RAW=f"http://127.0.0.1:{raw.port}",
                DEAD=f"http://127.0.0.1:{dead}",
                DEAF=f"http://127.0.0.1:{deaf}",
                **(environ or {}),
            )
            with (
                serving(build_app(config, load_model=load_model), http=Protocol) as served,
                httpx.Client(base_url=served.url, timeout=10) as http,
            ):
                yield House(simulator, raw, served.url, served.port, http)
    finally:
        raw.close()
