"""How an answer ended, read from the side while its bytes pass: why it stopped, and whether its tool calls are JSON."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finish:
    """What an answer says of its end; nothing, where it does not."""

    reason: str | None = None
    """In the upstream's words."""
    is_cut: bool = False
    """Whether it stopped at its length limit."""
    bad_tool_calls: int | None = None
    """Calls of tools whose arguments are not JSON; None when that is not known."""
