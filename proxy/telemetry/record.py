"""What is known of one request when it is over: the source of its metrics and its log line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.telemetry.metrics import UNROUTED

LONGEST_NAME = 1000
"""Characters of a name that a client chose that are logged and kept in memory; spans have as many."""


@dataclass(slots=True)
class Record:
    """One request. No prompt, no reply, no key; whatever a client can invent stays out of the metrics' labels."""

    id: str
    request_id: str
    path: str
    requested: str = ""
    """The model name that the client asked for, `LONGEST_NAME` of it: it may be as long as a body."""
    is_stream: bool = False
    route: str = UNROUTED
    model: str = UNROUTED
    target: str = ""
    reason: str = ""
    arm: str | None = None
    """Of an experiment, as in the decision."""
    policy: str = ""
    """The version of the policy that had a say; empty where none had."""
    topic: str = ""
    score: float | None = None
    complexity: float | None = None
    status: int = 0
    """0 when the client left before there was one."""
    decided: str = UNROUTED
    """The model that was decided on; `model` is the one that was tried last."""
    outcome: str = ""
    """How the last attempt ended; empty when there was none."""
    attempts_before: Sequence[tuple[str, str]] = ()
    """The attempts before that: the target, and how it ended."""
    fallbacks: Sequence[tuple[str, str, str]] = ()
    """From which model to which, and why."""
    fail_open: str = ""
    phase: str = ""
    """Where the client left; empty when it stayed."""
    stages_s: dict[str, float] = field(default_factory=dict)
    decision_s: float | None = None
    first_token_s: float | None = None
    """Of a stream: what is not streamed comes whole."""
    seconds: float = 0.0
    tokens: dict[str, int] = field(default_factory=dict)
    cost_usd: float | None = None
    baseline_cost_usd: float | None = None
    """What the baseline would have cost; None where either cost is not known."""
    error: str = ""
    trace_id: str = ""
    """Empty where there is no trace."""

    def fields(self) -> dict[str, Any]:
        """The log line's fields; what did not happen is left out."""
        found: dict[str, Any] = {"id": self.id}
        if self.request_id != self.id:
            found["request_id"] = self.request_id
        if self.trace_id:
            found["trace_id"] = self.trace_id
        found["path"] = self.path
        for name in (
            "requested",
            "route",
            "model",
            "target",
            "reason",
            "arm",
            "topic",
            "outcome",
            "fail_open",
            "phase",
        ):
            if (value := getattr(self, name)) and value != UNROUTED:
                found[name] = value
        found["status"] = self.status
        if self.attempts_before:
            found["attempts"] = [{"target": target, "outcome": outcome} for target, outcome in self.attempts_before]
        if self.fallbacks:
            found["decided"] = self.decided
        if self.is_stream:
            found["stream"] = True
        for name in ("score", "complexity"):
            if (number := getattr(self, name)) is not None:
                found[name] = round(number, 3)
        for name, seconds in (("decision_ms", self.decision_s), ("first_token_ms", self.first_token_s)):
            if seconds is not None:
                found[name] = round(seconds * 1e3, 3)
        found["seconds"] = round(self.seconds, 4)
        if self.tokens:
            found["tokens"] = self.tokens
        if self.cost_usd is not None:
            found["cost_usd"] = round(self.cost_usd, 8)
        if self.baseline_cost_usd is not None:
            found["baseline_cost_usd"] = round(self.baseline_cost_usd, 8)
        if self.error:
            found["error"] = self.error
        return found
