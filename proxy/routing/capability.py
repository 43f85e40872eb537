"""Which models can serve a request at all: the filter that comes before taste."""

from __future__ import annotations

from proxy.config import Capability, Feature, Model
from proxy.routing.facts import Facts

_NEEDED: dict[Feature, Capability] = {
    "tools": "tools",
    "images": "vision",
    "audio": "audio",
    "files": "files",
    "json_schema": "json_schema",
}


def why_excluded(model: Model, facts: Facts) -> str | None:
    """
    Why a model cannot serve a request, in words; None when it can.

    What routes.yaml does not say of a model is not held against it.
    """
    if model.context is not None and facts.tokens_needed > model.context:
        return f"context: {facts.tokens_needed:,} tokens needed, {model.context:,} available"
    if model.supports is not None:
        needed = {_NEEDED[feature] for feature in facts.features if feature in _NEEDED}
        if missing := sorted(needed.difference(model.supports)):
            return f"capability: {' and '.join(missing)} needed, not supported"
    return None
