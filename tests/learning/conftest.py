from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.learning.postgres import Cluster, cluster


@pytest.fixture(scope="package")
def postgres() -> Iterator[Cluster]:
    with cluster() as found:
        yield found
