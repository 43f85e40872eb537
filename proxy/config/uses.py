"""What a route's `use` says: whether its models exist, can stand in for one another, and are all reached."""

from __future__ import annotations

from proxy.config.judging import Judge
from proxy.config.problems import Path
from proxy.config.schema import Config
from proxy.config.schema_upstreams import Target
from proxy.config.schema_uses import LEARNED_ARM, Choosing, Learned, Split
from proxy.config.typed import BROKEN


def judge_use(path: Path, use: str | Learned | Split | None, config: Config, file: Judge) -> None:
    """Report what is wrong with the models that a route uses."""
    if isinstance(use, str):
        file.name(path, use, config.models, "model")
    elif isinstance(use, Split):
        _split(path, use, config, file)
    elif isinstance(use, Learned):
        _learned((*path, "learned"), use.learned, config, file)


def _learned(path: Path, names: tuple[str, ...], config: Config, file: Judge) -> None:
    judge_fallbacks(path, names, None, config, file)
    _one_protocol(path, names, config, file)


def _split(path: Path, use: Split, config: Config, file: Judge) -> None:
    """Shares of a route, of which one may be the policy's."""
    arms = use.split
    for name in arms:
        where: Path = (*path, "split", name)
        if name != LEARNED_ARM or (use.learned is None and name in config.models):
            file.name(where, name, config.models, "model")
        elif use.learned is None:
            said = f"no model is called {LEARNED_ARM!r}; for the policy's choice add the key {LEARNED_ARM!r}"
            file.say(where, f"{said} with the models that it may choose")
        elif name in config.models:
            file.say(where, f"the policy's choice and a model are both called {LEARNED_ARM!r}; rename the model")
    if arms and BROKEN not in arms.values() and not any(arms.values()):
        file.say((*path, "split"), "every weight is 0, so no model would be used")
    if use.learned is None:
        for key in Choosing.__struct_fields__:
            if file.is_written((*path, key)):
                file.say_of_key((*path, key), f"has no effect without {LEARNED_ARM!r}, the models to choose among")
    elif use.learned is not BROKEN:
        _learned((*path, "learned"), use.learned, config, file)
        if LEARNED_ARM not in arms:
            file.say((*path, "split"), f"has no share for {LEARNED_ARM!r}, so the policy would choose nothing")


def judge_fallbacks(path: Path, fallbacks: tuple[str, ...], first: str | None, config: Config, file: Judge) -> None:
    """A list of models to take one after another, or of which one is chosen; `first` is tried before them."""
    seen: dict[str, int] = {}
    for index, name in enumerate(fallbacks):
        file.name((*path, index), name, config.models, "model")
        if name is BROKEN:
            continue
        if name == first:
            file.say((*path, index), "a model cannot be its own fallback; leave it out")
        elif seen.setdefault(name, index) != index:
            file.say((*path, index), "stands in the list already; leave it out")


def _one_protocol(path: Path, names: tuple[str, ...], config: Config, file: Judge) -> None:
    """Models of which one is chosen for a request must all be able to read it."""
    spoken: dict[str, str] = {}
    for name in names:
        model = config.models.get(name)
        targets = () if model is None else model.all_targets
        if targets and (protocol := protocol_of(targets[0], config)) is not None:
            spoken[name] = protocol
    if len(protocols := sorted(set(spoken.values()))) > 1:
        told = " and ".join(map(repr, protocols))
        file.say(path, f"a request has one protocol, and these models speak {told}; make them two routes")


def protocol_of(target: Target, config: Config) -> str | None:
    """What the target's upstream speaks; None where that could not be read."""
    upstream = None if target is BROKEN or target.upstream is BROKEN else config.upstreams.get(target.upstream)
    return None if upstream is None or upstream is BROKEN or upstream.protocol is BROKEN else upstream.protocol
