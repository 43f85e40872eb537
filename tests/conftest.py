"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import httpx
import pytest
from hypothesis import settings

# How long an example takes says something of the machine and whom it serves besides; `bench/` measures speed.
settings.register_profile("pointsman", deadline=None)
settings.load_profile("pointsman")


@pytest.fixture(scope="session", autouse=True)
def _read_certificates_once() -> Iterator[None]:
    """
    One TLS context for all clients of the tests that ask for the usual one.

    Every `httpx.Client()`, and each `httpx.get`, reads 150 certificates for its own: 40 ms, and most speak plain HTTP.
    The program's own context is not made here, and stays as it is.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx._transports.default.create_ssl_context", cache(httpx.create_ssl_context))
        yield
