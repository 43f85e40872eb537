"""One running Pointsman for all tests of a package; its `conftest.py` imports the two fixtures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.relay.wire import Exchange, House
from tests.relay.wire import house as open_house

__all__ = ["house", "shared_house"]


@pytest.fixture(scope="package")
def shared_house() -> Iterator[House]:
    with open_house() as house:
        yield house


@pytest.fixture
def house(shared_house: House) -> House:
    """A running Pointsman, its upstreams' logs empty and their scripts plain."""
    shared_house.simulator.log.clear()
    shared_house.raw.exchanges.clear()
    shared_house.raw.script = Exchange.answer
    return shared_house
