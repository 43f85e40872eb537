"""A control: how far one gets who knows the true domain of every request, and nothing else of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proxy.learning.held_out import FOLDS, Decided, HeldOut, by_folds, picked
from proxy.learning.prefer import fit_prefer
from proxy.learning.training_rows import Rows, summed
from proxy.routing.arrays import Bools, Floats, Ints
from proxy.routing.policy import Outlook

PRIOR = 10.0
"""So many requests' worth of the model's mean stands in every domain."""


def by_domain(rows: Rows, domains: Sequence[str], *, seed: int = 0, folds: int = FOLDS) -> HeldOut | None:
    """
    Each row decided by what the models did in its domain on the other folds.

    Args:
        rows: rated requests.
        domains: of each row; empty where it is not known, which counts as one more domain.
        seed: of the folds, which are those of `cross_fit`.
        folds: how many.

    Returns:
        None where all rows are of one domain, or of one text, of which no part can be held out.
    """
    names, domain_of = np.unique(np.array(domains), return_inverse=True)
    if len(names) < 2 or len(np.unique(rows.held_together)) < 2:
        return None

    def decide(inside: Bools, outside: Bools) -> Decided:
        learned = rows.take(inside)
        tables = _tables(learned, domain_of[inside], len(names))
        prefer = fit_prefer(_outlook(*tables, domain_of[inside]), learned, 0.0)
        return picked(_outlook(*tables, domain_of[outside]), prefer.tolist(), learned.single)

    return by_folds(rows, decide, seed=seed, folds=folds)


def _tables(rows: Rows, domain_of: Ints, count: int) -> tuple[Floats, Floats]:
    """(domains, models) each: quality, and cost in USD."""
    is_known = np.isfinite(rows.costs)
    dearer = np.where(is_known, rows.costs - rows.mean_costs, 0.0)
    sums = [summed(each, domain_of, count) for each in (rows.weighed, rows.bounded_weights, dearer, is_known)]
    return rows.means + sums[0] / (sums[1] + PRIOR), rows.mean_costs + sums[2] / (sums[3] + PRIOR)


def _outlook(qualities: Floats, costs: Floats, domain_of: Ints) -> Outlook:
    return Outlook(qualities[domain_of].astype(np.float32), costs[domain_of].astype(np.float32))
