"""The start: a config's texts embedded, its topics fitted, its tests run, and what the log says of it meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from proxy.config import Config
from proxy.embedding import BulkEmbedder, BulkObserver, MiniLM, Vector, VectorCache
from proxy.reload.fitting import TopicFitter
from proxy.reload.policies import warn_of_no_policy
from proxy.reload.prepare import Prepared, prepare, texts_of
from proxy.reload.shadowing import Shadowing
from proxy.routing.kept_fits import KeptFits
from proxy.routing.policy import Policy, policy_version

logger = logging.getLogger(__name__)

_EVERY_S = 5.0


class LoadingLog:
    """A line every few seconds, so that a long start is no silent one; a quick one leaves none."""

    def __init__(self, every_s: float = _EVERY_S) -> None:
        """
        Args:
            every_s: seconds between two lines.
        """
        self._every_s = every_s
        self._told = 0.0

    def embedding(self, done: int, texts: int) -> None:
        """So many of the texts that have to be embedded are."""
        now = time.monotonic()
        if done == 0:
            self._told = now
        elif done < texts and now - self._told >= self._every_s:
            self._told = now
            logger.info("embedding examples", extra={"done": done, "texts": texts})

    def cache_unusable(self, problem: str) -> None:
        """What is kept on disk cannot be used."""
        logger.warning("cache unusable", extra={"problem": problem})


def loaders(model: MiniLM, cache_dir: Path | None, observer: BulkObserver) -> tuple[BulkEmbedder, TopicFitter]:
    """
    What embeds a file's texts, and what fits its topics.

    Args:
        model: the embedding model.
        cache_dir: a folder that keeps what both make, for the next start; None keeps nothing.
        observer: is told of progress, and of trouble with that folder.
    """
    vectors = fits = None
    if cache_dir is not None:
        vectors, fits = VectorCache(cache_dir, model.fingerprint()), KeptFits(cache_dir)
    bulk = BulkEmbedder(model.embed, cache=vectors, observer=observer)
    return bulk, TopicFitter(fits, bulk.troubles)


def load(
    config: Config,
    embed: Callable[[str], Vector],
    bulk: BulkEmbedder,
    fitter: TopicFitter,
    policy: Policy | None,
    shadow: Shadowing | None = None,
) -> Prepared:
    """
    Make the config of a start ready to decide, and see that it does so as its tests say.

    With thousands of examples it takes a minute.

    Args:
        config: what routes.yaml says.
        embed: the vector of one text.
        bulk: the vectors of many.
        fitter: fits the topics.
        policy: what learned routes are decided by; see `policy_of`.
        shadow: what decides beside it; see `shadowing_of`.

    Raises:
        TestsFailed: it does not pass its own tests.
    """
    began = time.perf_counter()
    found = bulk.vectors(texts_of(config, tests=True, shadow=shadow), threads=config.embedding.threads)
    embedded = time.perf_counter()
    if found.vectors:
        told: dict[str, Any] = {
            "from_cache": found.from_cache,
            "embedded": found.embedded,
            "seconds": round(embedded - began, 3),
        }
        logger.info("examples embedded", extra=told)
    # As many threads as for the texts: no request waits yet. Those to come are decided on one.
    with threadpool_limits(limits=config.embedding.threads, user_api="blas"):
        prepared = prepare(config, embed, found.vectors, fitter, policy, shadow)
    if prepared.topics is not None:
        seconds = round(time.perf_counter() - embedded, 3)
        told = {"topics": len(config.topics), "from": prepared.fit_from, "seconds": seconds}
        logger.info("topics fitted", extra=told)
    if policy is not None:
        logger.info("policy loaded", extra={"version": policy.version, "models": list(policy.models)})
    warn_of_no_policy(config, policy)
    if prepared.shadow is not None:
        told = {"sha256": prepared.shadow.sha256, "policy": policy_version(prepared.shadow.policy)}
        logger.info("shadow loaded", extra=told)
    prepared.insist_on_tests()
    return prepared
