"""The corrections in use: computed from the store again and again, in a task of its own off the path of requests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from proxy.config import Corrections as Settings
from proxy.learning.corrections import HALF_LIVES, Corrections, corrections_of, no_corrections
from proxy.learning.trouble import RowsRefused, StoreRefused, StoreUnavailable
from proxy.routing.arrays import Floats32
from proxy.routing.policy import Policy

if TYPE_CHECKING:
    from proxy.learning.store import Store

logger = logging.getLogger(__name__)

_PATIENCE_S = 1.0
_FORESEEN = (StoreUnavailable, StoreRefused, RowsRefused, TimeoutError)


class Corrector:
    """Knows what feedback adds to one policy. A store in trouble leaves that as it was, and fails no request."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        settings: Settings,
        tell: Callable[[Corrector], None],
    ) -> None:
        """
        Args:
            store: closed by its owner, after this.
            policy: whose predictions are corrected.
            settings: how far, and how often the store is asked; its mode is not `off`.
            tell: gets this one after each look, also after one that failed.
        """
        self.policy = policy
        self.settings = settings
        self.corrections: Corrections = no_corrections(policy.regions.quality.shape)
        """The last that could be computed."""
        self.seen: float | None = None
        """When that was, in seconds since 1970; None when it never was."""
        self.is_broken = False
        """Whether the last look at the store failed."""
        self._store = store
        self._tell = tell
        self._task: asyncio.Task[None] | None = None

    @property
    def applied(self) -> Floats32 | None:
        """(regions, models): what decisions add to predictions; None where they only observe."""
        return self.corrections.added if self.settings.mode == "apply" else None

    def take_over(self, before: Corrector) -> None:
        """
        Begin with what another one was last told: nothing, if that was of another policy or by another store.

        Without it, a reload while the store is in trouble would take the corrections away.
        """
        is_same_store = before._store.settings.url == self._store.settings.url
        if not is_same_store or before.policy.version != self.policy.version:
            return
        most = self.settings.most  # which may be less than it was
        self.corrections = replace(before.corrections, added=np.clip(before.corrections.added, -most, most))
        self.seen, self.is_broken = before.seen, before.is_broken

    async def start(self) -> None:
        """Look once, so that the first request is decided as any later one, and go on in a task."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self.look()
        except TimeoutError as error:
            self._trouble(error)
        self._task = asyncio.create_task(self._run(), name="corrections")

    async def stop(self) -> None:
        """Look no more; may be called again, and tells nothing of how the looking ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def look(self) -> None:
        """Compute the corrections from what the store holds now."""
        now, half_life_s = time.time(), self.settings.half_life
        try:
            ratings = await self._store.live_ratings(self.policy.version, since=now - HALF_LIVES * half_life_s)
            self.corrections = await asyncio.to_thread(
                corrections_of,
                ratings,
                models=self.policy.models,
                regions=len(self.policy.regions.quality),
                now=now,
                half_life_s=half_life_s,
                most=self.settings.most,
            )
        except Exception as error:  # whatever it is, requests are decided on, and the next look may be better
            self._trouble(error)
            return
        self.seen = now
        if self.is_broken:
            logger.info("corrections up to date again", extra={"store": self._store.shown})
        self.is_broken = False
        self._tell(self)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.settings.every)
            await self.look()

    def _trouble(self, error: Exception) -> None:
        """Logged when it begins; until it ends the last corrections hold."""
        if not self.is_broken:
            told = str(error) or type(error).__name__
            unforeseen = None if isinstance(error, _FORESEEN) else error
            shown = {"store": self._store.shown, "error": told}
            logger.warning("corrections not up to date", extra=shown, exc_info=unforeseen)
        self.is_broken = True
        self._tell(self)


@asynccontextmanager
async def correcting(
    settings: Settings,
    policy: Policy | None,
    store: Store | None,
    tell: Callable[[Corrector], None],
    before: Corrector | None,
) -> AsyncIterator[Corrector | None]:
    """
    What corrects a policy, until the block ends; None where there is none, nothing is kept, or routes.yaml says off.

    Args:
        settings: what routes.yaml says.
        policy: in use.
        store: where feedback is kept.
        tell: see `Corrector`.
        before: the one in use until now, if there is one.
    """
    if policy is None or store is None or settings.mode == "off":
        yield None
        return
    corrector = Corrector(store, policy, settings, tell)
    if before is not None:
        corrector.take_over(before)
    await corrector.start()
    try:
        yield corrector
    finally:
        await corrector.stop()
