"""The ratings that correct a policy, as the store picks them: on both databases."""

from __future__ import annotations

from pathlib import Path

from proxy.learning.store import Store
from proxy.learning.stored_rows import LiveRating, Rating
from tests.learning.rows import row
from tests.learning.test_store import Base, base, sqlite_base

__all__ = ["base"]

LIVE = {"model": "large", "answered": "large", "policy": "p1", "region": 2, "predicted": 0.75}


def test_only_what_says_something_of_this_policy_is_found(base: Base) -> None:
    async def keep(store: Store) -> tuple[list[LiveRating], int]:
        await store.write(
            [
                row(1, **LIVE, conversation_hash=b"a" * 16),
                row(2, **{**LIVE, "policy": "p0"}),
                row(3, **{**LIVE, "answered": "small"}),
                row(4, **{**LIVE, "region": None}),
                row(5, **{**LIVE, "predicted": None}),
                row(6, **LIVE, outcome="failed"),
                row(7),
                row(8, **LIVE, conversation_hash=b"a" * 16),
            ]
        )
        for number in range(1, 9):
            base.now += 1
            await store.rate(Rating(f"ptm-{number}", 0.25, "user"), None)
        await store.rate(Rating("ptm-8", 1.0, "judge"), None)
        return await store.live_ratings("p1", since=0.0), await store.reset_corrections()

    found, reset = base.run(keep)
    assert reset == len(found) + 1, "that of another policy counts for that one"
    assert [(each.rating, each.source, each.time) for each in found] == [
        (1.0, "judge", base.now),
        (0.25, "user", base.now),
        (0.25, "user", base.now - 7),
    ]
    assert {(each.region, each.model, each.predicted) for each in found} == {(2, "large", 0.75)}
    assert len({each.conversation for each in found}) == 1
    assert len(found[0].conversation) == 16


def test_the_newest_are_looked_at_and_none_from_before_a_reset(base: Base) -> None:
    async def keep(store: Store) -> list[list[float]]:
        await store.write([row(number, **LIVE) for number in range(6)])
        for number in range(6):
            base.now += 1
            await store.rate(Rating(f"ptm-{number}", number / 10, "user"), None)

        async def ratings(since: float = 0.0, most: int = 100) -> list[float]:
            return [each.rating for each in await store.live_ratings("p1", since=since, most=most)]

        told = [await ratings(), await ratings(most=2), await ratings(since=base.now - 3)]
        base.now += 1
        counts = [await store.reset_corrections(), await store.reset_corrections()]
        told += [[float(count) for count in counts], await ratings()]
        base.now += 1
        await store.rate(Rating("ptm-3", 1.0, "user"), None)  # who says it again says it now
        told += [await ratings()]
        base.now += 1
        counts = [await store.reset_corrections() for _ in range(2)]
        return [*told, [float(count) for count in counts], await ratings()]

    assert base.run(keep) == [
        [0.5, 0.4, 0.3, 0.2, 0.1, 0.0],
        [0.5, 0.4],
        [0.5, 0.4, 0.3],
        [6.0, 0.0],
        [],
        [1.0],
        [1.0, 0.0],
        [],
    ]


def test_they_are_found_by_an_index(tmp_path: Path) -> None:
    base = sqlite_base(tmp_path / "store.db")
    base.run(Store.open)
    plan = base.ask("EXPLAIN QUERY PLAN SELECT * FROM feedback WHERE time > 5 ORDER BY time DESC LIMIT 9")
    assert "feedback_by_time" in str(plan)


def test_ratings_of_other_decisions_do_not_crowd_them_out(base: Base) -> None:
    async def keep(store: Store) -> int:
        await store.write([row(1, **LIVE), *(row(number) for number in range(2, 7))])
        for number in range(1, 7):
            base.now += 1
            await store.rate(Rating(f"ptm-{number}", 0.25, "user"), None)
        return len(await store.live_ratings("p1", since=0.0, most=2))

    assert base.run(keep) == 1
