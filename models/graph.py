"""
all-MiniLM-L6-v2 as one ONNX graph, written node by node.

There is no tracing and no pattern matching: the network is six equal layers, and saying what each node is
keeps the choice of kernel in our hands. `encoder_graph` takes the same description with float32 or with int8
matrices; which kind a matrix is decides which nodes it becomes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]

INPUTS = ("input_ids", "attention_mask")
HEADS = 12
EPSILON = 1e-12  # of every LayerNorm; layer_norm_eps in the published config.json
EARLY_LAYERS = 3  # of the six; what a text's words are still shows after these
# Against 1 for the last layer. Measured on few-shot intent data with .4, .6, .8 and 1: see README.md.
EARLY_WEIGHT = 0.6
MICROSOFT = "com.microsoft"  # ONNX Runtime's own operators; part of the plain CPU package


@dataclass(frozen=True)
class Norm:
    """A LayerNorm's gain and offset, one of each per channel."""

    gain: Floats
    offset: Floats


@dataclass(frozen=True)
class Matrix:
    """`x @ weight + bias`, in float32."""

    weight: Floats  # (in, out)
    bias: Floats


@dataclass(frozen=True)
class Int8Matrix:
    """`x @ (weight * scale) + bias`, with x rounded to 8 bits over its own range at each run."""

    weight: NDArray[np.int8]  # (in, out); belongs to x / divisor
    scale: Floats  # one per output channel
    bias: Floats
    divisor: Floats | None  # one per input channel; None leaves x as it is


@dataclass(frozen=True)
class Int8Table:
    """The vocabulary's vectors, each with its own scale: rare words are no coarser than common ones."""

    rows: NDArray[np.int8]
    scale: Floats  # (vocabulary, 1)


@dataclass(frozen=True)
class Layer:
    """One transformer block, in the order of computation."""

    attention: Matrix | Int8Matrix  # to queries, keys and values side by side
    output: Matrix | Int8Matrix
    output_norm: Norm
    up: Matrix | Int8Matrix
    down: Matrix | Int8Matrix
    down_norm: Norm


@dataclass(frozen=True)
class Encoder:
    """The whole network."""

    words: Floats | Int8Table
    positions: Floats  # the vector of token type 0 is added in: there is no other type here
    norm: Norm
    layers: tuple[Layer, ...]
    early_centre: Floats | None = None
    """
    (channels,): the mean over texts of what comes out of the third layer, averaged over a text's tokens. None: the
    graph gives the last layer alone, as published.
    """


class _Nodes:
    """Nodes and constants as they are added; every value is named after the node that makes it."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, name: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        """Add a node; its first output is called `name`, further ones `name.1`, `name.2`."""
        outs = [name, *(f"{name}.{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, list(inputs), outs, name=name, domain=domain, **attributes))
        return name


def tap(kind: str, layer: int) -> str:
    """The name of the value that a layer's `attention`, `output`, `up` or `down` matrix is applied to."""
    return {
        "attention": f"layer{layer}",
        "output": f"layer{layer}.attention",
        "up": f"layer{layer}.middle",
        "down": f"layer{layer}.gelu",
    }[kind]


def encoder_graph(encoder: Encoder, *, taps: tuple[str, ...] = (), stock: bool = False) -> ModelProto:
    """
    Write the network as an ONNX model from token ids to unit vectors.

    Args:
        taps: names of values (see `tap`) to return beside `embedding`.
        stock: use the fused nodes that onnxruntime.transformers would choose, to compare with.
    """
    g = _Nodes()
    g.add("Cast", "mask", "attention_mask", to=TensorProto.INT32)
    x = _stock_embed(g, encoder) if stock else _embed(g, encoder)
    for i, layer in enumerate(encoder.layers):
        name = f"layer{i}"
        attended = _attend(g, f"{name}.attention", x, layer.attention)
        mixed = _multiply(g, f"{name}.output", attended, layer.output)
        middle = _add_and_norm(g, f"{name}.middle", mixed, x, layer.output_norm, stock)
        raised = _multiply(g, f"{name}.up", middle, layer.up)
        bent = g.add("Gelu", f"{name}.gelu", raised, domain=MICROSOFT)
        lowered = _multiply(g, f"{name}.down", bent, layer.down)
        x = _add_and_norm(g, f"layer{i + 1}", lowered, middle, layer.down_norm, stock)
    last = _pooled(g, "last", x)
    if encoder.early_centre is None:
        g.add("Identity", "embedding", last)
        width = encoder.positions.shape[1]
    else:
        _both(g, last, _pooled(g, "early", f"layer{EARLY_LAYERS}", encoder.early_centre))
        width = 2 * encoder.positions.shape[1]

    ids = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "tokens"]) for n in INPUTS]
    out = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", width])]
    out += [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in taps]
    return helper.make_model(
        helper.make_graph(g.nodes, "all-MiniLM-L6-v2", ids, out, g.constants),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=8,  # the oldest that has opset 17, so that older runtimes load the file too
        producer_name="pointsman",
    )


def _embed(g: _Nodes, encoder: Encoder) -> str:
    """Words plus positions, normalised: (batch, tokens, channels)."""
    if isinstance(encoder.words, Int8Table):
        rows = g.add("Gather", "words.rows", g.constant("words", encoder.words.rows), "input_ids")
        scale = g.add("Gather", "words.scale", g.constant("words.scales", encoder.words.scale), "input_ids")
        words = g.add("Mul", "words.float", g.add("Cast", "words.cast", rows, to=TensorProto.FLOAT), scale)
    else:
        words = g.add("Gather", "words.float", g.constant("words", encoder.words), "input_ids")
    length = g.add("Shape", "length", "input_ids", start=1, end=2)
    start, axis = g.constant("positions.start", np.array([0])), g.constant("positions.axis", np.array([0]))
    places = g.add("Slice", "places", g.constant("positions", encoder.positions), start, length, axis)
    return _norm(g, "layer0", g.add("Add", "words.placed", words, places), encoder.norm)


