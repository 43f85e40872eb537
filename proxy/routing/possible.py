"""What can come out of one routes.yaml: for metrics that are there from the start, and for what is known of ratings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import combinations, product

from proxy.config import DEFAULT_ROUTE, PINNED_ROUTE, Config, Learned, Route, Split, WireProtocol, named_by
from proxy.routing.conditions import may_hold_without_text, text_signals
from proxy.routing.conversation import is_firm
from proxy.routing.decision import NO_MODEL, Reason


class Possible:
    """Of a router, by what its rules name; which of them a request really meets is not asked."""

    def __init__(self, config: Config, *, has_policy: bool) -> None:
        """
        Args:
            config: what routes.yaml says.
            has_policy: whether a policy chooses in its learned routes.
        """
        self._config = config
        self._has_policy = has_policy
        self._defaults = defaults_of(config)

    @cached_property
    def decisions(self) -> frozenset[tuple[str, str, Reason]]:
        """Every route, model and reason."""
        routes = self._config.routes
        found: set[tuple[str, str, Reason]] = {(PINNED_ROUTE, model, "pinned") for model in self._config.models}
        found |= {(route.name, *way) for route in routes for way in self._of(route)}
        defaults = {name for default in self._defaults.values() for name in self._able(default, None)}
        found |= {(DEFAULT_ROUTE, name, "default") for name in defaults}
        never_kept = {route.name for route in routes if is_firm(route) and reasons_of(route) == ("rule",)}
        never_kept |= {route.name for route in routes if route.block is not None}
        found |= {(route, model, "conversation") for route, model, _ in found if route not in never_kept}
        if any(reasons_of(route) != ("rule",) for route in routes):
            found |= {(DEFAULT_ROUTE, name, "overload") for name in defaults}
        return frozenset(found)

    @cached_property
    def ways(self) -> frozenset[tuple[str, str]]:
        """Every route and model."""
        return frozenset((route, model) for route, model, _ in self.decisions)

    @property
    def arms(self) -> list[tuple[str, str]]:
        """Every route that splits its requests, with each of its arms."""
        return [(route.name, arm) for route in self._config.routes for arm in arms_of(route)]

    @property
    def fallbacks(self) -> set[tuple[str, str]]:
        """Every pair of a model and one that may come after it when it fails."""
        chains = [(name, *model.fallbacks) for name, model in self._config.models.items()]
        for route in self._config.routes:
            if route.fallbacks is not None:
                chains += [(use, *route.fallbacks) for use in named_by(route.use)]
        return {pair for chain in chains for pair in combinations(chain, 2) if pair[0] != pair[1]}

    def _of(self, route: Route) -> Iterator[tuple[str, Reason]]:
        """Every model and reason of a route."""
        if route.block is not None:
            yield from product((NO_MODEL,), reasons_of(route))
            return
        for models, reasons in self._uses(route):
            able = [name for model in models for name in self._able(model, route.fallbacks)]
            yield from product(able, reasons)

    def _uses(self, route: Route) -> Iterator[tuple[Iterable[str], tuple[Reason, ...]]]:
        """The models that a route may decide on, with what can be the reason."""
        use = route.use
        if isinstance(use, Split):
            yield use.models, ("split",)
            yield use.learned or (), self._of_policy(("split",))
        elif isinstance(use, Learned):
            yield use.learned, self._of_policy(reasons_of(route))
        elif use is not None:
            yield (use,), reasons_of(route)

    def _of_policy(self, otherwise: tuple[Reason, ...]) -> tuple[Reason, ...]:
        return ("learned", "overload") if self._has_policy else otherwise

    def _able(self, model: str, fallbacks: tuple[str, ...] | None) -> list[str]:
        """The models that may serve in place of this one, itself first, as far as routes.yaml lets any be excluded."""
        of_model = self._config.models[model]
        if of_model.context is None and of_model.supports is None and len(self._defaults) == 1:
            return [model]
        return [model, *(of_model.fallbacks if fallbacks is None else fallbacks)]


def defaults_of(config: Config) -> dict[WireProtocol, str]:
    """By protocol the default, or where that speaks another one the first model that speaks this one."""
    return {config.protocol(name): name for name in (*reversed(config.models), config.default)}


def arms_of(route: Route) -> tuple[str, ...]:
    """Of a route that splits its requests; none of another."""
    return tuple(route.use.split) if isinstance(route.use, Split) else ()


def reasons_of(route: Route) -> tuple[Reason, ...]:
    """What can be the reason for taking it: first where its text decides, last where it need not be looked at."""
    signals = text_signals(route.when)
    if not signals:
        return ("rule",)
    of_text: Reason = "topic" if "topic" in signals else "complexity"
    return (of_text, "rule") if may_hold_without_text(route.when) else (of_text,)
