"""The built-in references of complexity, and the direction that was fitted on them and comes with the package."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from proxy.routing.complexity import REGULARISATION, Complexity

_FOLDER = Path(__file__).parent / "references"
_TEXTS = _FOLDER / "complexity.txt"
FITTED = _FOLDER / "complexity.json"
"""Made by `python -m bench.complexity --write`, so that no start has to embed the references."""

MAX_TOKENS = 128
"""With how many tokens they are embedded; the longest has fewer, so the setting `text.max_tokens` changes little."""


def built_in_references() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The simple and the complex reference texts."""
    kinds: dict[str, list[str]] = {"-": [], "+": []}
    for line in _TEXTS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            kinds[line[0]].append(line[1:].strip().replace("\\n", "\n"))
    return tuple(kinds["-"]), tuple(kinds["+"])


def built_in_complexity() -> Complexity:
    """The direction between the built-in references, read, not fitted."""
    fitted = json.loads(FITTED.read_bytes())
    return Complexity(np.array(fitted["direction"]), fitted["offset"])


def made_of(model: Path) -> dict[str, Any]:
    """
    What a fitted direction depends on; it is out of date when the one in its file differs.

    Args:
        model: the embedding model's `model.onnx`.
    """
    return {
        "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "references_sha256": hashlib.sha256(_TEXTS.read_text(encoding="utf-8").encode()).hexdigest(),
        "max_tokens": MAX_TOKENS,
        "regularisation": REGULARISATION,
    }


def fitted_file(complexity: Complexity, model: Path) -> str:
    """The text of `FITTED` for a direction fitted on vectors of this model."""
    direction = [round(float(weight), 6) for weight in complexity.direction]
    rows = [", ".join(map(str, direction[start : start + 12])) for start in range(0, len(direction), 12)]
    head = json.dumps({"made_of": made_of(model), "offset": round(complexity.offset, 6)}, indent=2)
    return head[:-2] + ',\n  "direction": [\n    ' + ",\n    ".join(rows) + "\n  ]\n}\n"
