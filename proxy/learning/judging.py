"""What a policy would have earned on stored decisions that another made, and whether that is more than they did."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from proxy.config import PREFER
from proxy.learning.fit import fit_policy
from proxy.learning.held_out import Decided, by_folds, picked
from proxy.learning.incumbent import LEAST_UNSEEN, in_order
from proxy.learning.logged import Logged, Share
from proxy.learning.offpolicy import FEWEST, Estimate, doubly_robust, inverse_propensity, known_by, mean_of
from proxy.learning.rounding import rounded, usd
from proxy.routing.arrays import Bools, Floats, Ints
from proxy.routing.policy import STEPS, Outlook, Policy, step_of

MOST_LOSS = 0.02
"""How much worse than what was decided a new policy may be for all that is known, and still be taken."""
SIGNS = 4.0
"""Standard errors from which on a share is another one; the turns of a conversation are rated alike."""


@dataclass(frozen=True)
class Judged:
    """Stored decisions, and what a policy that has not seen them would have decided."""

    logged: Logged
    quality: Floats
    """(rows, models), predicted."""
    cost: Floats
    """(rows, models), predicted, USD; NaN without costs."""
    picks: Ints
    """(101, rows): the place of the model at every step of `prefer`, among those that its route may choose."""

    def take(self, which: Ints) -> Judged:
        """Some of the rows."""
        return Judged(self.logged.take(which), self.quality[which], self.cost[which], self.picks[:, which])

    def weights(self, picks: Ints) -> Floats:
        """(rows,): one over the propensity where a choice is the one that was made, else 0."""
        return np.asarray((picks == self.logged.chosen) / self.logged.propensities)

    def each(self, picks: Ints) -> Floats:
        """(rows,): what a choice earned, doubly robust; the mean is what counts, a row alone means nothing."""
        at, known = np.arange(len(picks)), self._predicted(self.quality)
        result: Floats = self.quality[at, picks] + self.weights(picks) * (self.logged.ratings - known)
        return result

    def cost_of(self, picks: Ints) -> float:
        """USD a request, in the same way; an unknown cost is taken at what is predicted. NaN where none is known."""
        if not len(picks):
            return math.nan
        at, known = np.arange(len(picks)), self._predicted(self.cost)
        beyond = np.nan_to_num(self.logged.costs - known)
        return float((self.cost[at, picks] + self.weights(picks) * beyond).mean())

    def doubly_robust(self, picks: Ints) -> Estimate:
        """What a choice would have earned."""
        log, at = self.logged, np.arange(len(picks))
        target = (picks == log.chosen).astype(np.float64)
        known, of_target = self._predicted(self.quality), self.quality[at, picks]
        return doubly_robust(log.ratings, log.propensities, target, known, of_target, log.rows.groups)

    def inverse_propensity(self, picks: Ints) -> Estimate:
        """The same without any prediction."""
        target = (picks == self.logged.chosen).astype(np.float64)
        return inverse_propensity(self.logged.ratings, self.logged.propensities, target, self.logged.rows.groups)

    def over_logged(self, picks: Ints) -> Estimate:
        """How much more it would have earned than what was decided; as much is known of that as `known_by` says."""
        weights, others, groups = self.weights(picks), self.logged.able.sum(axis=1) - 1.0, self.logged.rows.groups
        found = mean_of(self.each(picks) - self.logged.ratings, weights, groups)
        return found._replace(effective=known_by(weights, self.logged.propensities, others, groups))

    @cached_property
    def earned(self) -> Estimate:
        """What was decided earned."""
        ones = np.ones(len(self.logged))
        return inverse_propensity(self.logged.ratings, ones, ones, self.logged.rows.groups)

    @cached_property
    def logged_cost(self) -> float:
        """Of what was decided, USD a request."""
        costs = np.where(np.isfinite(self.logged.costs), self.logged.costs, self._predicted(self.cost))
        return float(costs.mean())

    def step_at(self, most: float) -> int:
        """The highest step of `prefer` that costs no more; 0 where none does, the last one without costs."""
        if not math.isfinite(most):
            return STEPS - 1
        cheap = [step for step in range(STEPS) if self.cost_of(self.picks[step]) <= most * (1 + 1e-9)]
        return cheap[-1] if cheap else 0

    def _predicted(self, of: Floats) -> Floats:
        return np.asarray(of[np.arange(len(self.logged)), self.logged.chosen])


def judge(policy: Policy, logged: Logged) -> Judged:
    """What a policy decides that has not seen these rows; they have its models, in its order."""
    return Judged(logged, *_decide(policy, logged))


def _decide(policy: Policy, logged: Logged) -> Decided:
    found = policy.predict(logged.rows.inputs)
    picks = np.zeros((STEPS, len(logged)), dtype=np.int64)
    for route in np.unique(logged.route_of).tolist():
        which = logged.route_of == route
        may = logged.able[which][0]
        single = int(np.where(may, policy.means, -np.inf).argmax())
        seen = Outlook(np.where(may, found.quality[which], np.float32(-np.inf)), found.cost_usd[which])
        _, _, picks[:, which] = picked(seen, policy.prefer.tolist(), single)
    return found.bounded.astype(np.float64), found.cost_usd.astype(np.float64), picks


def cross_judge(
    logged: Logged, *, embedder: str, seed: int = 0, folds: int = 5, tell: Callable[[int, int], None] | None = None
) -> Judged:
    """
    The same of policies that are fitted here: each row is decided by one that was fitted without it.

    Args:
        logged: to learn from.
        embedder: the name of the embedding model.
        seed: of the folds and of every draw.
        folds: how many.
        tell: is given how many folds are done, and of how many.
    """

    def decide(inside: Bools, outside: Bools) -> Decided:
        policy = fit_policy(logged.rows.take(inside), embedder=embedder, seed=seed)
        return _decide(policy, logged.take(np.flatnonzero(outside)))

    held = by_folds(logged.rows, decide, seed=seed, folds=folds, tell=tell)
    return Judged(logged, held.quality, held.cost, held.picks)


def report(judged: Judged) -> dict[str, Any]:
    """
    The figures, as JSON-ready values.

    Costs are USD a thousand requests; ratings 0 to 1, each with its 95% interval. An estimate is `enough` where as much
    is known as from `FEWEST` decisions that were drawn evenly and came out as the policy would have it; in all of these
    a conversation counts as one.
    """
    logged, at = judged.logged, judged.step_at(judged.logged_cost)
    return {
        "rows": len(logged),
        "texts": len(np.unique(logged.rows.texts)),
        "conversations": len(np.unique(logged.rows.groups)),
        "read": logged.found,
        "left_out": logged.left_out,
        "shares": [one._asdict() for one in logged.shares],
        "uneven": is_uneven(logged.shares),
        "logged": decided_of(judged),
        "models": [_model(judged, place) for place in range(len(logged.rows.models))],
        "settings": {name: _setting(judged, step_of(value)) for name, value in PREFER.items()},
        "at_logged_cost": _setting(judged, at),
        "routes": [_route(judged, place, at) for place in range(len(logged.routes))],
    }


def is_uneven(shares: Sequence[Share]) -> bool:
    """
    Whether one model's decisions are rated more often than the others', beyond what chance does.

    Then who keeps silent hangs on the model, and perhaps on how well it did: no estimate knows what they think.
    """
    drawn, rated = sum(one.drawn for one in shares), sum(one.rated for one in shares)
    if not 0 < rated < drawn:
        return False
    usual = rated / drawn
    return any(
        abs(one.rated - usual * one.drawn) > SIGNS * math.sqrt(one.drawn * usual * (1.0 - usual)) for one in shares
    )


def why_not_better(found: dict[str, Any]) -> str | None:
    """
    Why a policy with this report is not to take over from what decided before, in words; None when it is.

    At no more than the same cost it must earn more, by the doubly robust estimate, and must not, at the low end of the
    interval, earn two points less.
    """
    at, earned = found["at_logged_cost"], found["logged"]["quality"]["value"]
    if not at["enough"]:
        return (
            f"it is not known well enough what it is worth: the ratings of choices like its own say as much as "
            f"{at['effective']:.0f} evenly drawn ones, and {FEWEST} are needed; explore more, or wait "
            f"(of {found['conversations']:,} conversations, each counting as one)"
        )
    over = at["over_logged"]
    if over["value"] <= 0:
        return f"at no more cost it would have earned {at['quality']['value']:.4f}, and what was decided {earned:.4f}"
    if over["low"] < -MOST_LOSS:
        return (
            f"at no more cost it would have earned {100 * over['value']:.1f} points more than what was decided, but "
            f"that is known as {100 * over['low']:+.1f} to {100 * over['high']:+.1f} only; more ratings tell"
        )
    return None


def why_keep(old: Policy, new: Judged) -> str | None:
    """
    Why the policy in use is to be kept, in words; None when the new one is better. Both are for the same models and
    vectors.

    Compared is what both would have earned on decisions that neither has seen, the new one at no more than the old
    one's cost at `balanced`. Where the old one has seen nearly all, its lead over what was decided, as it told itself
    then, is what there is to beat.
    """
    unseen = new.logged.rows.unseen(old.seen)
    if len(unseen) < LEAST_UNSEEN:
        told = old.about.get("over_logged")
        own = new.over_logged(new.picks[new.step_at(new.logged_cost)]).value
        if isinstance(told, (int, float)) and own < told - 1e-4:
            return (
                f"held out, it earns {100 * own:+.2f} points over what was decided, and the incumbent {100 * told:+.2f}"
            )
        return None
    among = new.take(unseen)
    before = judge(in_order(old, new.logged.rows.models), among.logged)
    kept = before.picks[step_of(PREFER["balanced"])]
    mine = among.picks[among.step_at(before.cost_of(kept))]
    # Both are told by the new one's predictions, so that these cannot favour either.
    weights = np.maximum(among.weights(mine), among.weights(kept))
    lead = mean_of(among.each(mine) - among.each(kept), weights, among.logged.rows.groups)
    if lead.value < 0:
        return (
            f"on {len(unseen):,} decisions that neither has seen, the incumbent would have earned "
            f"{-100 * lead.value:.2f} points more at no less cost"
        )
    return None


def figures_of(judged: Judged, picks: Ints) -> dict[str, Any]:
    """
    What certain choices would have earned, as `report` has it.

    Args:
        judged: whose predictions are used.
        picks: (rows,): the places of the models.
    """
    found, over = judged.doubly_robust(picks), judged.over_logged(picks)
    return {
        "quality": _estimate(found),
        "inverse_propensity": _estimate(judged.inverse_propensity(picks)),
        "over_logged": _estimate(over),
        "effective": rounded(min(found.effective, over.effective), 1),
        "enough": found.is_enough and over.is_enough,
        "cost": usd(judged.cost_of(picks)),
    }


def decided_of(judged: Judged) -> dict[str, Any]:
    """What was decided earned, and cost."""
    return {"quality": _estimate(judged.earned), "cost": usd(judged.logged_cost)}


def _setting(judged: Judged, step: int) -> dict[str, Any]:
    return {"prefer": step / (STEPS - 1), **figures_of(judged, judged.picks[step])}


def _model(judged: Judged, place: int) -> dict[str, Any]:
    logged = judged.logged
    chosen = logged.chosen == place
    among = judged.take(np.flatnonzero(logged.able[:, place]))
    always = np.full(len(among.logged), place)
    found = among.doubly_robust(always)
    is_enough = found.is_enough and among.over_logged(always).is_enough
    return {
        "model": logged.rows.models[place],
        "rated": int(chosen.sum()),
        "rating": rounded(logged.ratings[chosen].mean()) if chosen.any() else None,
        "alone": _estimate(found),
        "enough": is_enough,
        "cost": usd(among.cost_of(always)),
        "taken": {name: rounded(np.mean(judged.picks[step_of(value)] == place)) for name, value in PREFER.items()},
    }


def _route(judged: Judged, place: int, step: int) -> dict[str, Any]:
    among = judged.take(np.flatnonzero(judged.logged.route_of == place))
    return {
        "route": judged.logged.routes[place],
        "rows": len(among.logged),
        "logged": decided_of(among),
        **_setting(among, step),
    }


def _estimate(found: Estimate) -> dict[str, float | None]:
    return {"value": rounded(found.value), "low": rounded(found.low), "high": rounded(found.high)}
