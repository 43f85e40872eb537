"""What `pointsman check` advises about a file that is right and could be better."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config import Config, When, choices, folded, named_by
from proxy.routing.conditions import walk
from proxy.routing.possible import defaults_of

_FEW_EXAMPLES = 5


def advice(config: Config) -> list[str]:
    """One line for each thing, in the order of the file; each says what follows from it."""
    return [*_models(config), *_conversation(config), *_topics(config), *_policy(config), *_retry(config)]


def _models(config: Config) -> Iterator[str]:
    used = _chosen(config) | {name for route in config.routes for name in route.fallbacks or ()}
    for name in config.models:
        used |= _own_fallbacks(config, name) if name in used else set()
    for name, model in config.models.items():
        if model.price is None:
            yield f"models.{name}: no price, so what it costs is not counted"
        if model.context is None:
            yield f"models.{name}: no context, so a request that is too long for it is sent to it all the same"
        elif name in used and not _own_fallbacks(config, name):
            which = "no fallbacks that speak its protocol" if model.fallbacks else "no fallbacks"
            yield f"models.{name}: {which}, so a request that it cannot serve is refused"
        if name not in used:
            yield f"models.{name}: no route uses it; only clients that name it reach it"


def _own_fallbacks(config: Config, name: str) -> set[str]:
    """Those of a model that can read what it is asked."""
    return {other for other in config.models[name].fallbacks if config.protocol(other) == config.protocol(name)}


def _conversation(config: Config) -> Iterator[str]:
    if config.conversation.switch != "upgrade" or all(model.price for model in config.models.values()):
        return
    chosen = _chosen(config)
    for protocol in dict.fromkeys(map(config.protocol, config.models)):
        names = [name for name in config.models if name in chosen and config.protocol(name) == protocol]
        if len(names) > 1:
            told = "so the later one in 'models' counts as the stronger, to which a conversation may switch"
            yield f"conversation: not every model has a price, {told}: {choices(names, last='and')}"


def _chosen(config: Config) -> set[str]:
    """The models that a decision may be for, but for those that clients name themselves."""
    return {*defaults_of(config).values(), *(name for route in config.routes for name in named_by(route.use))}


def _policy(config: Config) -> Iterator[str]:
    uses = config.learned
    learned = list(uses)
    exploring = [name for name, use in uses.items() if use.explore]
    share = "all but what is explored" if exploring else "all"
    if exploring and config.storing is None:
        yield f"routes: {', '.join(exploring)} explores for nothing: without 'store' nobody learns of what was drawn"
    if learned and config.policy is None:
        which = f"{', '.join(learned)} {'is' if len(learned) == 1 else 'are'} 'learned'"
        yield f"routes: {which} and there is no policy, so the first model takes {share}; 'pointsman train' makes one"
    elif learned and config.policy is not None and not config.policy.path.exists():
        yield f"policy: {config.policy} does not exist, so the first model of a learned route takes {share}"
    elif not learned and config.policy is not None:
        yield "policy: no route is 'learned', so nothing is decided by it"
    if not learned and config.shadow is not None and config.shadow.policy is not None:
        yield "shadow.policy: no route is 'learned', so it would decide nothing"


def _retry(config: Config) -> Iterator[str]:
    written = *(model.fallbacks for model in config.models.values()), *(route.fallbacks for route in config.routes)
    if config.retry.attempts == 1 and any(written):
        told = "so fallbacks answer what a model cannot serve or rests from, and nobody after one that fails"
        yield f"retry.attempts: 1, {told}"


def _topics(config: Config) -> Iterator[str]:
    asked_for = {topic for route in config.routes for topic in _asked_for(route.when)}
    for name, topic in config.topics.items():
        examples = len(set(map(folded, topic.examples)))
        if examples < _FEW_EXAMPLES:
            told = "1 example" if examples == 1 else f"{examples} different examples"
            yield f"topics.{name}: {told}; five to twenty varied ones tell it from the others more surely"
        if len(config.topics) == 1:
            yield f"topics.{name}: the only topic, so it takes most other texts, too; add one of what it is not"
        if name not in asked_for:
            yield f"topics.{name}: no route asks for it; it still keeps texts away from the others"


def _asked_for(when: When) -> Iterator[str]:
    for part in walk(when):
        if part.topic is not None:
            yield from (part.topic,) if isinstance(part.topic, str) else part.topic
