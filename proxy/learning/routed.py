"""What a whole routes.yaml is worth: on rated requests, and on stored decisions that another one made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from proxy.learning import judging
from proxy.learning.judging import Judged
from proxy.learning.logged import Logged
from proxy.learning.measures import bootstrap
from proxy.learning.rounding import middle, rounded, usd
from proxy.learning.training_rows import Rows
from proxy.routing.arrays import Bools, Floats, Ints


@dataclass(frozen=True)
class Taken:
    """Where requests went."""

    routes: tuple[str, ...]
    """Of each request."""
    models: tuple[str, ...]
    """Of each request; empty where none answers."""
    untold: Counter[str]
    """How many requests could not be decided here, by why not; they are none of these."""


class NothingToCompare(Exception):
    """Of no request everything that is to be compared was rated: says of what, in words."""


def places_of(models: Sequence[str], known: Sequence[str]) -> Ints:
    """(requests,): the place of each one's model among those that are known; -1 for others."""
    places = {name: place for place, name in enumerate(known)}
    return np.array([places.get(name, -1) for name in models], dtype=np.int64)


def on_rated(rows: Rows, taken: Taken, *, seed: int = 0) -> dict[str, Any]:
    """
    The figures of decisions on rated requests, as JSON-ready values.

    Compared are the requests on which the decided model, the best single one and the cheapest one were all rated. Costs
    are USD a thousand requests; each `interval` is the middle 90% of draws of the requests with replacement. The random
    mix is of the cheapest and the best single model, at the same cost: what could be had without looking.

    Args:
        rows: the requests.
        taken: where each went.
        seed: of the draws.

    Raises:
        NothingToCompare: there is no such request.
    """
    picks = places_of(taken.models, rows.models)
    own = _at(rows.scores, picks)
    is_rated = np.isfinite(own)
    if not is_rated.any():
        raise NothingToCompare("no request has a score of the model that it goes to")
    single, cheapest = _references(rows.take(np.flatnonzero(is_rated)))
    compared = is_rated & np.isfinite(rows.scores[:, [single, cheapest]]).all(axis=1)
    if not compared.any():
        others = f"and of {rows.models[single]!r}, the best single one"
        if cheapest != single:
            others = f"of {rows.models[single]!r}, the best single one, and of {rows.models[cheapest]!r}, the cheapest"
        raise NothingToCompare(f"no request has scores of the model that it goes to, {others}")
    which: Ints = np.flatnonzero(compared)
    among, score = rows.take(which), own[which]
    costs = _at(rows.costs, picks)[which]
    alone = among.scores[:, single]
    draws = bootstrap(among.groups, seed)
    draws /= draws.sum(axis=0)
    names = np.array(taken.routes, dtype=object)[which]
    models = np.array(taken.models, dtype=object)[which]
    found: dict[str, Any] = {
        "rows": len(among),
        "untold": dict(taken.untold),
        "not_rated": int((~compared).sum()),
        "quality": rounded(score.mean()),
        "interval": middle(score @ draws),
        "cost": usd(costs.mean()),
        "single": rows.models[single],
        "single_quality": rounded(alone.mean()),
        "single_cost": usd(among.costs[:, single].mean()),
        "above_single": rounded((score - alone).mean()),
        "above_single_interval": middle((score - alone) @ draws),
        "above_random_mix": None,
        "routes": [],
    }
    if np.isfinite(among.costs[:, [single, cheapest]]).all() and np.isfinite(costs).all():
        mixed = _mixed(among, single, cheapest, float(costs.mean()))
        found["above_random_mix"] = rounded((score - mixed).mean())
        found["above_random_mix_interval"] = middle((score - mixed) @ draws)
    for name in dict.fromkeys(names.tolist()):
        here = names == name
        found["routes"].append(
            {
                "route": name,
                "rows": int(here.sum()),
                "models": dict(Counter(models[here].tolist()).most_common()),
                "quality": rounded(score[here].mean()),
                "cost": usd(costs[here].mean()),
                "single_quality": rounded(alone[here].mean()),
            }
        )
    return found


def drawable(logged: Logged, taken: Taken) -> Bools:
    """(rows,): whether the model that each would have gone to was ever drawn in its route."""
    picks = places_of(taken.models, logged.rows.models)
    result: Bools = np.asarray((picks >= 0) & logged.able[np.arange(len(picks)), picks])
    return result


def on_stored(judged: Judged, taken: Taken) -> dict[str, Any]:
    """
    The estimates of other decisions than those that were made, as JSON-ready values.

    Args:
        judged: the stored decisions, with predictions that have not seen them.
        taken: where each would have gone; some of them to models that were drawn there.
    """
    logged, could = judged.logged, drawable(judged.logged, taken)
    picks = places_of(taken.models, logged.rows.models)
    which: Ints = np.flatnonzero(could)
    among, chosen = judged.take(which), picks[which]
    names = np.array(taken.routes, dtype=object)[which]
    found: dict[str, Any] = {
        "rows": len(which),
        "conversations": len(np.unique(among.logged.rows.groups)),
        "read": logged.found,
        "left_out": logged.left_out,
        "untold": dict(taken.untold),
        "never_drawn": int((~could).sum()),
        "logged": judging.decided_of(among),
        **judging.figures_of(among, chosen),
        "routes": [],
    }
    for name in dict.fromkeys(names.tolist()):
        here: Ints = np.flatnonzero(names == name)
        part = among.take(here)
        models = Counter(logged.rows.models[place] for place in chosen[here].tolist())
        found["routes"].append(
            {
                "route": name,
                "rows": len(here),
                "models": dict(models.most_common()),
                "logged": judging.decided_of(part),
                **judging.figures_of(part, chosen[here]),
            }
        )
    return found


def _at(values: Floats, picks: Ints) -> Floats:
    """(rows,): of the picked model; NaN where none is."""
    found = values[np.arange(len(picks)), np.maximum(picks, 0)]
    return np.where(picks >= 0, found, np.nan)


def _references(rows: Rows) -> tuple[int, int]:
    """The places of the best single model and of the cheapest, among those that were rated as often as any."""
    counts = np.isfinite(rows.scores).sum(axis=0)
    often = counts * 2 >= counts.max(initial=0)
    single = int(np.where(often, rows.means, -1.0).argmax())
    if not rows.has_costs:
        return single, single
    return single, int(np.where(often, rows.mean_costs, np.inf).argmin())


def _mixed(rows: Rows, single: int, cheapest: int, cost: float) -> Floats:
    """(rows,): what a random mix of two models that costs so much earns."""
    low, high = float(rows.costs[:, cheapest].mean()), float(rows.costs[:, single].mean())
    share = min(max((cost - low) / (high - low), 0.0), 1.0) if high > low else 1.0
    result: Floats = share * rows.scores[:, single] + (1.0 - share) * rows.scores[:, cheapest]
    return result
