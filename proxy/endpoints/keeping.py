"""From a request that is over to the row that is kept of it."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.embedding import Vector
from proxy.endpoints.running import Running
from proxy.endpoints.shadow import Would
from proxy.learning.stored_facts import kept
from proxy.learning.stored_rows import DecisionRow, hash_of_key, plain, word
from proxy.relay.finish import Finish
from proxy.routing.decision import Decision
from proxy.routing.facts import Facts, key_in
from proxy.telemetry.record import Record


def caller_of(headers: Mapping[str, str]) -> bytes | None:
    """What tells one caller's key from another's; None without one."""
    key = key_in(headers)
    scheme, _, rest = key.partition(" ")
    if scheme.lower() == "bearer":
        key = rest
    return hash_of_key(key.strip()) if key.strip() else None


def keep(
    running: Running,
    facts: Facts,
    record: Record,
    decision: Decision,
    vector: Vector | None,
    *,
    ended: float,
    answer_id: str | None,
    finish: Finish,
    would: Would | None,
) -> None:
    """
    Hand one decision to the writer.

    Args:
        running: what the request ran on, which has a writer.
        facts: of the request.
        record: of the request, complete.
        decision: that was made for it.
        vector: of its text, if that was looked at.
        ended: when it was over, in seconds since 1970.
        answer_id: as the upstream named its answer.
        finish: how the answer ended, as far as it says.
        would: what the shadow would have done; None where there is none, or it could not tell.
    """
    writer = running.writer
    assert writer is not None
    caller, conversation, which = caller_of(facts.headers), facts.conversation_hash, running.config.text
    text, shape = facts.text(which), None if vector is None else facts.shape(which)
    # In the middle of tool calls the user's last words come again and again. And of those who show no key,
    # two strangers may say the same.
    may_be_retry = text and caller is not None and not facts.is_bound(which)
    writer.put(
        DecisionRow(
            id=record.id,
            time=ended - record.seconds,
            route=record.route,
            model=record.decided,
            answered=record.model,
            target=record.target,
            reason=record.reason,
            prompt_tokens=record.tokens.get("prompt"),
            cached_tokens=record.tokens.get("cached"),
            cache_write_tokens=record.tokens.get("cache_write"),
            completion_tokens=record.tokens.get("completion"),
            reasoning_tokens=record.tokens.get("reasoning"),
            cost_usd=record.cost_usd,
            baseline_cost_usd=record.baseline_cost_usd,
            seconds=record.seconds,
            first_token_s=record.first_token_s,
            status=record.status,
            outcome=record.outcome,
            error=record.error,
            completion_id=word(answer_id),
            finish_reason=word(finish.reason),
            is_cut=finish.is_cut,
            bad_tool_calls=finish.bad_tool_calls,
            retry_of=writer.retries.asked(record.id, conversation, text, facts.turns(which), facts.media)
            if may_be_retry
            else None,
            is_stream=record.is_stream,
            path=record.path,
            config_sha256=running.sha256,
            text=plain(text) if writer.keeps_text else None,
            facts=kept(facts, running.router.asks, which, shape),
            propensity=decision.propensity,
            arm=decision.arm,
            policy=record.policy or None,
            prefer=decision.prefer,
            region=decision.region,
            predicted=next((one.quality for one in decision.candidates if one.model == decision.model), None),
            shadow_route=None if would is None else would.route,
            shadow_model=None if would is None else would.model,
            shadow_chance=None if would is None else would.chance,
            key_hash=caller,
            conversation_hash=conversation,
            vector=vector,
        )
    )
