"""What `pointsman replay` says: to a reviewer, and to a script."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from proxy.cli.showing import between, count, day, named, share, table, usd
from proxy.learning.gain import Gain
from proxy.learning.offpolicy import FEWEST
from proxy.learning.replay import Replay, Way

EXAMPLES = 10
_LONGEST = 80
_WHY = {
    "conversation": "kept by their conversation",
    "overload": "made without their text, which could not be looked at in time",
    "explored": "explored; -c compares with what the rules would have done",
}


def as_json(found: Replay) -> dict[str, Any]:
    """The figures; costs in USD, times in seconds since 1970."""
    gain = found.rating
    return {
        "looked_at": found.looked_at,
        "first": found.first,
        "last": found.last,
        "stay": found.stay,
        "change": len(found.changes),
        "to_another_model": found.to_another_model,
        "untold": dict(found.untold),
        "left_out": dict(found.left_out),
        "changes": [
            {"from": old._asdict(), "to": new._asdict(), "decisions": decisions}
            for old, new, decisions in found.ways
        ],
        "cost": {
            "decisions": found.priced,
            "old_usd": found.old_usd,
            "new_usd": found.new_usd,
            "difference_usd": found.new_usd - found.old_usd,
            "difference_usd_per_1000": _per_1000(found),
        },
        "rating": {"difference": gain.value, "low": gain.low, "high": gain.high, "decisions": gain.rows,
                   "effective": gain.effective, "enough": gain.is_enough},
        "examples": [
            {"id": each.id, "from": each.old._asdict(), "to": each.new._asdict(), "difference_usd": each.more_usd,
             "text": each.text}
            for each in found.strongest(EXAMPLES)
        ],
    }  # fmt: skip


def show(console: Console, found: Replay) -> None:
    """The same as tables."""
    if not found.looked_at:
        console.print("No decisions are stored of this time.")
        return
    console.print(f"{count(found.looked_at)} decisions, {day(found.first)} to {day(found.last)} (UTC)\n")
    summary = table("", "decisions", "share")
    summary.add_row("stay", count(found.stay), share(found.stay, found.looked_at))
    summary.add_row("change", count(len(found.changes)), share(len(found.changes), found.looked_at))
    moved = found.to_another_model
    summary.add_row("  to another model", count(moved), share(moved, found.looked_at))
    for what, number in found.untold.most_common():
        summary.add_row(f"cannot be told: not stored is {what}", count(number), share(number, found.looked_at))
    for why, number in found.left_out.most_common():
        summary.add_row(f"left out: {_WHY[why]}", count(number), share(number, found.looked_at))
    console.print(summary)
    if not found.told:
        console.print("\nNothing can be compared.")
        return
    if found.changes:
        ways = table("from", "to", "decisions", left=2)
        for old, new, decisions in found.ways:
            ways.add_row(_way(old), _way(new), count(decisions))
        console.print()
        console.print(ways)
    console.print()
    console.print(_money(found))
    console.print(_rating(found.rating, found))
    _show_examples(console, found)


def _money(found: Replay) -> str:
    if not found.priced:
        return "Cost: of no decision both costs are known; models without `price`, or answers without usage."
    unknown = found.told - found.priced
    left = f" ({count(unknown)} more have no known cost)" if unknown else ""
    return (
        f"Cost of {count(found.priced)} decisions{left}: {usd(found.old_usd)} USD now, {usd(found.new_usd)} expected, "
        f"{usd(found.new_usd - found.old_usd, sign=True)} USD; per 1,000: {usd(_per_1000(found), sign=True)}"
    )


def _rating(gain: Gain, found: Replay) -> str:
    if not found.changes:
        return "Rating: nothing changes."
    if not gain.is_enough:
        return (
            f"Rating: not enough to say. {count(gain.rows)} rated decisions of the routes that change had a model "
            f"drawn by chance (split, explore), and {gain.effective:.0f} of them tell of the new choices; it takes "
            f"{FEWEST}."
        )
    assert gain.low is not None
    assert gain.high is not None
    return (
        f"Rating: {between(gain.value, (gain.low, gain.high))} a decision (95%) of the routes that change, by the "
        f"{count(gain.rows)} rated ones whose model was drawn by chance."
    )


def _show_examples(console: Console, found: Replay) -> None:
    strongest = found.strongest(EXAMPLES)
    if not strongest:
        return
    texts = ["text"] if any(each.text for each in strongest) else []
    examples = table("id", "from", "to", "USD", *texts, left=3)
    for each in strongest:
        said = [Text(named(" ".join((each.text or "").split())[:_LONGEST])) for _ in texts]
        examples.add_row(named(each.id), _way(each.old), _way(each.new), usd(each.more_usd, sign=True), *said)
    console.print()
    console.print(examples)


def _way(way: Way) -> Text:
    return Text(named(f"{way.route} · {way.model}"))


def _per_1000(found: Replay) -> float | None:
    return 1000 * (found.new_usd - found.old_usd) / found.priced if found.priced else None
