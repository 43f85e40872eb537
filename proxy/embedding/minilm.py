"""The embedding model: one text in, one vector of length 1 out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from proxy.embedding.courtesy import without_courtesy

LAST_LAYER = 384
"""So many of a vector's numbers are the last layer's, the embedding; they come first."""
DIMENSIONS = 2 * LAST_LAYER
"""
384 from the last layer, which are sentence-transformers' embedding, and behind them, at a lesser weight, 384 from the
third, which shows more of how a text is worded: models/README.md has what that gains.
"""

Vector = NDArray[np.float32]
"""(768,), of length 1."""

Vectors = NDArray[np.float32]
"""(texts, 768), every row of length 1, so a dot product is a cosine."""


_Float = TypeVar("_Float", bound=np.floating[Any])


def last_layer(vectors: NDArray[_Float]) -> NDArray[_Float]:
    """
    The embedding that the network was trained to give, without what its third layer adds.

    Args:
        vectors: (..., 768).

    Returns:
        (..., 384), of length 1 along the last axis.
    """
    own = vectors[..., :LAST_LAYER]
    lengths = np.maximum(np.linalg.norm(own, axis=-1, keepdims=True), 1e-9)
    result: NDArray[_Float] = own / lengths
    return result


# More characters than a token of English, German or code has on average, so that a piece of this many
# characters per token nearly always holds enough tokens; text beyond it is never tokenised.
_CHARACTERS_PER_TOKEN = 8

_FILES = ("model.onnx", "tokenizer.json")


def head_and_tail(text: str, max_tokens: int) -> str:
    """
    Leave out the middle of a text that is far longer than `max_tokens` can show.

    Tokenising a megabyte takes a second; this bounds the work, and the size of a cache key, before it begins.
    """
    half = max_tokens * _CHARACTERS_PER_TOKEN
    return text if len(text) <= 2 * half else f"{text[:half]} {text[-half:]}"


def name_of(folder: Path, max_tokens: int) -> str:
    """What `MiniLM.name` says, without loading the model."""
    digest = hashlib.sha256()
    for name in _FILES:
        digest.update((folder / name).read_bytes())
    return f"{folder.name} {digest.hexdigest()[:8]}, {max_tokens} tokens"


class MiniLM:
    """
    all-MiniLM-L6-v2.

    One text a run, always: dynamic int8 quantisation takes its scale from the whole batch, so a second text
    beside it would change a vector, and with it perhaps a route. Safe to call from several threads, which is
    where the parallelism comes from: ONNX Runtime and the tokenizer both release the interpreter lock.
    """

    def __init__(self, folder: Path, *, max_tokens: int = 128) -> None:
        """
        Args:
            folder: holds `model.onnx` and `tokenizer.json`.
            max_tokens: longer texts keep their head and their tail; counts the two special tokens.

        Raises:
            FileNotFoundError: one of the two files is missing.
        """
        for name in _FILES:
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name}: no such file; the embedding model is incomplete")
        # Here, since what embeds nothing, `check` of a file without topics or a process that only starts others, has
        # no use for them, and importing both takes as long as importing the rest of this package.
        onnxruntime = _onnxruntime()
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # several texts at once, one core each, beat one text on several cores
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # The arena keeps the memory of the longest text ever seen; without it a worker stays small.
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._max_tokens = max_tokens
        self._folder = folder

    def name(self) -> str:
        """
        What its vectors are called, for what was learned from them and is used elsewhere.

        Unlike `fingerprint` the same on every machine and with every version of the libraries: what differs between
        those is the last bits of a vector, which move a cached vector and no prediction.
        """
        return name_of(self._folder, self._max_tokens)

    def fingerprint(self) -> bytes:
        """A hash that is the same only where the same text has the same vector, to the last bit."""
        import tokenizers

        onnxruntime = _onnxruntime()
        versions = (onnxruntime.__version__, tokenizers.__version__)
        digest = hashlib.sha256(repr((self._max_tokens, *versions)).encode())
        # This folder's code too, since it says what is done to a text before the model. A new comment then costs one
        # slow start, where a number that somebody has to raise would one day let old vectors pass for new ones.
        for path in (*(self._folder / name for name in _FILES), *sorted(Path(__file__).parent.glob("*.py"))):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        # And one vector: two processors may round the last bit differently.
        digest.update(self.embed("How far is it from here to the station?").tobytes())
        return digest.digest()

    def token_ids(self, text: str) -> list[int]:
        """The ids that are embedded, special tokens included; at most `max_tokens`. Courtesies are left out."""
        shown = without_courtesy(head_and_tail(text, self._max_tokens))
        ids: list[int] = self._tokenizer.encode(shown).ids
        surplus = len(ids) - self._max_tokens
        if surplus > 0:
            middle = (self._max_tokens + 1) // 2
            ids = ids[:middle] + ids[middle + surplus :]
        return ids

    def run(self, ids: list[int]) -> Vector:
        """The vector of one text's token ids; the model's own work and nothing else."""
        array = np.array([ids], dtype=np.int64)
        outputs = self._session.run(None, {"input_ids": array, "attention_mask": np.ones_like(array)})
        vector: Vector = outputs[0][0]
        return vector

    def embed(self, text: str) -> Vector:
        """The vector of one text."""
        return self.run(self.token_ids(text))

    def embed_all(self, texts: Iterable[str]) -> Vectors:
        """The vectors of several texts, each in a run of its own; (0, 768) for none."""
        rows = [self.embed(text) for text in texts]
        return np.stack(rows) if rows else np.empty((0, DIMENSIONS), dtype=np.float32)


def _onnxruntime() -> Any:
    """The module. From 1.32 on it reports each session to its vendor, unless that is switched off before the import."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime
