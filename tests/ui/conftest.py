"""One browser and one running Pointsman for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.ui.world import CHROMIUM, World, browser, has_chromium, pointsman

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pointsman(tmp_path_factory.mktemp("ui")) as world:
        yield world


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if not has_chromium():
        pytest.skip(f"there is no Chromium at {CHROMIUM}")
    with browser() as opened:
        yield opened


def is_trouble(message: ConsoleMessage) -> bool:
    """A browser also complains of a request that is refused, as some of the tests' are; the page then shows why."""
    return message.type in ("error", "warning") and "responded with a status of 400" not in message.text


@pytest.fixture
def page(chromium: Browser, world: World) -> Iterator[Page]:
    """A new visitor; at the end nothing may have been complained of, and nobody else been asked."""
    trouble: list[str] = []
    hosts: set[str] = set()
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.on("console", lambda message: trouble.append(message.text) if is_trouble(message) else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.add_init_script(
        "addEventListener('securitypolicyviolation', (event) => console.error('policy', event.violatedDirective))"
    )
    page.goto(f"{world.url}/ui")
    yield page
    title = page.title()
    context.close()
    assert trouble == []
    assert hosts == {urlsplit(world.url).netloc}
    assert title != "broken", "a script in a text was run"


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Page]:
    """A new visitor who has gone nowhere yet, for tests with a server of their own."""
    page = chromium.new_page()
    page.set_default_timeout(15_000)
    yield page
    page.close()
