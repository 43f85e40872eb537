"""
The attributes of spans: OpenTelemetry's semantic conventions for HTTP and for generative AI, and our own.

No prompt, no reply, no key, and no query of a URL is among them.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.telemetry.metrics import UNROUTED
from proxy.telemetry.record import Record
from proxy.telemetry.trace import Attributes, Said

# The names of generative AI are no part of the stable conventions' package, so they are written out here.
OPERATION = "gen_ai.operation.name"
REQUEST_MODEL = "gen_ai.request.model"
STATUS = "http.response.status_code"
ERROR = "error.type"

# An attempt that ended so did not fail.
_FINE = frozenset(("", "ok", "client_left"))


def of_target(*, label: str, model: str, provider: str, address: str, port: int | None) -> Attributes:
    """
    What is constant about a target.

    Args:
        label: as metrics have it.
        model: as the upstream calls it.
        provider: whose API it speaks.
        address: of its host.
        port: of it; None where the URL has no usual one.
    """
    found: dict[str, str | int] = {
        "gen_ai.provider.name": provider,
        REQUEST_MODEL: model,
        "server.address": address,
        "pointsman.target": label,
    }
    return found if port is None else {**found, "server.port": port}


def of_attempt(target: Attributes, method: str, operation: str, before: int, *, is_stream: bool) -> Attributes:
    """
    What is known of an attempt when it begins.

    Args:
        target: by `of_target`.
        method: of HTTP.
        operation: of a model; empty where it is not known to be any.
        before: attempts that were made already.
        is_stream: whether a stream is asked for.
    """
    found = {**target, "http.request.method": method}
    if operation:
        found[OPERATION] = operation
    if is_stream:
        found["gen_ai.request.stream"] = True
    if before:
        found["http.request.resend_count"] = before
    return found


def of_request(method: str, path: str, route: str) -> Attributes:
    """What is known of a request before it is read."""
    # What stands in front of this process may have ended TLS; it has not, and is asked over plain HTTP.
    return {"http.request.method": method, "url.scheme": "http", "url.path": path, "http.route": route}


def of_decision(record: Record) -> Attributes:
    """What was decided, and from what."""
    found: dict[str, str | int | float] = {
        f"pointsman.{name}": value
        for name in ("route", "reason", "arm", "topic", "fail_open", "decided", "policy")
        if (value := getattr(record, name)) and value != UNROUTED
    }
    for name in ("score", "complexity"):
        if (number := getattr(record, name)) is not None:
            found[f"pointsman.{name}"] = number
    return found


def of_stages(record: Record) -> Attributes:
    """How long the parts of a decision took, in seconds."""
    return {f"pointsman.{stage}_seconds": seconds for stage, seconds in record.stages_s.items()}


def of_end(record: Record) -> Attributes:
    """What is known of a request when it is over."""
    found = {"pointsman.decision_id": record.id, **of_decision(record)}
    if record.requested:
        found[REQUEST_MODEL] = record.requested
    if record.model != UNROUTED:
        found["pointsman.model"] = record.model
    if record.target:
        found["pointsman.target"] = record.target
        found["pointsman.attempts"] = len(record.attempts_before) + bool(record.outcome)
    if record.status:
        found[STATUS] = record.status
    if record.phase:
        found["pointsman.client_left"] = record.phase
    if record.cost_usd is not None:
        found["pointsman.cost_usd"] = record.cost_usd
    return found


def error_of_request(record: Record) -> str:
    """What went wrong on our side or behind it; empty where nothing did, or the client is to blame."""
    is_in_band = record.error and record.status < 400 and not record.phase
    return (record.error or str(record.status)) if record.status >= 500 or is_in_band else ""


def error_of_attempt(outcome: str, status: int) -> str:
    """
    How an attempt failed; empty where it did not.

    Args:
        outcome: as the record has it.
        status: of the reply; 0 without one.
    """
    if outcome in _FINE:
        return ""
    return str(status) if status >= 400 else outcome


def of_answer(record: Record, said: Said) -> Attributes:
    """What the last attempt brought."""
    found: dict[str, str | int | float | Sequence[str]] = {}
    if said.id:
        found["gen_ai.response.id"] = said.id
    if said.model:
        found["gen_ai.response.model"] = said.model
    if said.finish_reason:
        found["gen_ai.response.finish_reasons"] = (said.finish_reason,)
    if record.first_token_s is not None:
        found["gen_ai.response.time_to_first_chunk"] = record.first_token_s
    if record.tokens:
        found["gen_ai.usage.input_tokens"] = record.tokens["prompt"]
        found["gen_ai.usage.output_tokens"] = record.tokens["completion"]
        if record.tokens["cached"]:
            found["gen_ai.usage.cache_read.input_tokens"] = record.tokens["cached"]
        if record.tokens["cache_write"]:
            found["gen_ai.usage.cache_creation.input_tokens"] = record.tokens["cache_write"]
        if record.tokens["reasoning"]:
            found["gen_ai.usage.reasoning.output_tokens"] = record.tokens["reasoning"]
    return found
