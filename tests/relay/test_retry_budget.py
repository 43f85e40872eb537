"""How many attempts more there may be, on a clock that stands until it is moved."""

from __future__ import annotations

from proxy.relay.retry_budget import RetryBudget


def test_the_budget_is_a_share_of_recent_requests_and_some_more() -> None:
    now = 1000.0
    budget = RetryBudget(lambda: now)
    budget.share, budget.free = 0.2, 3.0
    assert [budget.take() for _ in range(5)] == [True, True, True, False, False]
    for _ in range(10):
        budget.request()
    assert [budget.take() for _ in range(3)] == [True, True, False]
    now += 100
    assert budget.take(), "what was long ago does not count"
