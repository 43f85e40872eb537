"""GET /v1/policy: what was learned, and what feedback on live decisions adds to it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
from starlette.types import Receive, Scope, Send

from proxy.endpoints.answers import send_json
from proxy.endpoints.running import Running, running_of
from proxy.errors import NoPolicy
from proxy.learning.corrections import no_corrections
from proxy.learning.corrector import Corrector
from proxy.routing.policy import Policy
from proxy.routing.topics import Topics

_MOST_EXAMPLES = 2000


class ShowPolicy:
    """The policy in use, and its corrections as the worker sees them that answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """
        `regions` has each region of texts with each model: what training knows of it, and what feedback since adds. A
        region is a number; what it is about, the topics tell whose examples lie in it.

        Raises:
            NoPolicy: there is none.
        """
        running = running_of(scope)
        policy = running.policy
        if policy is None:
            named = running.config.policy
            raise NoPolicy(
                "There is no policy: routes.yaml names none under 'policy'."
                if named is None
                else f"There is no policy yet at {str(named.path)!r}; 'pointsman train' makes one."
            )
        lying = [] if running.topics is None else await asyncio.to_thread(_lying_in, policy, running.topics)
        await send_json(
            send,
            {
                "version": policy.version,
                "embedder": policy.embedder,
                "rows": policy.about.get("rows"),
                "models": [
                    {
                        "model": name,
                        "quality": round(float(policy.means[place]), 4),
                        "cost_usd": round(float(policy.mean_costs[place]), 8) if policy.knows_costs else None,
                    }
                    for place, name in enumerate(policy.models)
                ],
                "mode": running.config.corrections.mode,
                "corrections": None if running.corrector is None else _told(running.corrector),
                "note": _note(running),
                "regions": _regions(policy, running.corrector, lying),
            },
        )


def _note(running: Running) -> str | None:
    """Why there are no corrections, where one would look for them."""
    if running.corrector is not None:
        if not running.corrector.is_broken:
            return None
        told = "it has told nothing yet" if running.corrector.seen is None else "these are the last that it told"
        return f"the store does not answer; {told}"
    if running.writer is None:
        return "nothing is kept here, so no feedback corrects the policy; 'store' in routes.yaml turns that on"
    return "corrections are off"


def _told(corrector: Corrector) -> dict[str, Any]:
    settings = corrector.settings
    seen = None if corrector.seen is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(corrector.seen))
    return {
        "applied": corrector.applied is not None,
        "ratings": int(corrector.corrections.ratings.sum()),
        "damaged": corrector.corrections.damaged,
        "half_life_s": float(settings.half_life),
        "most": settings.most,
        "every_s": float(settings.every),
        "seen": seen,
    }


def _lying_in(policy: Policy, topics: Topics) -> list[list[dict[str, Any]]]:
    """For each region the topics with examples in it, the most first; of very many examples each topic's first ones."""
    most = max(1, _MOST_EXAMPLES // len(topics.names))
    count = len(policy.regions.quality)
    counts = np.stack([np.bincount(policy.regions_of(rows[:most]), minlength=count) for rows in topics.examples])
    return [
        [
            {"topic": topics.names[topic], "examples": int(of[topic])}
            for topic in np.argsort(-of, kind="stable").tolist()
            if of[topic]
        ]
        for of in counts.T
    ]


def _regions(policy: Policy, corrector: Corrector | None, lying: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    known = policy.regions
    live = no_corrections(known.quality.shape) if corrector is None else corrector.corrections
    is_applied = corrector is not None and corrector.applied is not None
    return [
        {
            "region": region,
            "topics": lying[region] if lying else [],
            "models": [
                {
                    "model": name,
                    "quality": round(float(known.quality[region, place]), 4),
                    "ratings": int(known.counts[region, place]),
                    "live_ratings": int(live.ratings[region, place]),
                    "live_weight": round(float(live.weight[region, place]), 3),
                    "correction": round(float(live.added[region, place]), 4),
                    "applied": is_applied,
                }
                for place, name in enumerate(policy.models)
            ],
        }
        for region in range(len(known.quality))
    ]
