"""Whether a new policy is better than the one that is in use."""

from __future__ import annotations

from dataclasses import replace

from proxy.learning.held_out import HeldOut, decide_all
from proxy.learning.measures import figures, outcomes
from proxy.learning.training_rows import Rows
from proxy.routing.policy import Policy

LEAST_UNSEEN = 100


def how_compared(old: Policy, rows: Rows, told: str) -> str:
    """
    In words: on what the incumbent is compared with a new policy.

    Args:
        old: in use, for the same models and vectors.
        rows: that the new one was trained on.
        told: what of `about` stands for the incumbent where it has seen nearly all of them.
    """
    unseen = len(rows.unseen(old.seen))
    if unseen >= LEAST_UNSEEN:
        return f"compared with the incumbent on the {unseen:,} of these requests that it has not seen"
    seen = f"the incumbent has seen all but {unseen} of these requests"
    own = old.about.get(told)
    if not isinstance(own, (int, float)):
        return f"{seen} and tells nothing of itself, so nothing was compared with it"
    return (
        f"{seen}, so what stands against it is what it told of itself, held out, when it was trained: "
        f"{100 * own:+.2f} points, of other requests if those were others; `pointsman evaluate` on requests that "
        "neither has seen tells more"
    )


def why_keep(old: Policy, new: HeldOut) -> str | None:
    """
    Why the old policy is to be kept, in words; None when the new one is better.

    The two are compared on requests that neither has seen, by their gain over a random mix. Where the old one was
    trained on nearly all of these, what it told of itself then, held out, is what there is to beat. The higher gain
    wins, by however little: each has proven before that it beats the best single model, so where chance decides
    between them nothing is lost, and a policy that knows newer requests is not kept out for want of certainty.

    Args:
        old: in use, for the same models and vectors.
        new: held-out decisions of the new one.
    """
    unseen = new.rows.unseen(old.seen)
    if len(unseen) < LEAST_UNSEEN:
        told = old.about.get("gain")
        own = float(figures(outcomes(new)).gain)
        if isinstance(told, (int, float)) and own < told - 1e-5:  # told in so many digits
            return f"held out, it gains {100 * own:.2f} points over a random mix, and the incumbent {100 * told:.2f}"
        return None
    among = new.take(unseen)
    decided = replace(decide_all(in_order(old, among.rows.models), among.rows), single=among.single)
    own, other = (float(figures(outcomes(each)).gain) for each in (among, decided))
    if own < other:
        told = f"it gains {100 * own:.2f} points over a random mix, and the incumbent {100 * other:.2f}"
        return f"on {len(unseen):,} requests that neither has seen, {told}"
    return None


def in_order(policy: Policy, models: tuple[str, ...]) -> Policy:
    """The same policy, its models in this order."""
    if policy.models == models:
        return policy
    order = [policy.models.index(name) for name in models]
    near, regions, forest = policy.neighbours, policy.regions, policy.forest
    return replace(
        policy,
        models=models,
        means=policy.means[order],
        mean_costs=policy.mean_costs[order],
        linear=policy.linear[:, order],
        cost=policy.cost[:, order],
        neighbours=replace(near, sums=near.sums[:, order], counts=near.counts[:, order]),
        forest=replace(forest, values=forest.values[:, order]),
        regions=regions._replace(quality=regions.quality[:, order], counts=regions.counts[:, order]),
    )
