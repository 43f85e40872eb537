"""Text to unit vectors, inside the process: all-MiniLM-L6-v2 on ONNX Runtime."""

from proxy.embedding.minilm import DIMENSIONS, MiniLM, Vector, Vectors, last_layer
from proxy.embedding.pool import Embedder, EmbeddingFailed, FailOpenCause

__all__ = ["DIMENSIONS", "Embedder", "EmbeddingFailed", "FailOpenCause", "MiniLM", "Vector", "Vectors", "last_layer"]
