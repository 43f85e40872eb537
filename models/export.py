"""
Make models/all-MiniLM-L6-v2/ again from the published weights: `python models/export.py`.

Nothing is downloaded here: the weights come with the package of the `export` extra. On one machine the same
versions give the same bytes; on another, float32 rounding of its processor may turn single weights the other way.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import quantise
import tokenizers
from graph import EARLY_LAYERS, EARLY_WEIGHT, Encoder, Floats, encoder_graph, tap
from published import PACKAGE, published_folder, published_version, read_encoder, read_tokenizer
from quantise import Inputs, Recipe, int8_encoder
from running import embed, feed, open_session, read_texts, token_ids
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
KINDS = ("attention", "output", "up", "down")
SHIPPED = ("model.onnx", "tokenizer.json", "LICENSE")
SOURCES = ("model.safetensors", "tokenizer.json", "config.json", "1_Pooling/config.json")


def main() -> None:
    parser = argparse.ArgumentParser(description="Export all-MiniLM-L6-v2 to int8 ONNX.")
    parser.add_argument("--out", type=Path, default=HERE / "all-MiniLM-L6-v2", help="folder to write")
    parser.add_argument(
        "--reference",
        type=Path,
        default=HERE.parent / "tests" / "models" / "reference.npy",
        help="where the float32 vectors of evaluation.txt go, for the tests",
    )
    arguments = parser.parse_args()

    source = published_folder()
    encoder, tokenizer = read_encoder(source), read_tokenizer(source)
    print("running the calibration texts in float32")
    inputs = layer_inputs(encoder, tokenizer, read_texts(HERE / "calibration.txt"))
    encoder = with_early_layer(encoder, inputs)
    print("quantising")
    recipe = Recipe()
    model = serialise(encoder_graph(int8_encoder(encoder, inputs, recipe)))

    texts = read_texts(HERE / "evaluation.txt")
    exact = embed(open_session(serialise(encoder_graph(encoder))), tokenizer, texts)
    cosine = np.sum(exact * embed(open_session(model), tokenizer, texts), axis=1)

    arguments.out.mkdir(parents=True, exist_ok=True)
    write(arguments.out / "model.onnx", model)
    write(arguments.out / "tokenizer.json", (tokenizer.to_str() + "\n").encode())
    shutil.copyfile(HERE.parent / "LICENSE", arguments.out / "LICENSE")  # Apache-2.0, the model's and ours
    about = provenance(source, arguments.out, recipe, cosine)
    write(arguments.out / "provenance.json", (json.dumps(about, indent=2) + "\n").encode())
    arguments.reference.parent.mkdir(parents=True, exist_ok=True)
    with arguments.reference.open("wb") as file:
        np.save(file, exact.astype(np.float16))  # half the size; costs 1e-7 of cosine
    print(f"cosine to float32: mean {cosine.mean():.5f}, least {cosine.min():.5f}, {len(texts)} texts")
    print(f"model.onnx: {len(model):,} bytes, SHA-256 {hashlib.sha256(model).hexdigest()}")


def layer_inputs(encoder: Encoder, tokenizer: Tokenizer, texts: list[str]) -> list[Inputs]:
    """What every matrix is applied to when the network reads these texts in float32."""
    places = [(layer, kind) for layer in range(len(encoder.layers)) for kind in KINDS]
    taps = tuple(tap(kind, layer) for layer, kind in places)
    session = open_session(serialise(encoder_graph(encoder, taps=taps)))
    inputs: list[Inputs] = [{kind: [] for kind in KINDS} for _ in encoder.layers]
    for text in texts:
        values = session.run(list(taps), feed(token_ids(tokenizer, text)))
        for (layer, kind), value in zip(places, values, strict=True):
            inputs[layer][kind].append(value[0])
    return inputs


def with_early_layer(encoder: Encoder, inputs: list[Inputs]) -> Encoder:
    """The network that also shows its third layer, centred on the calibration texts."""
    means = [x.mean(axis=0) for x in inputs[EARLY_LAYERS]["attention"]]
    centre: Floats = np.stack(means).mean(axis=0)
    return replace(encoder, early_centre=centre)


def serialise(model: onnx.ModelProto) -> bytes:
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def write(path: Path, data: bytes) -> None:
    """Replace the file in one step, so that a reader sees the old one or the new one."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(data)
    draft.replace(path)


def provenance(source: Path, folder: Path, recipe: Recipe, cosine: Floats) -> dict[str, Any]:
    return {
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "license": "Apache-2.0",
        "source": {
            "package": PACKAGE,
            "version": published_version(),
            "sha256": {name: sha256(source / name) for name in SOURCES},
        },
        "tools": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "recipe": {
            **asdict(recipe),
            "levels": quantise.LEVELS,
            "damping": quantise.DAMPING,
            "early": {"layers": EARLY_LAYERS, "weight": EARLY_WEIGHT},
            "calibration_sha256": sha256(HERE / "calibration.txt"),
        },
        "cosine_to_float32": {
            "texts": "models/evaluation.txt",
            "mean": round(float(cosine.mean()), 5),
            "least": round(float(cosine.min()), 5),
        },
        "files": {name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in SHIPPED},
    }


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
