"""The policy that a config names: read, and seen to fit it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from proxy.config import Config, ConfigError, Problem, read_file
from proxy.routing.policy import Policy
from proxy.routing.policy_file import MOST_BYTES, PolicyUnusable, check_fits, unpack

logger = logging.getLogger(__name__)


def read_policy(path: Path) -> Policy | None:
    """
    The policy in a file; None when there is no file.

    Raises:
        ConfigError: there is something, and it is not a policy.
    """
    try:
        content = read_file(path, MOST_BYTES, example="policy.npz")
    except FileNotFoundError:
        return None
    try:
        return unpack(content)
    except PolicyUnusable as error:
        raise unusable(path, str(error)) from error


def policy_of(config: Config, embedder: Callable[[], str], used: Policy | None = None) -> Policy | None:
    """
    The policy that a config is to decide by.

    None where it names no file, and where there is none yet: a first start has nothing to learn from, and its learned
    routes take their first model until a file is put there.

    Args:
        config: what routes.yaml says.
        embedder: the name of the embedding model that runs here; only asked for if there is a policy.
        used: what the file held before; it stands in where that is gone.

    Raises:
        ConfigError: the file cannot be used, or not with this config.
    """
    if config.policy is None:
        return None
    policy = read_policy(config.policy.path) or used
    if policy is None:
        return None
    models = {name for use in config.learned.values() for name in use.learned}
    try:
        check_fits(policy, embedder=embedder(), models=sorted(models))
    except PolicyUnusable as error:
        raise unusable(config.policy.path, str(error)) from error
    return policy


def warn_of_no_policy(config: Config, policy: Policy | None) -> None:
    """Say in the log where learned routes have no policy to be decided by."""
    if policy is None and config.learned:
        named = {} if config.policy is None else {"path": str(config.policy)}
        logger.warning("no policy yet", extra=named | {"instead": "the first model of learned routes"})


def unusable(path: Path, problem: str) -> ConfigError:
    """What to raise for a file that cannot be used."""
    return ConfigError([Problem.of(path, problem)])
