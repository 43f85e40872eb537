"""
The bare ONNX run that decisions on new texts are compared with: the model, and nothing of Pointsman.

A process of its own that is pinned to the proxy's core and asked over a connection like the proxy, so that a
run begins as one in the proxy does: on a core that was idle a moment ago and was woken by a request. The
tokenizer runs before the clock starts, and on the same thread as the model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import uvloop

from bench.client import Asker
from bench.prompts import head

__all__ = ["ask_bare", "bare_command", "runs"]

MODEL = Path(__file__).parents[1] / "models" / "all-MiniLM-L6-v2"


async def ask_bare(asker: Asker, port: int, texts: list[str]) -> tuple[list[float], float]:
    """The seconds of each text's run, one straight after the other, and of the whole exchange."""
    payload = json.dumps(texts).encode()
    reply = await asker.ask(f"{head(port, '/', {})}{len(payload)}\r\n\r\n".encode() + payload)
    taken: list[float] = json.loads(reply.body)
    return taken, reply.total_s


def bare_command(port: int) -> list[str | Path]:
    return [sys.executable, "-m", "bench.bare", "--port", str(port)]


async def runs(port: int) -> bool:
    """Whether it is ready."""
    try:
        asker = await Asker.connect(port)
        try:
            return len((await ask_bare(asker, port, ["ready?"]))[0]) == 1
        finally:
            asker.close()
    except OSError:
        return False


def load() -> Callable[[list[str]], list[float]]:
    """The model as ONNX Runtime runs it when nothing but one thread is asked of it."""
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(MODEL / "model.onnx"), options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.no_padding()
    names = [argument.name for argument in session.get_inputs()]

    def run(texts: list[str]) -> list[float]:
        feeds = []
        for text in texts:
            encoded = tokenizer.encode(text)
            rows = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask}
            rows["token_type_ids"] = encoded.type_ids
            feeds.append({name: np.array([rows[name]], dtype=np.int64) for name in names})
        taken = []
        for feed in feeds:
            began = time.perf_counter()
            session.run(None, feed)
            taken.append(time.perf_counter() - began)
        return taken

    return run


class Running(asyncio.Protocol):
    """One connection; a request's body is a JSON list of texts, its answer a list of seconds."""

    def __init__(self, run: Callable[[list[str]], list[float]]) -> None:
        self.run = run
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        self.received += data
        top, ended, body = self.received.partition(b"\r\n\r\n")
        if not ended or len(body) < int(top.lower().rpartition(b"content-length:")[2].split(b"\r\n")[0]):
            return
        self.received = b""
        answer = json.dumps(self.run(json.loads(body))).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer))


async def serve(port: int) -> None:
    run = load()
    run(["warm up"] * 20)
    server = await asyncio.get_running_loop().create_server(lambda: Running(run), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    uvloop.run(serve(arguments.parse_args().port))
