"""`/v1/images/generations`: one pixel of a colour that follows from the prompt."""

from __future__ import annotations

import base64
import struct
from hashlib import blake2b
from zlib import compress, crc32

from proxy.simulator.chat_request import Json, estimate_tokens
from proxy.simulator.errors import Refusal, missing
from proxy.simulator.reply import Reply, Request
from proxy.simulator.wire import Stamp, encode

_TOKENS = 272  # what OpenAI counts for a small image


def generate(request: Request, _: object, stamp: Stamp, __: object) -> Reply:
    """`POST /images/generations`. Images always come as base64."""
    fields = request.json()
    prompt, count = fields.get("prompt"), fields.get("n") or 1
    if not prompt:
        raise missing("prompt")
    if not isinstance(count, int) or not 1 <= count <= 10:
        raise Refusal("Invalid 'n': expected 1 to 10.", param="n")
    said, drawn = estimate_tokens(str(prompt)), _TOKENS * count
    usage: Json = {
        "input_tokens": said,
        "input_tokens_details": {"text_tokens": said, "image_tokens": 0},
        "output_tokens": drawn,
        "total_tokens": said + drawn,
    }
    images = [{"b64_json": base64.b64encode(_pixel(f"{prompt}\0{index}")).decode()} for index in range(count)]
    told = {"created": stamp.created, "output_format": "png", "size": "1024x1024", "data": images, "usage": usage}
    return Reply(body=encode(told))


def _pixel(text: str) -> bytes:
    """A PNG of one pixel."""
    colour = blake2b(text.encode("utf-8", "replace"), digest_size=3).digest()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", compress(b"\0" + colour)) + chunk(b"IEND", b"")
