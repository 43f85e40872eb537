"""From lines to arrays: prompts embedded, costs that are not in the data made of prices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from proxy.config import Price, choices, did_you_mean
from proxy.embedding import DIMENSIONS, Vector, Vectors
from proxy.learning.reading import RatedLine
from proxy.learning.training_rows import Rows, keys_of
from proxy.routing.arrays import Floats
from proxy.routing.inputs import inputs_of
from proxy.routing.shape import SIZE, UNKNOWN, shape_of

LEAST_ROWS = 50
"""Different requests to learn from, at the least."""
OUTPUT_TOKENS = 300
"""Of an answer, where only prices are known."""


def rows_of(
    rated: Sequence[RatedLine],
    models: tuple[str, ...],
    embed: Callable[[Sequence[str]], Mapping[str, Vector]],
    prices: Mapping[str, Price] | None = None,
    output_tokens: int = OUTPUT_TOKENS,
) -> Rows:
    """
    The arrays of rated requests.

    Args:
        rated: the requests.
        models: what is rated, in the order of the columns.
        embed: the vectors of texts.
        prices: of the models, for those without a cost in the data.
        output_tokens: expected of an answer, where its cost is made of prices.
    """
    vectors_by_text = embed([one.text for one in rated if one.vector is None])
    vectors: Vectors = np.empty((len(rated), DIMENSIONS), dtype=np.float32)
    shapes = np.empty((len(rated), SIZE), dtype=np.float32)
    scores = np.full((len(rated), len(models)), np.nan)
    costs = np.full_like(scores, np.nan)
    weights = np.zeros_like(scores)
    for place, one in enumerate(rated):
        vectors[place] = vectors_by_text[one.text] if one.vector is None else one.vector
        shapes[place] = shape_of(said) if (said := one.text or one.prompt) else UNKNOWN
        for column, name in enumerate(models):
            if name in one.scores:
                scores[place, column] = one.scores[name]
                weights[place, column] = one.weight
            costs[place, column] = one.costs.get(name, np.nan)
    tokens = np.array([one.tokens for one in rated])
    for column, name in enumerate(models):
        price = (prices or {}).get(name)
        if price is not None and np.isnan(costs[:, column]).all():
            costs[:, column] = _costs(price, tokens, output_tokens)
    return Rows(models, inputs_of(vectors, tokens, shapes), scores, costs, weights, keys_of(vectors))


def _costs(price: Price, tokens: Floats, output_tokens: int) -> Floats:
    read = np.where(np.isfinite(tokens), tokens, np.nanmean(tokens) if np.isfinite(tokens).any() else 0.0)
    result: Floats = np.maximum((price.input * read + price.output * output_tokens) / 1e6, 1e-9)
    return result


def why_not(rows: Rows, least_rows: int) -> str | None:
    """Why nothing can be learned of these rows, in words; None when something can."""
    if len(rows.models) < 2:
        return f"there is only one model, {rows.models[0]!r}, so nothing to choose"
    texts, groups = len(np.unique(rows.texts)), len(np.unique(rows.groups))
    if texts < least_rows:
        return f"there are {texts} different requests; at least {least_rows} are needed, and some hundred to learn much"
    if groups < least_rows:
        return (
            f"its requests are of {groups} conversations, whose turns count as one, and at least {least_rows} are "
            "needed; what a conversation is known by: the header `x-pointsman-conversation`, else `prompt_cache_key`, "
            "else its first words"
        )
    rated = np.isfinite(rows.scores).sum(axis=0)
    few = {name: int(count) for name, count in zip(rows.models, rated, strict=True) if count < least_rows // 2}
    if few:
        told = ", ".join(f"{name!r} ({count})" for name, count in few.items())
        meant = {
            near for name in few if (near := did_you_mean(name, [each for each in rows.models if each not in few]))
        }
        hint = f"; did you mean {choices(map(repr, sorted(meant)))}?" if meant else ""
        return f"at least {least_rows // 2} ratings of each model are needed; too few have {told}{hint}"
    known = rows.scores[np.isfinite(rows.scores)]
    if np.ptp(known) == 0:
        return f"every score is {known[0]:g}, so all models look alike"
    if rows.is_complete.all() and not np.ptp(rows.scores, axis=1).any():
        return "all models have the same score on every request, so there is nothing to choose"
    return None
