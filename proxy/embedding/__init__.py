"""Text to unit vectors, inside the process: all-MiniLM-L6-v2 on ONNX Runtime."""

from proxy.embedding.bulk import Bulk, BulkEmbedder, BulkObserver
from proxy.embedding.courtesy import without_courtesy
from proxy.embedding.minilm import DIMENSIONS, LAST_LAYER, MiniLM, Vector, Vectors, last_layer, name_of
from proxy.embedding.pool import Embedder, EmbeddingFailed, FailOpenCause
from proxy.embedding.vector_cache import VectorCache

__all__ = [
    "DIMENSIONS",
    "LAST_LAYER",
    "Bulk",
    "BulkEmbedder",
    "BulkObserver",
    "Embedder",
    "EmbeddingFailed",
    "FailOpenCause",
    "MiniLM",
    "Vector",
    "VectorCache",
    "Vectors",
    "last_layer",
    "name_of",
    "without_courtesy",
]
