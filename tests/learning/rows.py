"""Rows for tests of the store, and a disk that has no room for them."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np

from proxy.config import Store as Settings
from proxy.config import StoreUrl
from proxy.embedding import DIMENSIONS
from proxy.learning.stored_rows import DecisionRow

PLAIN = DecisionRow(
    id="ptm-0",
    time=1_000_000.0,
    route="code",
    model="small",
    answered="large",
    target="sim/a",
    reason="topic",
    prompt_tokens=2**40,
    cached_tokens=0,
    cache_write_tokens=0,
    completion_tokens=3,
    reasoning_tokens=0,
    cost_usd=0.25,
    baseline_cost_usd=None,
    seconds=0.5,
    first_token_s=None,
    status=200,
    outcome="ok",
    error="",
    completion_id="chatcmpl-0",
    finish_reason="stop",
    is_cut=False,
    bad_tool_calls=None,
    retry_of=None,
    is_stream=False,
    path="/v1/chat/completions",
    config_sha256="a" * 64,
    text=None,
    facts=None,
    propensity=1.0,
    arm=None,
    policy=None,
    prefer=None,
    region=None,
    predicted=None,
    shadow_route=None,
    shadow_model=None,
    shadow_chance=None,
    key_hash=None,
    conversation_hash=b"c" * 16,
    vector=None,
)
VECTOR = np.linspace(-1, 1, DIMENSIONS, dtype=np.float32)


def row(number: int = 0, **fields: Any) -> DecisionRow:
    named = {"id": f"ptm-{number}", "completion_id": f"chatcmpl-{number}", "time": 1_000_000.0 + number}
    return msgspec.structs.replace(PLAIN, **{**named, **fields})


def settings(url: str, **fields: Any) -> Settings:
    return Settings(StoreUrl(url), **fields)


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
