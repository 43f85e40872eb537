"""
What the types cannot know: whether the names exist, and whether the rules make sense together.

Every rule is a function over the config and a `Judge`, listed in `judge`. It reports and goes on, so that all
mistakes are said at once; and it meets `BROKEN` wherever a value could not be read, about which nothing may be
said again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from proxy.config.judging import Judge
from proxy.config.problems import Path, choices, quote
from proxy.config.reach import Conditions, Globs, canonical, contradiction, covers, first_covers, is_everything
from proxy.config.schema import Config, Range, Route, Store, TextMatch, When
from proxy.config.schema_upstreams import Model
from proxy.config.texts import folded, nothing_in
from proxy.config.typed import BROKEN
from proxy.config.upstreams import judge_upstreams
from proxy.config.uses import judge_fallbacks, judge_use, protocol_of

AUTO = "auto"
"""The model name that clients send to be routed."""

DEFAULT_ROUTE = "default"
"""What decisions, metrics and tests call the route of whatever no route takes."""

PINNED_ROUTE = "pinned"
"""What decisions and metrics call the route of a request whose client named its model."""

PASSED_ROUTE = "passthrough"
"""What metrics call the route of a request that is passed on without being routed."""

_RESERVED = {
    DEFAULT_ROUTE: "for what no route takes",
    PINNED_ROUTE: "for requests that name their model",
    PASSED_ROUTE: "for requests that are not routed",
}
_NOT_EDITED = {
    "model": "the target's name is always put there",
    "messages": "what the client says is never changed",
    "stream": "the client reads the answer in the form that it asked for",
}


def judge(config: Config, file: Judge) -> None:
    """
    Report everything in `config` that contradicts itself.

    Args:
        config: as the file says, with BROKEN in place of what could not be read.
        file: where it says so.
    """
    judge_upstreams(config, file)
    _models(config, file)
    _topics(config, file)
    _references(config, file)
    _routes(config, file)
    _reach(config, file)
    _tests(config, file)
    _drain(config, file)
    _corrections(config, file)
    file.name(("default",), config.default, config.models, "model")
    _baseline(config, file)
    _shadow(config, file)
    for path, glob in _each(("rewrite",), config.rewrite):  # an empty list is fine: then only `auto` is routed
        _glob(path, glob, file)
    for path, glob in _each(("passthrough",), config.passthrough):  # likewise: then nothing is passed on
        _glob(path, glob, file)
        if (before := next((start for start in ("/v1/", "/", "v1/") if glob.startswith(start)), None)) is not None:
            file.say(path, f"is what comes after /v1/; leave {quote(before)} off")


def _baseline(config: Config, file: Judge) -> None:
    name = config.baseline
    if name is None:
        return
    file.name(("baseline",), name, config.models, "model")
    model = config.models.get(name)
    if model is not None and model.price is None:
        file.say(("baseline",), f"model {quote(name)} has no 'price', so nothing can be measured against it")


def _shadow(config: Config, file: Judge) -> None:
    shadow = config.shadow
    if shadow is None or BROKEN in (shadow.policy, shadow.routes):
        return
    if shadow.policy is None and shadow.routes is None:
        file.say(("shadow",), "needs 'policy' for another policy, or 'routes' for another routes.yaml")
    elif shadow.policy is not None and shadow.routes is not None:
        file.say_of_key(("shadow", "routes"), "cannot stand beside 'policy'; that file names its own policy")


def _drain(config: Config, file: Judge) -> None:
    delay, grace = config.server.drain.delay, config.server.drain.grace
    if delay is not None and BROKEN not in (delay, grace) and delay >= grace:
        file.say(("server", "drain", "delay"), "leaves requests no time: it is a part of 'grace', which is not longer")


def _corrections(config: Config, file: Judge) -> None:
    if BROKEN in (config.corrections, config.store, config.policy) or config.corrections.mode != "apply":
        return
    if config.policy is None:
        file.say(("corrections", "mode"), "there is nothing to apply them to without 'policy'")
    elif isinstance(config.store, Store) and config.store.url is BROKEN:
        return
    elif config.storing is None:
        file.say(("corrections", "mode"), "there is no feedback to make them of without 'store'")


def _models(config: Config, file: Judge) -> None:
    for name, model in config.models.items():
        path: Path = ("models", name)
        if name == AUTO:
            file.say_of_key(path, f"the name {AUTO!r} is reserved: clients send it to be routed; choose another")
        if model.target is None and model.targets is None:
            file.say(path, "needs 'target', or 'targets' for several")
        elif None not in (model.target, model.targets) and BROKEN not in (model.target, model.targets):
            file.say_of_key((*path, "targets"), "cannot stand beside 'target'; put all of them under 'targets'")
        _targets(path, model, config, file)
        judge_fallbacks((*path, "fallbacks"), model.fallbacks, name, config, file)
        _edits(path, model, file)


def _edits(path: Path, edited: Model | Route, file: Judge) -> None:
    """Edits of the body: what may not be touched, and what two of them would do to one key."""
    taken: dict[str, str] = {}
    for kind in ("rename", "drop", "default", "set"):
        keys = getattr(edited, kind)
        for index, key in enumerate(keys):
            where: Path = (*path, kind, index) if kind == "drop" else (*path, kind, key)
            say = file.say if kind == "drop" else file.say_of_key
            if key is BROKEN:
                continue
            for name in (key, keys[key]) if kind == "rename" else (key,):
                if name in _NOT_EDITED:
                    say(where, f"{quote(name)} cannot be edited: {_NOT_EDITED[name]}")
            if kind == "rename" and keys[key] == key:
                say(where, "renamed to itself; leave it out")
            other = taken.setdefault(key, kind)
            if other != kind and (other, kind) != ("rename", "default"):
                say(where, f"stands under {quote(other)} too; one of the two would have no effect")


def _targets(path: Path, model: Model, config: Config, file: Judge) -> None:
    if model.target is not None:
        file.name((*path, "target", "upstream"), model.target.upstream, config.upstreams, "upstream")
    seen: dict[tuple[str, str], int] = {}
    for index, target in enumerate(model.targets or ()):
        where: Path = (*path, "targets", index)
        file.name((*where, "upstream"), target.upstream, config.upstreams, "upstream")
        if target.upstream is BROKEN or target.name is BROKEN:
            continue
        first = seen.setdefault((target.upstream, target.name), index)
        if first != index:
            message = f"the same upstream and name as targets[{first}] on line {file.line((*path, 'targets', first))}"
            file.say(where, f"{message}; give that one more 'weight'")
    protocols = {target.upstream: protocol_of(target, config) for target in model.targets or ()}
    if len({protocol for protocol in protocols.values() if protocol is not None}) > 1:
        told = ", ".join(f"{quote(name)} speaks {protocol}" for name, protocol in protocols.items() if protocol)
        file.say((*path, "targets"), f"one model has one protocol, and {told}; make them two models")


def _topics(config: Config, file: Judge) -> None:
    seen: dict[str, tuple[str, int]] = {}
    for name, topic in config.topics.items():
        for index, example in enumerate(topic.examples):
            if example is BROKEN:
                continue
            path: Path = ("topics", name, "examples", index)
            if not (text := folded(example)):
                file.say(path, nothing_in(example))
                continue
            other, first = seen.setdefault(text, (name, index))
            if other != name:
                line = file.line(("topics", other, "examples", first))
                message = f"the same example as in topic {quote(other)} on line {line}"
                file.say(path, f"{message}; the two could never be told apart")


def _references(config: Config, file: Judge) -> None:
    if config.complexity is None:
        return
    seen: dict[str, tuple[str, int]] = {}
    for kind in ("simple", "complex"):
        texts = getattr(config.complexity, kind)
        for index, text in enumerate(texts):
            if text is BROKEN:
                continue
            path: Path = ("complexity", kind, index)
            if not folded(text):
                file.say(path, nothing_in(text))
            elif (first := seen.setdefault(folded(text), (kind, index)))[0] != kind:
                file.say(path, f"stands under {first[0]!r} too, on line {file.line(('complexity', *first))}")


def _routes(config: Config, file: Judge) -> None:
    seen: dict[str, int] = {}
    for index, route in enumerate(config.routes):
        path: Path = ("routes", index)
        _action(path, route, config, file)
        _when((*path, "when"), route.when, config, file)
        _edits(path, route, file)
        if route.name is BROKEN:
            continue
        if route.name in _RESERVED:
            message = f"the name {route.name!r} is reserved {_RESERVED[route.name]}; choose another"
            file.say((*path, "name"), message)
        first = seen.setdefault(route.name, index)
        if first != index:
            message = f"the same name as routes[{first}] on line {file.line(('routes', first, 'name'))}"
            file.say((*path, "name"), message)


def _action(path: Path, route: Route, config: Config, file: Judge) -> None:
    use = route.use
    if use is None and route.block is None:
        file.say(path, "needs 'use' with a model, or 'block' for a refusal")
    elif None not in (use, route.block) and BROKEN not in (use, route.block):
        file.say_of_key((*path, "block"), "cannot stand beside 'use'")
    elif route.block is not None and route.block is not BROKEN:
        for name in ("fallbacks", "rename", "drop", "default", "set"):
            value = getattr(route, name)
            if value is not BROKEN and value not in (None, {}, ()):
                file.say_of_key((*path, name), "has no effect beside 'block', which sends nothing; leave it out")
    judge_use((*path, "use"), use, config, file)
    if route.fallbacks is not None:
        first = use if isinstance(use, str) else None
        judge_fallbacks((*path, "fallbacks"), route.fallbacks, first, config, file)


def _when(path: Path, when: When, config: Config, file: Judge) -> None:
    """The conditions of one route; conditions hold conditions, so this calls itself."""
    if when is BROKEN:
        return
    for name in ("all", "any"):
        for index, part in enumerate(getattr(when, name) or ()):
            _part((*path, name, index), part, config, file)
    if when.not_ is not None:
        _part((*path, "not"), when.not_, config, file)
        _not((*path, "not"), when, file)
    for where, name in _each((*path, "topic"), when.topic):
        file.name(where, name, config.topics, "topic")
    _globs((*path, "topic"), when.topic, file, "topic")
    _globs((*path, "model"), when.model, file)
    _headers((*path, "header"), when.header, file)
    _range((*path, "tokens"), when.tokens, file)
    _range((*path, "turns"), when.turns, file)
    _range((*path, "complexity"), when.complexity, file)
    _globs((*path, "user"), when.user, file)
    for key, globs in (when.metadata or {}).items():
        _globs((*path, "metadata", key), globs, file)
    if when.metadata == {} and file.is_readable((*path, "metadata")):
        file.say((*path, "metadata"), "names no key; write one, or leave it out")
    if when.text is not None:
        if when.text == TextMatch():
            file.say((*path, "text"), "needs 'contains', 'matches' or both")
        _globs((*path, "text", "contains"), when.text.contains, file, "text")


def _part(path: Path, part: When, config: Config, file: Judge) -> None:
    if part == When():
        file.say(path, "has no conditions, so it always holds; leave it out")
    _when(path, part, config, file)


def _not(path: Path, when: When, file: Judge) -> None:
    others = msgspec.structs.replace(when, not_=None)
    if when.not_ in (None, When()) or not file.is_readable(path[:-1]):
        return
    if covers(canonical(when.not_), canonical(others)):
        file.say(path, "never holds: a request that meets the conditions beside it meets this one too")


def _each(path: Path, value: str | tuple[str, ...] | None) -> Iterable[tuple[Path, str]]:
    """Each text of a value that is one text or a list of them, with its path."""
    if value is None:
        return ()
    if isinstance(value, str):
        return ((path, value),)
    return tuple(((*path, index), each) for index, each in enumerate(value))


def _globs(path: Path, value: str | tuple[str, ...] | None, file: Judge, kind: str = "glob") -> None:
    if value is None:
        return
    if value == ():
        file.say(path, f"an empty list matches nothing; write a {kind}, or leave the key out")
    for where, glob in _each(path, value):
        _glob(where, glob, file, kind)


def _glob(path: Path, glob: str, file: Judge, kind: str = "glob") -> None:
    if glob is not BROKEN and not glob.strip():
        file.say(path, f"an empty {kind} matches nothing")


def _headers(path: Path, headers: dict[str, str | tuple[str, ...]] | None, file: Judge) -> None:
    if headers is None:
        return
    if headers == {} and file.is_readable(path):
        file.say(path, "names no header; write one, or leave the key out")
    seen: dict[str, str] = {}
    for name, globs in headers.items():
        where: Path = (*path, name)
        first = seen.setdefault(name.lower(), name)
        if first != name:
            file.say_of_key(where, f"the same header as {quote(first)}: letter case does not matter")
        _globs(where, globs, file)


def _range(path: Path, limits: Range | None, file: Judge) -> None:
    if limits is None or BROKEN in (limits.min, limits.max):
        return
    if limits.min is None and limits.max is None:
        file.say(path, "needs 'min', 'max' or both")
    elif limits.min is not None and limits.max is not None and limits.min > limits.max:
        file.say(path, "'min' is above 'max', so nothing is between them")


def _reach(config: Config, file: Judge) -> None:
    """Routes that no request can reach, because they contradict themselves or an earlier one takes all of theirs."""
    # A route that could not be read in full may be meant to take less than it seems to, or something else.
    readable = [index for index, _ in enumerate(config.routes) if file.is_readable(("routes", index))]
    for index in tuple(readable):
        if (name := contradiction(config.routes[index].when)) is not None:
            file.say(("routes", index, "when"), f"never holds: no request meets all that it says of {name!r}")
            readable.remove(index)
    whens = [canonical(config.routes[index].when) for index in readable]
    _routed_names(config, dict(zip(readable, whens, strict=True)), file)
    for covered, wide in first_covers(whens).items():
        index, earlier = readable[covered], readable[wide]
        name = file.variable(("routes", earlier, "name")) or quote(config.routes[earlier].name)
        by = f"routes[{earlier}] {name} on line {file.line(('routes', earlier))}"
        if is_everything(whens[wide]):
            reason = "has no conditions and takes every request; move it to the end"
        elif whens[wide] == whens[covered]:
            reason = "has the same conditions"
        else:
            reason = "takes every request that this one would; move this one before it"
        file.say(("routes", index), f"never reached: {by} {reason}")


def _routed_names(config: Config, whens: Mapping[int, Conditions], file: Judge) -> None:
    """Routes for requested names that are not routed: all that are can be told where 'rewrite' has no patterns."""
    if BROKEN in (config.rewrite, *config.rewrite) or (names := Globs((AUTO, *config.rewrite))).patterns:
        return
    for index, conditions in whens.items():
        asked = conditions.get("model")
        if isinstance(asked, Globs) and not any(asked.covers(Globs((name,))) for name in names):
            routed = choices(map(quote, sorted(names)), last="and")
            message = f"never reached: only requests for {routed} are routed, as 'rewrite' says"
            file.say(("routes", index), message)


def _tests(config: Config, file: Judge) -> None:
    if config.routes is BROKEN:
        return
    names: Collection[str] = [*dict.fromkeys(route.name for route in config.routes), DEFAULT_ROUTE]
    if BROKEN in names:
        names = BROKEN  # a name that could not be read may be the one that is meant
    hidden = {route.name for index, route in enumerate(config.routes) if file.variable(("routes", index, "name"))}
    showable = [name for name in names if name not in hidden]
    for index, test in enumerate(config.tests):
        if test.prompt is not BROKEN and not folded(test.prompt):
            file.say(("tests", index, "prompt"), nothing_in(test.prompt))
        file.name(("tests", index, "route"), test.route, names, "route", showable)
