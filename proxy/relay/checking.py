"""What is seen of targets without a request: active health checks, and rests that end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx

from proxy.config import Config, HealthCheck
from proxy.relay.headers import request_headers
from proxy.relay.upstreams import Fleet, Target, Upstreams

logger = logging.getLogger(__name__)

_NOTICED_EVERY_S = 1.0


class Checks:
    """The health checks of the configuration in use."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, config: Config, upstreams: Upstreams) -> None:
        """
        Check the upstreams that routes.yaml says so of; those that were checked until now no more.

        Args:
            config: what routes.yaml says.
            upstreams: made of it, and open until others are checked.
        """
        before, targets = self._tasks, upstreams.all_targets()
        of_upstream = {name: [target for target in targets if target.upstream == name] for name in config.upstreams}
        self._tasks = [
            asyncio.create_task(_check_forever(upstream.health_check, of_upstream[name]))
            for name, upstream in config.upstreams.items()
            if upstream.health_check is not None and of_upstream[name]
        ]
        await _end(before)

    async def stop(self) -> None:
        """Check nothing any more."""
        await _end(self._tasks)


@asynccontextmanager
async def checking(config: Config, upstreams: Upstreams) -> AsyncIterator[Checks]:
    """Health checks, at first as this configuration has them, until the block ends."""
    checks = Checks()
    await checks.start(config, upstreams)
    try:
        yield checks
    finally:
        await checks.stop()


@asynccontextmanager
async def noticing(fleet: Fleet) -> AsyncIterator[None]:
    """Tell of rests that end, until the block does: an idle server's targets would seem to rest for ever."""
    task = asyncio.create_task(_notice_forever(fleet))
    try:
        yield
    finally:
        await _end([task])


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _notice_forever(fleet: Fleet) -> None:
    while True:
        await asyncio.sleep(_NOTICED_EVERY_S)
        fleet.notice()


async def _check_forever(check: HealthCheck, targets: Sequence[Target]) -> None:
    """Ask one upstream, of which all targets rest and are back together."""
    while True:
        is_well = await _is_well(check, targets[0])
        for target in targets:
            target.health.checked(is_well=is_well)
        await asyncio.sleep(check.every)


async def _is_well(check: HealthCheck, target: Target) -> bool:
    """Whether the upstream answers in time, with anything but trouble of its own."""
    request = httpx.Request("GET", target.url(check.path), headers=request_headers((), target.keys.pick().own))
    try:
        async with asyncio.timeout(check.timeout):
            response = await target.transport.handle_async_request(request)
            try:
                status = response.status_code
                async for _ in response.stream:  # type: ignore[union-attr]  # to its end, so the connection is kept
                    pass
            finally:
                await response.aclose()
        if status < 500:
            return True
        why = f"status {status}"
    except TimeoutError:
        why = f"no answer within {check.timeout:g} s"
    except httpx.TransportError as error:
        why = str(error)
    logger.debug("health check failed", extra={"upstream": target.upstream, "error": why})
    return False