def _stock_embed(g: _Nodes, encoder: Encoder) -> str:
    assert not isinstance(encoder.words, Int8Table)
    words, places = g.constant("words", encoder.words), g.constant("positions", encoder.positions)
    norm = (g.constant("layer0.gain", encoder.norm.gain), g.constant("layer0.offset", encoder.norm.offset))
    ids = g.add("Cast", "ids", "input_ids", to=TensorProto.INT32)
    inputs = (ids, "", words, places, "", *norm)
    return g.add("EmbedLayerNormalization", "layer0", *inputs, outputs=2, domain=MICROSOFT, epsilon=EPSILON)


def _norm(g: _Nodes, name: str, x: str, norm: Norm) -> str:
    gain, offset = g.constant(f"{name}.gain", norm.gain), g.constant(f"{name}.offset", norm.offset)
    return g.add("LayerNormalization", name, x, gain, offset, axis=-1, epsilon=EPSILON)


def _add_and_norm(g: _Nodes, name: str, x: str, residual: str, norm: Norm, stock: bool) -> str:
    if stock:
        gain, offset = g.constant(f"{name}.gain", norm.gain), g.constant(f"{name}.offset", norm.offset)
        inputs = (x, residual, gain, offset)
        return g.add("SkipLayerNormalization", name, *inputs, domain=MICROSOFT, epsilon=EPSILON)
    # The fused SkipLayerNormalization is slow on CPUs: it took a quarter of the run at 32 tokens, most of which two
    # nodes save. Sum rather than Add: sessions look for Add before a norm, and may fuse the two again.
    return _norm(g, name, g.add("Sum", f"{name}.sum", x, residual), norm)


def _attend(g: _Nodes, name: str, x: str, matrix: Matrix | Int8Matrix) -> str:
    """Multi-head attention, the projection to queries, keys and values included."""
    if isinstance(matrix, Matrix):
        weight, bias = g.constant(f"{name}.weight", matrix.weight), g.constant(f"{name}.bias", matrix.bias)
        return g.add("Attention", name, x, weight, bias, "mask", domain=MICROSOFT, num_heads=HEADS)
    weight, scale, zero, bias = _int8_constants(g, name, matrix)
    x = g.add("DynamicQuantizeLinear", f"{name}.rounded", _level(g, name, x, matrix), outputs=3)
    inputs = (x, weight, bias, f"{x}.1", scale, "mask", f"{x}.2", zero)
    return g.add("QAttention", name, *inputs, domain=MICROSOFT, num_heads=HEADS)


def _multiply(g: _Nodes, name: str, x: str, matrix: Matrix | Int8Matrix) -> str:
    if isinstance(matrix, Matrix):
        weight, bias = g.constant(f"{name}.weight", matrix.weight), g.constant(f"{name}.bias", matrix.bias)
        return g.add("Add", name, g.add("MatMul", f"{name}.product", x, weight), bias)
    weight, scale, zero, bias = _int8_constants(g, name, matrix)
    x = _level(g, name, x, matrix)
    return g.add("DynamicQuantizeMatMul", name, x, weight, scale, zero, bias, domain=MICROSOFT)


def _int8_constants(g: _Nodes, name: str, matrix: Int8Matrix) -> tuple[str, str, str, str]:
    return (
        g.constant(f"{name}.weight", matrix.weight),
        g.constant(f"{name}.scale", matrix.scale),
        g.constant(f"{name}.zero", np.zeros(matrix.scale.shape, np.int8)),
        g.constant(f"{name}.bias", matrix.bias),
    )


def _level(g: _Nodes, name: str, x: str, matrix: Int8Matrix) -> str:
    # A node of its own, not folded into the LayerNorm before: the residual branch needs the value unlevelled.
    if matrix.divisor is None:
        return x
    factor = g.constant(f"{name}.level", (1 / matrix.divisor).astype(np.float32))
    return g.add("Mul", f"{name}.levelled", x, factor)


def _pooled(g: _Nodes, name: str, x: str, centre: Floats | None = None) -> str:
    """
    The mean over the tokens that the mask shows, less `centre`, at length 1: (batch, channels).

    Without a centre the sum does: dividing it by its count first would change nothing.
    """
    if name == "last":
        g.add("Cast", "mask.float", "attention_mask", to=TensorProto.FLOAT)
        g.constant("pool.axis", np.array([1]))
        g.add("Unsqueeze", "mask.row", "mask.float", "pool.axis")
    g.add("MatMul", f"{name}.sum", "mask.row", x)
    flat = g.add("Squeeze", f"{name}.flat", f"{name}.sum", "pool.axis")
    if centre is not None:
        count = g.add("ReduceSum", f"{name}.count", "mask.float", "pool.axis", keepdims=1)
        mean = g.add("Div", f"{name}.mean", flat, count)
        flat = g.add("Sub", f"{name}.centred", mean, g.constant(f"{name}.centre", centre))
    return g.add("LpNormalization", f"{name}.unit", flat, axis=-1, p=2)


def _both(g: _Nodes, last: str, early: str) -> None:
    """One vector of length 1: the last layer's and, lighter, the early one's behind it."""
    length = (1 + EARLY_WEIGHT**2) ** 0.5
    for part, weight in ((last, 1.0), (early, EARLY_WEIGHT)):
        g.add("Mul", f"{part}.weighed", part, g.constant(f"{part}.weight", np.array([weight / length], np.float32)))
    g.add("Concat", "embedding", f"{last}.weighed", f"{early}.weighed", axis=-1)
