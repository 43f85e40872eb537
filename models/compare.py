"""
Print the table of models/README.md: `python models/compare.py`.

Every candidate is the same network; they differ in how it is rounded and in which nodes it is made of. Vectors are
compared on evaluation.txt, to which no weight was fitted. Times are taken in turns, so that a busy moment of the
machine meets all candidates, on one thread, one text a run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from export import HERE, layer_inputs, serialise, with_early_layer
from graph import Encoder, Floats, encoder_graph
from numpy.typing import NDArray
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic
from published import published_folder, read_encoder, read_tokenizer
from quantise import PLAIN, Inputs, Recipe, int8_encoder
from running import embed, feed, open_session, read_texts

LENGTHS = (8, 32, 64, 128)  # tokens
BASELINE = "plain dynamic int8"
RUNS = 3  # in a row, for each candidate in each round


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the shipped model with the ways not taken.")
    parser.add_argument("--texts", type=Path, default=HERE / "evaluation.txt", help="one text a line")
    parser.add_argument("--rounds", type=int, default=40, help="of timing; the median of all is shown")
    arguments = parser.parse_args()

    source = published_folder()
    encoder, tokenizer = read_encoder(source), read_tokenizer(source)
    texts = read_texts(arguments.texts)
    inputs = layer_inputs(encoder, tokenizer, read_texts(HERE / "calibration.txt"))
    models = candidates(with_early_layer(encoder, inputs), inputs)
    sessions = {name: open_session(model) for name, model in models.items()}
    vectors = {name: embed(session, tokenizer, texts) for name, session in sessions.items()}
    times = {tokens: race(sessions, tokens, arguments.rounds) for tokens in LENGTHS}

    print("| candidate | MB | cosine mean | least | nearest kept |", *(f" {n} tokens |" for n in LENGTHS), sep="")
    print("|---|---|---|---|---|", "---|" * len(LENGTHS), sep="")
    for name, model in models.items():
        cosine = np.sum(vectors[name] * vectors["float32"], axis=1)
        kept = np.mean(nearest(vectors[name]) == nearest(vectors["float32"]))
        cells = [f"{len(model) / 1e6:.1f}", f"{cosine.mean():.5f}", f"{cosine.min():.5f}", f"{kept:.1%}"]
        cells += [f"{times[n][name]:.2f} ms x{times[n][name] / times[n][BASELINE]:.2f}" for n in LENGTHS]
        print(f"| {name} |", " | ".join(cells), "|")


def candidates(encoder: Encoder, inputs: list[Inputs]) -> dict[str, bytes]:
    """Models by name; the first is the truth, the last is shipped."""

    def int8(recipe: Recipe) -> bytes:
        return serialise(encoder_graph(int8_encoder(encoder, inputs, recipe)))

    return {
        "float32": serialise(encoder_graph(encoder)),
        BASELINE: stock_int8(encoder),
        "our nodes, plain rounding": int8(PLAIN),
        "+ levelling": int8(Recipe(copies=0, compensate=False)),
        "+ copies": int8(Recipe(compensate=False)),
        "+ compensation (shipped)": int8(Recipe()),
    }


def stock_int8(encoder: Encoder) -> bytes:
    """The fused graph through ONNX Runtime's own quantiser, one scale per output channel."""
    with tempfile.TemporaryDirectory() as folder:
        exact, rounded = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        exact.write_bytes(serialise(encoder_graph(encoder, stock=True)))
        # ONNX cannot infer the types behind fused nodes, so the quantiser is told: all that is not an id is a float.
        types = {"DefaultTensorType": TensorProto.FLOAT}
        quantize_dynamic(exact, rounded, per_channel=True, weight_type=QuantType.QInt8, extra_options=types)
        return rounded.read_bytes()


def nearest(vectors: Floats) -> NDArray[np.intp]:
    """For each text, which other one is the most similar."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -2)
    best: NDArray[np.intp] = similarity.argmax(axis=1)
    return best


def race(sessions: dict[str, Any], tokens: int, rounds: int) -> dict[str, float]:
    """Median milliseconds of a run, by candidate; each round starts with another one."""
    ids = np.random.default_rng(0).integers(1000, 20000, tokens).tolist()
    inputs = feed(ids)
    names = list(sessions)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            sessions[name].run(None, inputs)  # brings the weights back into the cache
            for _ in range(RUNS):
                start = time.perf_counter()
                sessions[name].run(None, inputs)
                taken[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in taken.items()}


if __name__ == "__main__":
    main()
