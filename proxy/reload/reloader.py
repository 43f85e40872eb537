"""The reload itself: when to try, what must hold before the swap, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec

from proxy.config import Config, ConfigError, File
from proxy.embedding import Bulk, BulkEmbedder, Vector
from proxy.reload.fitting import TopicFitter
from proxy.reload.policies import unusable, warn_of_no_policy
from proxy.reload.prepare import Prepared, TestsFailed, is_same, prepare, texts_of
from proxy.reload.shadowing import Shadowing
from proxy.reload.source import ConfigSource
from proxy.routing.policy import Policy, policy_version
from proxy.telemetry.metrics import ReloadMetrics, ReloadResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reload:
    """One try and how it ended."""

    result: ReloadResult
    time: str
    """UTC, ISO 8601."""


class Reloader:
    """
    Watches one file and puts its config into use whenever it is a better one: readable, right, its tests passing.

    Looking, reading, embedding and fitting are done in one thread of its own, so that requests neither wait for
    them nor find the embedder busy. The file is looked at rather than subscribed to: every file system can be
    looked at, and the mounts that configuration comes from often tell of no change.
    """

    def __init__(
        self,
        source: ConfigSource,
        prepared: Prepared,
        *,
        embed: Callable[[str], Vector],
        bulk: BulkEmbedder,
        fitter: TopicFitter,
        policy_of: Callable[[Config, Policy | None], Policy | None],
        shadow_of: Callable[[Config], Shadowing | None],
        swap: Callable[[Prepared], Awaitable[None]],
        metrics: ReloadMetrics,
        poll_s: float,
    ) -> None:
        """
        Args:
            source: the file.
            prepared: what is in use at the start.
            embed: the vector of one text.
            bulk: the vectors of many.
            fitter: fits the topics.
            policy_of: reads the policy that a config names; another may stand in where the file is gone.
            shadow_of: reads what decides in the shadow of a config; called after `policy_of`.
            swap: puts a config into use, or raises and leaves the old one; called only with one that may be used.
            metrics: counts what happens.
            poll_s: seconds between two looks at the file.
        """
        self.last: Reload | None = None
        self._source = source
        self._written = prepared.config
        self._prepared = prepared
        self._embed = embed
        self._bulk = bulk
        self._fitter = fitter
        self._policy_of = policy_of
        self._shadow_of = shadow_of
        self._swap = swap
        self._metrics = metrics
        self._poll_s = poll_s
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Reload now, whether the file seems to have changed or not."""
        self._asked.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="reload")
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await self._asked.wait()
                if self._asked.is_set() or await loop.run_in_executor(thread, self._source.has_changed):
                    self._asked.clear()
                    await self._reload(thread)
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    async def _reload(self, thread: ThreadPoolExecutor) -> None:
        began = time.perf_counter()
        try:
            found = await asyncio.get_running_loop().run_in_executor(thread, self._read)
            if found is not None:
                written, prepared, bulk = found
                stands_in = self._stands_in(prepared.policy)
                await self._swap(prepared)
                warnings = _waiting_for_a_restart(self._prepared.config, written)
                self._written, self._prepared = written, prepared
        except ConfigError as error:
            self._failed("invalid", problems=[str(problem) for problem in error.problems])
        except TestsFailed as error:
            self._failed("tests_failed", problems=error.wrong)
        except Exception as error:
            # The last good config serves on, whatever went wrong, and the next change is tried again.
            logger.exception("unforeseen error in a reload")
            self._failed("error", problems=[type(error).__name__])
        else:
            seconds = round(time.perf_counter() - began, 3)
            if found is None:
                self._ended("unchanged")
                logger.info("config unchanged", extra=self._names(seconds))
                return
            self._ended("ok", stands_in=stands_in)
            came = {"from_cache": bulk.from_cache, "embedded": bulk.embedded, "fit_from": prepared.fit_from}
            logger.info("config reloaded", extra=self._names(seconds) | _counts(self._written) | came)
            if stands_in:
                told = {"path": str(self._written.policy), "version": policy_version(prepared.policy)}
                logger.warning("policy file is gone; its policy stays in use", extra=told)
            warn_of_no_policy(self._written, prepared.policy)
            for key in warnings:
                logger.warning("takes effect only after a restart", extra={"key": key})

    def _read(self) -> tuple[Config, Prepared, Bulk] | None:
        """
        In the thread: the config as written, as it can be used, and its vectors; None when it says what is in use.

        Raises:
            ConfigError: it cannot be read or is not right.
            TestsFailed: it does not pass its own tests.
        """
        written = self._source.load()
        named, used = written.policy, self._prepared.policy
        # The policy in use stands in for its own file: no other change has to wait until that is back.
        policy = self._policy_of(written, used if named == self._written.policy else None)
        if policy is None and named is not None and used is not None:
            # At a start there may be none yet. Here there was one, and to do without is a decision, not an accident.
            raise _missing(named, "is not there")  # it is another file's name
        usable = _usable_now(written, self._prepared.config)
        shadow = self._shadow_of(usable)
        in_use = _versions(used, self._prepared.shadow)
        if _versions(policy, shadow) == in_use and is_same(written, self._written):
            if named is not None and self._stands_in(policy):
                raise _missing(named, "is gone")  # which is all the news there is
            return None
        # One thread, where a start takes all that it may have: requests need the others.
        bulk = self._bulk.vectors(
            texts_of(usable, tests=True, shadow=shadow), threads=1, known=self._prepared.texts.vectors
        )
        prepared = prepare(usable, self._embed, bulk.vectors, self._fitter, policy, shadow)
        prepared.insist_on_tests()
        return written, prepared, bulk

    def _stands_in(self, policy: Policy | None) -> bool:
        """Whether this is the one in use, and not what its file was found to hold."""
        return policy is not None and policy is self._prepared.policy

    def _failed(self, result: ReloadResult, *, problems: list[str]) -> None:
        self._ended(result)
        logger.error(
            "config reload failed", extra={"path": str(self._source.path), "result": result, "problems": problems}
        )

    def _ended(self, result: ReloadResult, *, stands_in: bool = False) -> None:
        self.last = Reload(result, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        self._metrics.count(result, stands_in=stands_in)

    def _names(self, seconds: float) -> dict[str, Any]:
        return {"path": str(self._source.path), "sha256": self._prepared.sha256, "seconds": seconds}


def _missing(policy: File, what: str) -> ConfigError:
    return unusable(policy.path, f"{what}; remove 'policy' from routes.yaml to do without")


def _versions(policy: Policy | None, shadow: Shadowing | Prepared | None) -> tuple[str, str | None]:
    """The live policy's, and that of what decides in the shadow, if anything does."""
    return policy_version(policy), None if shadow is None else policy_version(shadow.policy)


def _usable_now(written: Config, used: Config) -> Config:
    """The new config with what the process was started with where that cannot change."""
    text = msgspec.structs.replace(written.text, max_tokens=used.text.max_tokens)
    return msgspec.structs.replace(written, text=text, embedding=used.embedding)


def _waiting_for_a_restart(used: Config, written: Config) -> list[str]:
    """The keys whose new values the process does not use."""
    keys = [
        f"embedding.{name}"
        for name in written.embedding.__struct_fields__
        if getattr(written.embedding, name) != getattr(used.embedding, name)
    ]
    return keys + ["text.max_tokens"] * (written.text.max_tokens != used.text.max_tokens)


def _counts(config: Config) -> dict[str, int]:
    return {name: len(getattr(config, name)) for name in ("models", "topics", "routes", "tests")}
