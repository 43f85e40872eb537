"""Facts and signals to a decision. Pure: no clock, no I/O, no globals; the same input gives the same answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from proxy.config import (
    AUTO,
    DEFAULT_ROUTE,
    LEARNED_ARM,
    PINNED_ROUTE,
    Block,
    Config,
    Learned,
    Split,
    WireProtocol,
    learned_of,
)
from proxy.errors import NobodyCanServe, UnknownModel
from proxy.routing.asks import asks_of
from proxy.routing.capability import why_excluded
from proxy.routing.choosing import Drawn, draw
from proxy.routing.conditions import Condition, compile_when
from proxy.routing.conversation import Held, is_firm, ranks
from proxy.routing.decision import (
    NO_MODEL,
    Decision,
    Exclusion,
    Reason,
    RuleTrace,
)
from proxy.routing.edits import Edits, edits_of
from proxy.routing.facts import Facts
from proxy.routing.globs import Globs
from proxy.routing.live import NOTHING_LIVE, Live
from proxy.routing.pin import PIN_HEADER, pinned_model
from proxy.routing.policy import Policy
from proxy.routing.possible import Possible, arms_of, defaults_of, reasons_of
from proxy.routing.preference import asked_preference
from proxy.routing.signals import Signals
from proxy.routing.split import share

_UNKNOWN = Signals()
_API_OF: dict[WireProtocol, str] = {"openai": "OpenAI's API", "anthropic": "Anthropic's /v1/messages"}


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    when: Condition
    reasons: tuple[Reason, ...]
    """What can be the reason for taking it: first where its text decides, last where it need not be looked at."""
    use: str | Split | Learned | None
    block: Block | None
    fallbacks: tuple[str, ...] | None
    edits: tuple[Edits, ...]
    is_firm: bool
    """Whether it stands against a conversation's model where its text need not be looked at; a block always does."""


