"""Texts in, vectors out: one text a run, as the product does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from graph import Floats
from numpy.typing import NDArray
from published import MAX_TOKENS
from tokenizers import Tokenizer

SEPARATOR = 102  # [SEP], which ends every text


def open_session(model: bytes, threads: int = 1) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def feed(ids: list[int]) -> dict[str, NDArray[np.int64]]:
    """The inputs of one run for one text."""
    row = np.array([ids], np.int64)
    return {"input_ids": row, "attention_mask": np.ones_like(row)}


def token_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The text's tokens, cut to the length the network was trained for."""
    ids: list[int] = tokenizer.encode(text).ids
    return ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], SEPARATOR]


def embed(session: Any, tokenizer: Tokenizer, texts: list[str]) -> Floats:
    """(texts, 768), every row of length 1."""
    return np.concatenate([session.run(["embedding"], feed(token_ids(tokenizer, text)))[0] for text in texts])


def read_texts(path: Path) -> list[str]:
    """
    One text a line.

    Raises:
        SystemExit: the file cannot be read, or has no text.
    """
    try:
        texts = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise SystemExit(f"cannot read {path}: {error.strerror}") from error
    if not texts:
        raise SystemExit(f"{path} has no text")
    return texts
