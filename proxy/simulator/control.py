"""What is asked of the simulator itself: its log, and what its models are worth."""

from __future__ import annotations

from starlette.types import Send

from proxy.simulator.errors import Refusal, wrong_method
from proxy.simulator.headers import JSON, Headers
from proxy.simulator.log import Log
from proxy.simulator.qualities import BadQualities, Qualities, read_qualities
from proxy.simulator.wire import encode

LOG_PATH = "/_simulator/log"
QUALITIES_PATH = "/_simulator/qualities"


def is_control(path: str) -> bool:
    """Whether the path is one of these; qualities are found below an upstream too, so also through a proxy."""
    return path == LOG_PATH or path.endswith(QUALITIES_PATH)


async def control(method: str, path: str, body: bytes, log: Log, qualities: Qualities, send: Send) -> None:
    """Answer one such request."""
    try:
        status, told = 200, _log(method, log) if path == LOG_PATH else _qualities(method, path, body, qualities)
    except Refusal as refusal:
        status, told = refusal.status, refusal.body()
    headers: Headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(told))] if told else []
    await send({"type": "http.response.start", "status": status if told else 204, "headers": headers})
    await send({"type": "http.response.body", "body": told})


def _log(method: str, log: Log) -> bytes:
    if method == "GET":
        return encode({"entries": [entry.as_json() for entry in log.entries()]})
    if method not in ("POST", "DELETE"):
        raise wrong_method(method, LOG_PATH)
    log.clear()
    return b""


def _qualities(method: str, path: str, body: bytes, qualities: Qualities) -> bytes:
    if method == "PATCH":
        try:
            qualities.change(read_qualities(body))
        except BadQualities as error:
            raise Refusal(str(error)) from None
    elif method == "DELETE":
        qualities.reset()
    elif method != "GET":
        raise wrong_method(method, path)
    return encode(qualities.known())