class Router:
    """The rules of one routes.yaml, ready to decide."""

    def __init__(self, config: Config, policy: Policy | None = None) -> None:
        """
        Args:
            config: what routes.yaml says.
            policy: knows every model of its learned routes; without one those take the first that can serve.
        """
        self._policy = policy
        self._config = config
        self._text = config.text
        self._models = config.models
        self._protocols = {name: config.protocol(name) for name in config.models}
        self._model_edits = {name: edits_of(model) for name, model in config.models.items()}
        self._defaults = defaults_of(config)
        self._is_routed = Globs((AUTO, *config.rewrite)).match
        self._rules = tuple(
            _Rule(
                route.name,
                compile_when(route.when, config.text),
                reasons_of(route),
                route.use,
                route.block,
                route.fallbacks,
                edits_of(route),
                is_firm(route),
            )
            for route in config.routes
        )
        self._route_edits = {rule.name: rule.edits for rule in self._rules if rule.block is None}
        self._route_edits[DEFAULT_ROUTE] = self._route_edits[PINNED_ROUTE] = ()
        self._route_fallbacks = {rule.name: rule.fallbacks for rule in self._rules}
        self._ranks = ranks(config)
        self._arms = {route.name: arms_of(route) for route in config.routes}
        learned = [use for rule in self._rules if (use := learned_of(rule.use)) is not None]
        self.explores = any(use.explore for use in learned)
        """Whether a decision may depend on `Live.draw`."""
        self.weighs_latency = policy is not None and any(use.latency for use in learned)
        """Whether a decision may depend on `Live.latencies_s`."""
        self.asks = asks_of(route.when for route in config.routes)
        """What of a client's own words its rules look at."""

    def decide(self, facts: Facts, signals: Signals, live: Live = NOTHING_LIVE) -> Decision | None:
        """
        Choose the model for one request.

        Args:
            facts: what it is.
            signals: what is known of its text.
            live: what else a learned route weighs.

        Returns:
            The decision; None when it depends on the text and `signals` do not have it yet. Ask again with
            signals that are final: then there always is one.

        Raises:
            UnknownModel: the client asked for a model that is not served here.
            NobodyCanServe: neither the model of the route nor any of its fallbacks can serve the request.
            BadRequest: the client prefers what cannot be preferred.
        """
        default = self._defaults.get(facts.protocol)
        if default is None:
            raise NobodyCanServe(
                f"No model here speaks {_API_OF[facts.protocol]}: that takes an upstream with "
                f"'protocol: {facts.protocol}' in routes.yaml."
            )
        asked_preference(facts.headers)  # what is wrong is told, whatever route it takes
        if (pinned := self._pinned(facts)) is not None:
            # A name may stand for another where it cannot or fails, as its model says; the header insists. What only
            # the account of the one that is named can read, the others could not answer.
            able = None if PIN_HEADER in facts.headers else self._able(pinned, None, facts)
            if able is not None and (able == pinned or not facts.is_tied):
                return self._first_able(PINNED_ROUTE, pinned, None, "pinned", (), facts, firm=True)
            if self._protocols[pinned] != facts.protocol:
                raise NobodyCanServe(f"Model {pinned!r} speaks {_API_OF[self._protocols[pinned]]} only.")
            return Decision(PINNED_ROUTE, pinned, "pinned", edits=self._model_edits[pinned], is_firm=True)
        for rule in self._rules:
            holds = rule.when.holds(facts, signals)
            if holds is None and not signals.is_final:
                return None
            if holds:  # what will never be known opens no route, nor does its opposite
                return self._apply(rule, facts, signals, live)
        reason: Reason = "overload" if signals.is_overload else "default"
        return self._first_able(DEFAULT_ROUTE, default, None, reason, (), facts)

    def decide_finally(self, facts: Facts, signals: Signals, live: Live = NOTHING_LIVE) -> Decision:
        """The decision with signals that are final; arguments and errors as of `decide`."""
        decision = self.decide(facts, signals, live)
        assert decision is not None, "final signals always lead to a decision"
        return decision

    def may_be_firm(self, facts: Facts) -> bool:
        """Whether there is a text with which this request would get a decision that is firm."""
        for rule in self._rules:
            holds = rule.when.holds(facts, _UNKNOWN)
            if rule.is_firm and (holds or (holds is None and rule.block is not None)):
                return True
            if holds:
                return False
        return False

    def resume(self, held: Held, facts: Facts) -> Decision | None:
        """The decision to go on where a conversation is; None if that is gone from the file or cannot serve this."""
        edits, model = self._route_edits.get(held.route), self._models.get(held.model)
        if edits is None or model is None or self._why_excluded(held.model, facts) is not None:
            return None
        all_edits = edits + self._model_edits[held.model]
        arm = held.arm if held.arm in self.arms_of(held.route) else None
        if held.target is not None:  # nobody else knows what came before
            return Decision(
                held.route,
                held.model,
                "conversation",
                edits=all_edits,
                target=held.target,
                key_hash=held.key_hash,
                arm=arm,
            )
        fallbacks = self._route_fallbacks.get(held.route)
        return Decision(
            held.route,
            held.model,
            "conversation",
            edits=all_edits,
            fallbacks=tuple(
                name for name in (model.fallbacks if fallbacks is None else fallbacks) if name != held.model
            ),
            arm=arm,
        )

    def fallbacks(self, decision: Decision, facts: Facts) -> Iterator[tuple[str, tuple[Edits, ...]]]:
        """The models that may stand in for the one decided on and can serve this request, with what each edits."""
        edits = self._route_edits.get(decision.route, ())
        for name in decision.fallbacks:
            if self._why_excluded(name, facts) is None:
                yield name, edits + self._model_edits[name]

    @cached_property
    def possible(self) -> Possible:
        """What can come out of `decide`."""
        return Possible(self._config, has_policy=self._policy is not None)

    def waits_for_policy(self, route: str) -> bool:
        """Whether the route would have the policy choose, if there were one."""
        return self._policy is None and any(
            rule.name == route and learned_of(rule.use) is not None for rule in self._rules
        )

    def is_stronger(self, model: str, than: str) -> bool:
        """Whether to go from one model to the other is an upgrade."""
        return self._ranks[model] > self._ranks[than]

    def _apply(self, rule: _Rule, facts: Facts, signals: Signals, live: Live) -> Decision | None:
        # A route that may look at the text need not have: then it would have held without.
        needs_no_text = rule.when.holds(facts, _UNKNOWN) is True
        reason = rule.reasons[-1] if needs_no_text else rule.reasons[0]
        if rule.block is not None:
            return Decision(rule.name, NO_MODEL, reason, block=rule.block, is_firm=True)
        firm = rule.is_firm and needs_no_text
        if isinstance(rule.use, Split):
            return self._split(rule, rule.use, facts, signals, live, firm)
        if isinstance(rule.use, Learned):
            drawn = self._draw(rule.use, reason, facts, signals, live)
            return None if drawn is None else self._drawn(rule, rule.use, drawn, facts)
        assert rule.use is not None, "a valid config has either a model or a block"
        return self._first_able(rule.name, rule.use, rule.fallbacks, reason, rule.edits, facts, firm)

    def _split(
        self, rule: _Rule, use: Split, facts: Facts, signals: Signals, live: Live, firm: bool
    ) -> Decision | None:
        """
        What the conversation's arm says.

        How likely the model was is counted over all arms. What the policy would choose is a part of that, so where it
        has an arm the text is looked at in each: all arms take the same time, and one can be learned from as well as
        another. Nor does a fixed arm then stand where the policy's would not.
        """
        learned, drawn = use.learned_arm, None
        if learned is not None:
            drawn = self._draw(learned, "split", facts, signals, live)
            if drawn is None:
                return None
        arm = share(use.split, f"{rule.name}\0{facts.caller_conversation}")
        if learned is not None and drawn is not None and arm == LEARNED_ARM:
            decision = self._drawn(rule, learned, drawn, facts)
        else:
            decision = self._first_able(rule.name, arm, rule.fallbacks, "split", rule.edits, facts, firm)
        chances: dict[str, float] = {}
        total = sum(use.split.values())
        for name, weight in use.split.items():
            within = drawn.chances if drawn is not None and name == LEARNED_ARM else {name: 1.0}
            for model, chance in within.items():
                able = self._able(model, rule.fallbacks, facts)
                if able is not None:
                    chances[able] = chances.get(able, 0.0) + weight * chance
        # Divided last, so that what is certain is 1, and not next to it.
        return replace(decision, arm=arm, chances={name: chance / total for name, chance in chances.items()})

    def _draw(self, use: Learned, reason: Reason, facts: Facts, signals: Signals, live: Live) -> Drawn | None:
        able = [name for name in use.learned if self._why_excluded(name, facts) is None]
        return draw(self._policy, use, able, reason, facts, self._text, signals, live)

    def _drawn(self, rule: _Rule, use: Learned, drawn: Drawn, facts: Facts) -> Decision:
        """What the policy chooses; without one the first model, as if the route had no other."""
        excluded = [
            Exclusion(name, why) for name in use.learned if (why := self._why_excluded(name, facts)) is not None
        ]
        decision = self._first_able(rule.name, drawn.model, rule.fallbacks, drawn.reason, rule.edits, facts)
        return replace(
            decision,
            excluded=tuple(dict.fromkeys((*excluded, *decision.excluded))),
            candidates=drawn.choice.candidates,
            region=drawn.choice.region,
            prefer=drawn.prefer,
            chances=drawn.chances,
        )

    def _able(self, model: str, fallbacks: Iterable[str] | None, facts: Facts) -> str | None:
        """What `_first_able` finds; None when there is none."""
        if self._why_excluded(model, facts) is None:
            return model
        chain = self._models[model].fallbacks if fallbacks is None else fallbacks
        return next((name for name in chain if self._why_excluded(name, facts) is None), None)

    def _first_able(
        self, route: str, model: str, fallbacks: Iterable[str] | None, reason: Reason, edits: tuple[Edits, ...],
        facts: Facts, firm: bool = False,
    ) -> Decision:  # fmt: skip
        """The model, or the first of its fallbacks that can serve the request."""
        excluded: list[Exclusion] = []
        chain = (model, *(self._models[model].fallbacks if fallbacks is None else fallbacks))
        for place, name in enumerate(chain, start=1):
            why = self._why_excluded(name, facts)
            if why is None:
                edits += self._model_edits[name]
                return Decision(
                    route,
                    name,
                    reason,
                    edits=edits,
                    excluded=tuple(excluded),
                    fallbacks=chain[place:],
                    is_firm=firm,
                )
            excluded.append(Exclusion(name, why))
        each = "; ".join(f"{exclusion.model}: {exclusion.why}" for exclusion in excluded)
        raise NobodyCanServe(f"No model of route {route!r} can serve this request. {each}.")

    def explain(self, facts: Facts, signals: Signals) -> list[RuleTrace]:
        """Every route in its order, with why it did or did not apply; `signals` must be final."""
        if self._pinned(facts) is not None:
            return [RuleTrace(rule.name, False, "not looked at: the client named the model") for rule in self._rules]
        traces: list[RuleTrace] = []
        for rule in self._rules:
            why = rule.when.why(facts, signals)
            holds = bool(rule.when.holds(facts, signals))
            if holds and any(trace.matched for trace in traces):
                holds, why = False, f"would apply, but an earlier route did: {why}"
            traces.append(RuleTrace(rule.name, holds, why))
        return traces

    def candidates(self, facts: Facts) -> dict[str, str | None]:
        """Every model with why it cannot serve this request; None when it can."""
        return {name: self._why_excluded(name, facts) for name in self._models}

    def _why_excluded(self, name: str, facts: Facts) -> str | None:
        """Why a model cannot serve a request, in words; None when it can."""
        if self._protocols[name] != facts.protocol:
            return f"protocol: {facts.protocol} needed, {self._protocols[name]} spoken"
        return why_excluded(self._models[name], facts)

    def arms_of(self, route: str) -> tuple[str, ...]:
        """Of a route that splits its requests; none of another."""
        return self._arms.get(route, ())

    def _pinned(self, facts: Facts) -> str | None:
        """The model that the client insists on, by header or by a name that is not routed."""
        if (named := pinned_model(facts.headers, self._models)) is not None:
            return named
        if self._is_routed(facts.model):
            return None
        if facts.model not in self._models:
            raise UnknownModel(
                f"Model {facts.model!r} is not served here; see /v1/models, or ask for {AUTO!r}.", param="model"
            )
        return facts.model
