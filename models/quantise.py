"""
float32 matrices to int8 ones, with the activations' outliers taken care of.

ONNX Runtime rounds a matrix's input to 8 bits over one range for all its tokens and channels. In this network two
channels of [CLS] and [SEP], and one neuron of most feed-forward blocks, are ten to a hundred times the rest, so the
rest gets a handful of the 256 steps. Three remedies, each exact in float32, in order of what they gain:

1. **levelling**: divide loud input channels, multiply their weights (SmoothQuant, Xiao et al. 2023);
2. **copies**: a neuron too loud even for that is computed several times, each copy with a part of its weight
   (outlier channel splitting, Zhao et al. 2019);
3. **compensation**: round the weights one input channel after the other, and let the channels still to come make up
   for the error so far (GPTQ, Frantar et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from graph import Encoder, Floats, Int8Matrix, Int8Table, Layer, Matrix
from numpy.typing import NDArray

# Where levelling starts, as a quantile of the channels' maxima. Found by the error each matrix makes on
# calibration.txt. The input of `output` has no outliers to speak of, and levelling it changed nothing.
LEVELS = {"attention": 0.65, "up": 0.98, "down": 0.8}
COPIES = 16  # 1% more work in `up` and `down`; 8 lose .0001 of the mean cosine, 64 as much again
DAMPING = 0.1  # of the mean diagonal; .01 and 1 are as good within .00003 of cosine
# Not 127: on x86 without VNNI, ONNX Runtime adds products of u8 and s8 in pairs, in 16 bits that then may overflow
# (measured: the mean cosine falls from .9993 to .9961). 255 x 64 x 2 never does, so every processor gets the same sums.
LARGEST = 64
BLOCK = 64  # input channels compensated one by one before the others learn of it; changes speed only


@dataclass(frozen=True)
class Recipe:
    """Which remedies to use."""

    level: bool = True
    copies: int = COPIES
    compensate: bool = True


PLAIN = Recipe(level=False, copies=0, compensate=False)

Inputs = dict[str, list[Floats]]  # a layer's matrix -> what it is applied to, one (tokens, channels) a text


def int8_encoder(encoder: Encoder, inputs: list[Inputs], recipe: Recipe) -> Encoder:
    """
    Quantise every matrix of the network and its vocabulary.

    Args:
        inputs: of each layer in `encoder`, in float32, over the calibration texts.
    """
    assert not isinstance(encoder.words, Int8Table)
    scale = np.abs(encoder.words).max(axis=1, keepdims=True) / LARGEST
    words = Int8Table(np.rint(encoder.words / scale).astype(np.int8), scale)
    layers = (_int8_layer(layer, seen, recipe) for layer, seen in zip(encoder.layers, inputs, strict=True))
    return replace(encoder, words=words, layers=tuple(layers))


def _int8_layer(layer: Layer, inputs: Inputs, recipe: Recipe) -> Layer:
    attention, output, up, down = (_exact(m) for m in (layer.attention, layer.output, layer.up, layer.down))
    copies = copies_of_loud_neurons(_loudness(inputs["down"]), down.weight, recipe.copies)
    neuron = np.repeat(np.arange(len(copies)), copies)
    up = Matrix(up.weight[:, neuron], up.bias[neuron])
    down = Matrix((down.weight / copies[:, None]).astype(np.float32)[neuron], down.bias)
    return replace(
        layer,
        attention=_int8_matrix("attention", attention, inputs["attention"], recipe),
        output=_int8_matrix("output", output, inputs["output"], recipe),
        up=_int8_matrix("up", up, inputs["up"], recipe),
        down=_int8_matrix("down", down, [x[:, neuron] for x in inputs["down"]], recipe),
    )


def _int8_matrix(kind: str, matrix: Matrix, inputs: list[Floats], recipe: Recipe) -> Int8Matrix:
    divisor, weight = None, matrix.weight
    if recipe.level and kind in LEVELS:
        divisor = level(_loudness(inputs), LEVELS[kind])
        weight = weight * divisor[:, None]
        inputs = [x / divisor for x in inputs]
    scale = (np.abs(weight).max(axis=0) / LARGEST).astype(np.float32)
    if recipe.compensate:
        rounded = compensated_rounding(weight, scale, correlations(inputs))
    else:
        rounded = np.rint(weight / scale).astype(np.int8)
    return Int8Matrix(rounded, scale, matrix.bias, divisor)


def _exact(matrix: Matrix | Int8Matrix) -> Matrix:
    assert isinstance(matrix, Matrix), "this encoder is quantised already"
    return matrix


def _loudness(inputs: list[Floats]) -> Floats:
    """Each channel's largest magnitude over all texts."""
    loudest: Floats = np.max([np.abs(x).max(axis=0) for x in inputs], axis=0)
    return loudest


def level(loudness: Floats, quantile: float) -> Floats:
    """What to divide each channel by, so that none is louder than this quantile of them."""
    divisor: Floats = np.maximum(1, loudness / np.quantile(loudness, quantile)).astype(np.float32)
    return divisor


def copies_of_loud_neurons(loudness: Floats, weight: Floats, extra: int) -> NDArray[np.int64]:
    """
    How often to compute each neuron, once at least.

    Levelling moves range from a neuron to its weights but cannot lessen their product; a copy divides it. So each
    extra copy goes to the neuron whose product is the largest by then.
    """
    product = loudness * np.abs(weight).max(axis=1)
    copies = np.ones(len(loudness), np.int64)
    for _ in range(extra):
        copies[np.argmax(product / copies)] += 1
    return copies


def correlations(inputs: list[Floats]) -> NDArray[np.float64]:
    """Sum of the outer products of the channels; every text counts the same, however long."""
    total = np.zeros((inputs[0].shape[1],) * 2)
    for x in inputs:
        wide = x.astype(np.float64)
        total += wide.T @ wide / len(wide)
    return total


def compensated_rounding(weight: Floats, scale: Floats, correlation: NDArray[np.float64]) -> NDArray[np.int8]:
    """
    Round a matrix so that its products with typical inputs change least.

    Args:
        weight: (in, out).
        scale: one step, per output channel.
        correlation: (in, in), see `correlations`.
    """
    channels = len(weight)
    damped = correlation + DAMPING * np.mean(np.diag(correlation)) * np.eye(channels)
    order = np.argsort(-np.diag(damped), kind="stable")  # loud channels first: most are left to make up for them
    # Row k says how the channels after k should move when channel k errs by one.
    reaction = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    left = weight[order].astype(np.float64)
    rounded = np.zeros(left.shape, np.int8)
    for start in range(0, channels, BLOCK):
        stop = min(start + BLOCK, channels)
        errors = np.zeros((stop - start, left.shape[1]))
        for k in range(start, stop):
            rounded[k] = np.clip(np.rint(left[k] / scale), -LARGEST, LARGEST)
            errors[k - start] = (left[k] - rounded[k] * scale) / reaction[k, k]
            left[k + 1 : stop] -= np.outer(reaction[k, k + 1 : stop], errors[k - start])
        left[stop:] -= reaction[start:stop, stop:].T @ errors
    restored = np.empty_like(rounded)
    restored[order] = rounded
    return restored
