"""All figures of one policy on one set of rated requests, as JSON-ready values."""

from __future__ import annotations

from typing import Any

import numpy as np

from proxy.config import PREFER
from proxy.learning.held_out import HeldOut
from proxy.learning.measures import Figures, Pair, bootstrap, calibration_error, figures, outcomes, pair
from proxy.learning.rounding import known_middle, middle, rounded, usd
from proxy.routing.policy import STEPS, step_of

SHARES = (1.0, 0.95)


def report(held: HeldOut, *, seed: int = 0, knowing: HeldOut | None = None) -> dict[str, Any]:
    """
    The figures of held-out decisions.

    Costs are USD a thousand requests; quality and shares 0 to 1; each `interval` is the middle 90% of draws of the
    rows with replacement, None where its figure is, with None for an end among draws that never reach what is asked.
    `gain` is the quality over a random mix of the cheapest and the best single model at the same cost, averaged over
    the scale of `prefer`: what a policy has learned, in one number; 0 for nothing. `single` is best on these rows; what
    is compared with is the best one that could be known without them, one of `singles`.

    Args:
        held: decided by a policy that has not seen the rows.
        seed: of the draws.
        knowing: the same rows decided by one who knows their true domains, the control to come near.
    """
    found = outcomes(held)
    own, drawn = figures(found), figures(found, bootstrap(held.rows.groups, seed))
    return {
        "rows": len(held.rows),
        "texts": len(np.unique(held.rows.texts)),
        "models": _models(held),
        "single": held.rows.models[held.usual_single],
        "cheapest": held.rows.models[held.rows.cheapest],
        "singles": [held.rows.models[place] for place in np.unique(held.single).tolist()],
        "single_quality": rounded(own.single),
        "single_cost": usd(own.single_cost),
        "settings": {name: _setting(own, drawn, value) for name, value in PREFER.items()},
        "saved": [
            {
                "share": share,
                "saved": rounded(own.saved_at(share)),
                "interval": known_middle(own.saved_at(share), drawn.saved_at(share)),
            }
            for share in SHARES
        ],
        "true_domain": None if knowing is None else _knowing(figures(outcomes(knowing))),
        "gain": rounded(own.gain, 5),
        "gain_interval": middle(drawn.gain, 5),
        "calibration_error": rounded(calibration_error(held.quality, held.rows.scores)),
        "pair": _as_pair(pair(held, held.usual_single, held.rows.cheapest)),
        "curve": [
            {"prefer": step / (STEPS - 1), "quality": rounded(own.quality[step]), "cost": usd(own.cost[step])}
            for step in range(0, STEPS, 2)
        ],
    }


def why_not_better(found: dict[str, Any]) -> str | None:
    """
    Why a policy with this report is no better than the best single model, in words; None when it is.

    The rule: it gains over a random mix of the same cost by more than chance, which is when the lower end of the gain's
    interval is above 0 (of policies that learned nothing, one in twenty gets there); and its best quality is not below
    the best single model's by more than chance, which is when the upper end of that difference's interval is below 0.
    """
    single, best = found["single_quality"], found["settings"]["quality"]
    alone = " or ".join(map(repr, found["singles"])) + " alone"
    if best["above_single_interval"][1] < 0:
        return f"its best quality is {best['quality']:.4f}, and {alone} has {single:.4f}"
    against, hint = "a random mix of the cheapest and the best single model at the same cost", ""
    if found["single_cost"] is None:
        against = alone
        hint = '; nothing is known of costs, so none can be saved: add "costs" to the lines, or prices with -c'
    if not found["gain"]:
        return f"its quality is that of {against}{hint}"
    if found["gain"] < 0:
        return f"its quality is {100 * -found['gain']:.2f} points below that of {against}{hint}"
    low, high = found["gain_interval"]
    if low <= 0:
        seen = f"its quality is {100 * found['gain']:.2f} points above that of {against}"
        return f"{seen}, which may be chance: between {100 * low:+.2f} and {100 * high:+.2f}; more requests would tell"
    return None


def _models(held: HeldOut) -> list[dict[str, Any]]:
    rows = held.rows
    return [
        {
            "model": model,
            "rated": int(np.isfinite(rows.scores[:, place]).sum()),
            "quality": rounded(rows.means[place]),
            "cost": usd(rows.mean_costs[place]),
            "taken": {
                setting: rounded(np.mean(held.picks[step_of(value)] == place)) for setting, value in PREFER.items()
            },
        }
        for place, model in enumerate(rows.models)
    ]


def _setting(own: Figures, drawn: Figures, prefer: float) -> dict[str, Any]:
    at = step_of(prefer)
    saved = 1.0 - own.cost[at] / own.single_cost
    return {
        "prefer": prefer,
        "quality": rounded(own.quality[at]),
        "above_single": rounded(own.quality[at] - own.single),
        "above_single_interval": middle(drawn.quality[at] - drawn.single),
        "above_random_mix": rounded(own.quality[at] - own.mixed[at]),
        "cost": usd(own.cost[at]),
        "saved": rounded(saved),
        "saved_interval": known_middle(saved, 1.0 - drawn.cost[at] / drawn.single_cost),
    }


def _knowing(own: Figures) -> dict[str, Any]:
    return {
        "quality": rounded(own.quality[-1]),
        "above_single": rounded(own.quality[-1] - own.single),
        "saved": [{"share": share, "saved": rounded(own.saved_at(share))} for share in SHARES],
    }


def _as_pair(found: Pair) -> dict[str, Any]:
    return {
        "strong": found.strong,
        "weak": found.weak,
        "apgr": rounded(found.apgr),
        "cpt50": rounded(found.cpt50),
        "cpt80": rounded(found.cpt80),
    }
