"""Whether a proxy really forwards: a proxy that answers errors, or something else, must not be timed as fast."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bench.client import Asker, Reply, Target
from bench.load import Wrong
from bench.upstream import answer_body, stream_body

__all__ = ["Verified", "answers", "verify"]

NUMBER = b"00000042"


@dataclass(frozen=True)
class Verified:
    """What one right answer looked like."""

    wire_bytes: int
    """Head, body and chunked coding, for comparing with what wrk reads."""
    untouched: bool
    """Byte for byte the upstream's body, rather than the same JSON written anew."""


async def verify(target: Target, *, stream: bool) -> Verified:
    """
    Ask once with a marked request, which the answer's id must repeat, and once as wrk will.

    Raises:
        Wrong: another status, another text, a missing `[DONE]`; or OSError, the connection broke.
    """
    asker = await Asker.connect(target.port)
    try:
        marked = await asker.ask(target.request("Say hello.", stream=stream, user=f"echo-{NUMBER.decode()}"))
        usual = await asker.ask(target.request("Say hello.", stream=stream))
    finally:
        asker.close()
    for reply in (marked, usual):
        if reply.status != 200:
            raise Wrong(f"status {reply.status}: {reply.body[:200].decode(errors='replace')}")
    expected = stream_body(NUMBER) if stream else answer_body(NUMBER)
    if marked.body != expected and meaning(marked, stream=stream) != meaning_of(expected, stream=stream):
        raise Wrong(f"another answer than the upstream's: {marked.body[:200].decode(errors='replace')}")
    return Verified(usual.wire_bytes, marked.body == expected)


async def answers(target: Target, path: str | None) -> bool:
    """Whether the proxy is ready: its readiness path, or a first request, gives 200."""
    request = target.request("Say hello.", stream=False)
    if path is not None:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n\r\n".encode()
    try:
        asker = await Asker.connect(target.port)
        try:
            return (await asker.ask(request, timeout_s=10)).status == 200
        finally:
            asker.close()
    except (OSError, ValueError):
        return False


def meaning(reply: Reply, *, stream: bool) -> tuple[str, ...]:
    try:
        return meaning_of(reply.body, stream=stream)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise Wrong(f"not the API's format ({error!r}): {reply.body[:200].decode(errors='replace')}") from error


def meaning_of(body: bytes, *, stream: bool) -> tuple[str, ...]:
    """The id, the text, how it ended and the tokens: what a client reads, however the JSON is written."""
    if not stream:
        answer = json.loads(body)
        choice = answer["choices"][0]
        tokens = str(answer["usage"]["total_tokens"])
        return answer["id"], choice["message"]["content"], choice["finish_reason"], tokens
    events = [line.removeprefix(b"data:").strip() for line in body.split(b"\n") if line.startswith(b"data:")]
    if not events or events.pop() != b"[DONE]":
        raise ValueError("the stream does not end in [DONE]")
    chunks = [json.loads(event) for event in events]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    ending = next(choice["finish_reason"] for choice in reversed(choices) if choice.get("finish_reason"))
    tokens = next((str(chunk["usage"]["total_tokens"]) for chunk in chunks if chunk.get("usage")), "no usage")
    return chunks[0]["id"], text, ending, tokens
