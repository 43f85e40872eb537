"""Small vectors that are the same for the same text, in OpenAI's shape."""

import base64
import math
import struct
from hashlib import blake2b

from proxy.simulator.chat_request import Json, estimate_tokens, read_model
from proxy.simulator.errors import Refusal, missing, wrong_type
from proxy.simulator.wire import encode

DIMENSIONS = 16
MOST_DIMENSIONS = 4096


def embed(fields: Json) -> bytes:
    """
    The answer to an embeddings request.

    Raises:
        Refusal: what OpenAI answers to such a body.
    """
    model = read_model(fields)
    dimensions = fields.get("dimensions", DIMENSIONS)
    if not isinstance(dimensions, int) or isinstance(dimensions, bool):
        raise wrong_type("dimensions", "an integer", dimensions)
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise Refusal(
            f"Invalid 'dimensions': expected 1 to {MOST_DIMENSIONS}, but got {dimensions}.", param="dimensions"
        )
    texts = _texts(fields.get("input"))
    as_base64 = fields.get("encoding_format") == "base64"  # what the official client asks for
    tokens = sum(estimate_tokens(text) for text in texts)
    return encode(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _written(vector_of(text, dimensions), as_base64)}
                for index, text in enumerate(texts)
            ],
            "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def vector_of(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A vector of length 1, fixed by the text."""
    noise = b"".join(
        blake2b(text.encode("utf-8", "replace"), salt=block.to_bytes(16, "big")).digest()
        for block in range(dimensions // 16 + 1)
    )
    numbers = [value / 2**31 for value in struct.unpack(f"<{dimensions}i", noise[: 4 * dimensions])]
    length = math.hypot(*numbers) or 1.0
    return [number / length for number in numbers]


def _written(vector: list[float], as_base64: bool) -> list[float] | str:
    if as_base64:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return vector


def _texts(value: object) -> list[str]:
    if value is None:
        raise missing("input")
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise wrong_type("input", "one of a string or an array", value)
    if not value:
        raise Refusal("Invalid 'input': input cannot be an empty array.", param="input")
    if all(isinstance(item, int) for item in value):
        return [repr(value)]  # one text, as token numbers
    return [item if isinstance(item, str) else repr(item) for item in value]
