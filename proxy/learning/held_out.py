"""What a policy does on requests that it has not seen: by cross-validation where it is new, at once where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from proxy.learning.fit import fit_policy
from proxy.learning.prefer import pick
from proxy.learning.training_rows import Rows, folds_of
from proxy.routing.arrays import Bools, Floats, Ints
from proxy.routing.policy import STEPS, Outlook, Policy

FOLDS = 5

Decided = tuple[Floats, Floats, Ints]
"""(rows, models) predicted quality and USD; (101, rows) the place of the chosen model at every step of `prefer`."""


@dataclass(frozen=True)
class HeldOut:
    """Rows, each decided by a policy that was fitted without it."""

    rows: Rows
    quality: Floats
    """(rows, models), predicted."""
    cost: Floats
    """(rows, models), predicted, USD; NaN without costs."""
    picks: Ints
    """(101, rows): the place of the model that is chosen at every step of `prefer`."""
    single: Ints
    """(rows,): the place of the model that was best on average where the policy was fitted."""

    @property
    def usual_single(self) -> int:
        """The model that was the best single one for most of the rows; what is compared has it for nearly all."""
        return int(np.bincount(self.single).argmax())

    def take(self, which: Ints) -> HeldOut:
        """Some of the rows."""
        return HeldOut(
            self.rows.take(which), self.quality[which], self.cost[which], self.picks[:, which], self.single[which]
        )


def cross_fit(
    rows: Rows, *, embedder: str, seed: int = 0, folds: int = FOLDS, tell: Callable[[int, int], None] | None = None
) -> HeldOut:
    """
    Fit a policy on all but one fold, decide that fold, and so on around.

    Everything about each policy is chosen inside the rows it is fitted on, so the figures are those of the procedure.

    Args:
        rows: what to learn from.
        embedder: the name of the embedding model.
        seed: of the folds and of every draw.
        folds: how many.
        tell: is given how many folds are done, and of how many.
    """

    def decide(inside: Bools, outside: Bools) -> Decided:
        return _decide(fit_policy(rows.take(inside), embedder=embedder, seed=seed), rows.take(outside))

    return by_folds(rows, decide, seed=seed, folds=folds, tell=tell)


def by_folds(
    rows: Rows,
    decide: Callable[[Bools, Bools], Decided],
    *,
    seed: int = 0,
    folds: int = FOLDS,
    tell: Callable[[int, int], None] | None = None,
) -> HeldOut:
    """
    Each fold decided by what is learned of the others, whatever does so.

    Args:
        rows: what to learn from, and to decide.
        decide: is given which of them to learn from, and which to decide.
        seed: of the folds.
        folds: how many.
        tell: is given how many folds are done, and of how many.
    """
    fold_of = folds_of(rows.held_together, folds, seed + 1)
    quality = np.zeros(rows.scores.shape)
    cost = np.full(rows.scores.shape, np.nan)
    picks = np.zeros((STEPS, len(rows)), dtype=np.int64)
    single = np.zeros(len(rows), dtype=np.int64)
    for fold in range(folds):
        inside, outside = np.asarray(fold_of != fold), np.asarray(fold_of == fold)
        if outside.any():
            quality[outside], cost[outside], picks[:, outside] = decide(inside, outside)
            single[outside] = rows.take(inside).single
        if tell is not None:
            tell(fold + 1, folds)
    return HeldOut(rows, quality, cost, picks, single)


def decide_all(policy: Policy, rows: Rows) -> HeldOut:
    """The same of a policy that is there already; `rows` has its models, in its order."""
    return HeldOut(rows, *_decide(policy, rows), np.full(len(rows), policy.means.argmax()))


def _decide(policy: Policy, rows: Rows) -> Decided:
    return picked(policy.predict(rows.inputs), policy.prefer.tolist(), int(policy.means.argmax()))


def picked(outlook: Outlook, prefer: Iterable[tuple[float, float]], single: int) -> Decided:
    """What is predicted, and chosen at each weight of a dollar with each margin of the best single model."""
    picks = np.stack([pick(outlook, weight, margin, single) for weight, margin in prefer])
    return outlook.bounded.astype(np.float64), outlook.cost_usd.astype(np.float64), picks
