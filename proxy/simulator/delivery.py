"""A reply on its way to the client: in its time, or as badly as the knobs ask for."""

import asyncio
import time

from proxy.simulator.client import Client
from proxy.simulator.headers import anthropic_headers, response_headers
from proxy.simulator.knobs import Knobs
from proxy.simulator.reply import Reply
from proxy.simulator.wire import Stamp

TURN = 64  # events between two turns of the loop


async def deliver(reply: Reply, client: Client, knobs: Knobs, stamp: Stamp, pace: float) -> None:
    """
    Send the reply; come back early when the client leaves.

    Args:
        client: entered; left unfinished where the connection is to be cut.
        pace: what the persona's own waiting is multiplied with; 0 is at once.
    """
    received = time.monotonic()
    if knobs.stall_headers:
        return await client.wait_for_hang_up()
    if knobs.cut == -1:
        return await client.cut_before_headers()
    first_s, token_s = _pace(reply, knobs, stamp, pace)
    start = received + (knobs.headers_ms or 0.0) / 1000
    if reply.events is None:
        start += first_s + reply.tokens * token_s
    if start > received and not await client.wait_until(start):
        return None
    spent_ms = int((time.monotonic() - received) * 1000)
    if reply.is_anthropic:
        headers = anthropic_headers(reply.kind, stamp)
    else:
        headers = response_headers(reply.kind, stamp, processing_ms=spent_ms, prompt_tokens=reply.prompt_tokens)
    headers += reply.extra_headers
    if reply.events is None:
        headers.append((b"content-length", b"%d" % len(reply.body)))
        await client.start(reply.status, headers)
        return await _deliver_body(reply.body, client, knobs)
    await client.start(reply.status, headers)
    return await _deliver_events(reply, client, knobs, start + first_s, token_s)


async def _deliver_body(body: bytes, client: Client, knobs: Knobs) -> None:
    if knobs.cut is not None or knobs.stall is not None:
        await client.write(body[: len(body) // 2], knobs.chunk_bytes)
        if knobs.stall is not None:
            await client.wait_for_hang_up()
        return
    if knobs.chunk_bytes:
        await client.write(body, knobs.chunk_bytes)
        body = b""
    await client.finish(body)


async def _deliver_events(reply: Reply, client: Client, knobs: Knobs, first: float, token_s: float) -> None:
    """Send events at `first` + their tick x `token_s`; what falls behind is caught up with."""
    client.watch()
    for index, (tick, event) in enumerate(reply.events or ()):
        if index == knobs.stall:
            return await client.wait_for_hang_up()
        if index == knobs.cut:
            return None
        if index == knobs.error_event:
            await client.write_event(reply.error_event, knobs.chunk_bytes)
            return await client.finish()
        due = first + tick * token_s
        if due > first or index == 0:
            if not await client.wait_until(due):
                return None
        elif client.left:
            return None
        if index % TURN == TURN - 1:
            await asyncio.sleep(0)  # an instant stream never waits, yet the hang-up and the others need the loop
        await client.write_event(event, knobs.chunk_bytes)
    return await client.finish()


def _pace(reply: Reply, knobs: Knobs, stamp: Stamp, pace: float) -> tuple[float, float]:
    """Seconds before the first token and between tokens."""
    mood = 0.8 + 0.4 * int(stamp.token[:4], 16) / 0xFFFF  # real ones are not equally quick every time
    first_s = reply.first_token_s * pace * mood if knobs.first_token_ms is None else knobs.first_token_ms / 1000
    token_s = reply.token_s * pace * mood if knobs.token_ms is None else knobs.token_ms / 1000
    return first_s, token_s
