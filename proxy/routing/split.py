"""Shares of a route's conversations, kept without remembering anything."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b


def share(weights: Mapping[str, float], key: str) -> str:
    """
    One of several names by weight; the same key always gets the same one, in every process.

    Args:
        weights: by name, 0 or more and not all 0; their order matters, so that a small change of weights moves few.
        key: what stays together.
    """
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    point = int.from_bytes(digest) / 2**64 * sum(weights.values())
    for name, weight in weights.items():
        if point < weight:
            return name
        point -= weight
    return max(weights, key=weights.__getitem__)  # only by rounding, at the very end
