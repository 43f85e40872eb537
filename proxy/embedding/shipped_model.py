"""The embedding model that comes with the package, and what its vectors are called."""

from __future__ import annotations

from proxy.embedding.minilm import MiniLM, name_of
from proxy.shipped import shipped

_MODEL = "models/all-MiniLM-L6-v2"


def minilm(max_tokens: int) -> MiniLM:
    """The model, for texts of so many tokens."""
    return MiniLM(shipped(_MODEL), max_tokens=max_tokens)


def minilm_name(max_tokens: int) -> str:
    """What its vectors are called; the model is not loaded for that."""
    return name_of(shipped(_MODEL), max_tokens)
