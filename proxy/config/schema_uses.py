"""What of routes.yaml says who chooses the model of a route: shares, the policy, and what would do in their place."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from proxy.config.values import File

Preference = Literal["quality", "balanced", "cheap"]
PREFER: dict[Preference, float] = {"cheap": 0.25, "balanced": 0.5, "quality": 1.0}
"""
What the names stand for. The scale is one of quality on requests that training did not see: 0 is the cheapest model
whatever it is worth, 0.25 as cheap as can be at 95% of the best single model's quality, 0.5 at all of it, 1 the best
quality; in between, quality rises evenly.
"""


class Choosing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the policy chooses among the models under `learned`."""

    prefer: Preference | Annotated[float, msgspec.Meta(ge=0, le=1)] = "balanced"
    """`quality` (1), `balanced` (0.5: as good as the best single model, as cheap as can be), `cheap` (0.25), 0 to 1."""
    explore: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.0
    """The share of requests that go to any of the models alike, so that feedback tells of those not chosen as well."""
    latency: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    """How much quality a second until a model's first content is worth, as measured now; 0 leaves it out."""


class Learned(Choosing, frozen=True, forbid_unknown_fields=True):
    """Several models of which the policy chooses one for each request."""

    learned: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Without a policy, the first one that can serve the request."""


LEARNED_ARM = "learned"
"""The arm of a split in which the policy chooses."""


class Split(Choosing, frozen=True, forbid_unknown_fields=True):
    """Several models that share a route's requests; the policy's choice may be one of them."""

    split: Annotated[dict[str, Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]], msgspec.Meta(min_length=1)]
    """
    Weights by arm: a model, or `learned` for the policy's choice. A conversation keeps its arm, and every replica
    gives it the same one.
    """
    learned: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None
    """The models among which the policy chooses in the arm `learned`."""

    @property
    def learned_arm(self) -> Learned | None:
        """What the arm `learned` is; None where all arms are models."""
        if self.learned is None:
            return None
        return Learned(self.learned, prefer=self.prefer, explore=self.explore, latency=self.latency)

    @property
    def models(self) -> tuple[str, ...]:
        """The arms that are models."""
        return tuple(name for name in self.split if self.learned is None or name != LEARNED_ARM)


def learned_of(use: str | Split | Learned | None) -> Learned | None:
    """What a route leaves to the policy; None where that has no say."""
    return use.learned_arm if isinstance(use, Split) else use if isinstance(use, Learned) else None


def named_by(use: str | Split | Learned | None) -> tuple[str, ...]:
    """The models that a route names, each once."""
    if use is None or isinstance(use, str):
        return () if use is None else (use,)
    return use.learned if isinstance(use, Learned) else tuple(dict.fromkeys((*use.models, *(use.learned or ()))))


class Shadow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What else might decide; one of the two. Both files are relative to this one."""

    policy: File | None = None
    """Another policy for the routes of this file."""
    routes: File | None = None
    """Another routes.yaml, with its own policy. Only what decides is used of it; its upstreams are never asked."""
