"""What is fitted on the examples of topics; minutes of work where there are twenty thousand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxy.embedding import Vectors
from proxy.routing.arrays import Floats, Ints
from proxy.routing.probe import fit_probe
from proxy.routing.topic_calibration import Calibration, calibrate, held_out


@dataclass(frozen=True, slots=True)
class TopicFit:
    """All of a fit that decisions need."""

    weights: NDArray[np.float32]
    """(topics, 768), of the linear probe."""
    bias: NDArray[np.float32]
    """(topics,), with what centring the vectors would do."""
    calibration: Calibration


def fit_topics(examples: Mapping[str, Vectors], names: Vectors) -> TopicFit:
    """
    Fit a probe, and say how held-out examples look to it.

    Args:
        examples: by topic, (examples, 768); at least one topic, and at least one example each.
        names: (topics, 768), the vectors of `spoken(name)` in the same order.
    """
    vectors, labels = with_names(examples, names)
    probe = fit_probe(vectors, labels, len(names))
    calibration = calibrate(held_out(vectors, labels, len(vectors) - len(names), len(names)))
    weights = np.ascontiguousarray(probe.weights.T, dtype=np.float32)
    return TopicFit(weights, (probe.bias - probe.centre @ probe.weights).astype(np.float32), calibration)


def with_names(examples: Mapping[str, Vectors], names: Vectors) -> tuple[Floats, Ints]:
    """All examples, then all names, and each row's topic: a name is one more example of its topic."""
    vectors = np.concatenate([*examples.values(), names]).astype(np.float64)
    labels = np.repeat(np.arange(len(names)), [len(rows) for rows in examples.values()])
    return vectors, np.concatenate([labels, np.arange(len(names))])
