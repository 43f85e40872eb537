"""What decides in the shadow: another policy over the same routes, or another routes.yaml."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from proxy.config import Config
from proxy.reload.policies import policy_of, unusable
from proxy.routing.policy import Policy


@dataclass(frozen=True, slots=True)
class Shadowing:
    """A config of which only what decides is used, and its policy."""

    config: Config
    policy: Policy | None


def shadowing_of(config: Config, routes: Config | None, embedder: Callable[[], str]) -> Shadowing | None:
    """
    What is to decide in the shadow of a config; None where it names nothing.

    Args:
        config: what routes.yaml says.
        routes: what the other one says, if it names one; see `load_shadow`.
        embedder: the name of the embedding model that runs here.

    Raises:
        ConfigError: its policy cannot be used, or not with those routes.
    """
    if config.shadow is None:
        return None
    other = routes or msgspec.structs.replace(config, policy=config.shadow.policy, shadow=None)
    # Text is cut once, for both.
    text = msgspec.structs.replace(other.text, max_tokens=config.text.max_tokens)
    other = msgspec.structs.replace(other, text=text)
    policy = policy_of(other, embedder)
    if policy is None and config.shadow.policy is not None:
        raise unusable(config.shadow.policy.path, "is gone; remove 'shadow' from routes.yaml to do without")
    return Shadowing(other, policy)
