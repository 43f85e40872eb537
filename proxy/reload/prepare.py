"""From what a file says to what requests need: rules compiled, topics fitted, its own tests run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from proxy.config import Config, RouteTest
from proxy.embedding import DIMENSIONS, Vector, Vectors
from proxy.errors import ProxyError
from proxy.reload.fitting import FitFrom, TopicFitter
from proxy.reload.shadowing import Shadowing
from proxy.routing.apis import read_prompt
from proxy.routing.complexity import Complexity
from proxy.routing.complexity_references import built_in_complexity
from proxy.routing.facts import Facts
from proxy.routing.policy import Policy
from proxy.routing.router import Router
from proxy.routing.signals import Signals
from proxy.routing.topics import Topics, TopicScores, spoken


class Vectorised:
    """Embeds each text once, and none that the config before already had."""

    def __init__(self, embed: Callable[[str], Vector], known: Mapping[str, Vector] | None = None) -> None:
        """
        Args:
            embed: the vector of one text.
            known: vectors by text.
        """
        self._embed = embed
        self._known = known or {}
        self.vectors: dict[str, Vector] = {}
        """Of the texts asked for here."""

    def embed(self, text: str) -> Vector:
        """The vector of one text."""
        found = self.vectors.get(text)
        if found is None:
            found = self._known.get(text)
            found = self.vectors[text] = self._embed(text) if found is None else found
        return found

    def embed_all(self, texts: Iterable[str]) -> Vectors:
        """The vectors of several texts; (0, 768) for none."""
        rows = [self.embed(text) for text in texts]
        return np.stack(rows) if rows else np.empty((0, DIMENSIONS), dtype=np.float32)


class TestsFailed(Exception):
    """A file fails some of its own tests."""

    def __init__(self, wrong: list[str]) -> None:
        """
        Args:
            wrong: a line for each of them.
        """
        super().__init__("\n  ".join(["routes.yaml fails its own tests:", *wrong]))
        self.wrong = wrong


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one of the file's tests."""

    test: RouteTest
    route: str | None
    """The one taken; None when nobody can serve the prompt."""
    topics: TopicScores | None
    refusal: str | None = None
    """Why nobody can."""

    @property
    def passes(self) -> bool:
        """Whether it takes the route that it must."""
        return self.route == self.test.route

    def __str__(self) -> str:
        sent_to = f" ({self.test.protocol})" if self.test.protocol else ""
        expected = f"{self.test.prompt!r}{sent_to}: expected {self.test.route}"
        if self.refusal is not None:
            return f"{expected}, refused: {self.refusal}"
        why = "" if self.topics is None else f" ({self.topics.best} {self.topics.score:.2f})"
        return f"{expected}, got {self.route}{why}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that one config makes without touching the network."""

    config: Config
    router: Router
    policy: Policy | None
    """None when routes.yaml names none, or there is none yet."""
    topics: Topics | None
    """None when routes.yaml has no topics."""
    complexity: Complexity
    texts: Vectorised
    """The vectors of its examples and tests."""
    sha256: str
    fit_from: FitFrom | None
    """Where the topics' fit came from."""
    shadow: Prepared | None = None
    """What decides beside it, and has none itself; None when routes.yaml names none."""

    def signals(self, facts: Facts) -> Signals:
        """What a text says, outside a server."""
        text = facts.text(self.config.text)
        if not text:
            return Signals(missing="the prompt is empty")
        return Signals.of(self.texts.embed(text), self.topics, self.complexity)

    def run_tests(self) -> list[Outcome]:
        """The file's tests, in their order."""
        return [self._run(test) for test in self.config.tests]

    def _run(self, test: RouteTest) -> Outcome:
        facts = read_prompt(test.prompt, self.config, test.protocol)
        signals = self.signals(facts)
        try:
            decision = self.router.decide_finally(facts, signals)
        except ProxyError as error:
            return Outcome(test, None, signals.topics, str(error))
        return Outcome(test, decision.route, signals.topics)

    def wrong_tests(self) -> list[str]:
        """A line for each of the file's tests that does not take the route that it must."""
        return [f"tests[{number}]: {outcome}" for number, outcome in enumerate(self.run_tests()) if not outcome.passes]

    def insist_on_tests(self) -> None:
        """
        See that the file passes its tests, without which no server takes it up.

        Raises:
            TestsFailed: it does not.
        """
        if wrong := self.wrong_tests():
            raise TestsFailed(wrong)


def texts_of(config: Config, *, tests: bool = False, shadow: Shadowing | None = None) -> list[str]:
    """
    The texts that `prepare` embeds.

    Args:
        config: what routes.yaml says.
        tests: also those that `run_tests` embeds.
        shadow: whose texts are embedded too.
    """
    references = config.complexity
    texts = [
        *(example for topic in config.topics.values() for example in topic.examples),
        *(spoken(name) for name in config.topics),
        *((*references.simple, *references.complex) if references else ()),
    ]
    if tests:
        prompts = (read_prompt(test.prompt, config, test.protocol).text(config.text) for test in config.tests)
        texts += [prompt for prompt in prompts if prompt]
    return texts if shadow is None else texts + texts_of(shadow.config)


def prepare(
    config: Config,
    embed: Callable[[str], Vector],
    known: Mapping[str, Vector] | None = None,
    fitter: TopicFitter | None = None,
    policy: Policy | None = None,
    shadow: Shadowing | None = None,
) -> Prepared:
    """
    Make a config ready to decide; takes seconds when it has many new examples.

    Args:
        config: what routes.yaml says.
        embed: the vector of one text.
        known: vectors of texts that need not be embedded again.
        fitter: may know topics that need not be fitted again.
        policy: what learned routes are decided by; see `policy_of`.
        shadow: what decides beside it; see `shadowing_of`.
    """
    texts = Vectorised(embed, known)
    fitter = fitter or TopicFitter()
    topics, fit_from = fit_topics(config, texts, fitter) if config.topics else (None, None)
    complexity = fit_complexity(config, texts)
    prepared = Prepared(
        config, Router(config, policy), policy, topics, complexity, texts, fingerprint(config), fit_from
    )
    return prepared if shadow is None else replace(prepared, shadow=_prepare_shadow(shadow, prepared, fitter))


def _prepare_shadow(shadow: Shadowing, live: Prepared, fitter: TopicFitter) -> Prepared:
    """What it has in common with what is live is not made again: the vectors of many examples take much memory."""
    config, texts = shadow.config, live.texts
    is_same = tuple(config.topics.items()) == tuple(live.config.topics.items())
    topics = live.topics if is_same else fit_topics(config, texts, fitter)[0] if config.topics else None
    complexity = live.complexity if config.complexity == live.config.complexity else fit_complexity(config, texts)
    router, sha256 = Router(config, shadow.policy), fingerprint(config)
    return Prepared(config, router, shadow.policy, topics, complexity, texts, sha256, None)


def fit_topics(config: Config, texts: Vectorised, fitter: TopicFitter) -> tuple[Topics, FitFrom]:
    """The topics of a routes.yaml that has some, fitted on its examples, and where the fit came from."""
    examples, names = topic_vectors(config, texts)
    fit, came = fitter.fit(examples, names)
    return Topics(examples, names, fit, {name: topic.threshold for name, topic in config.topics.items()}), came


def topic_vectors(config: Config, texts: Vectorised) -> tuple[dict[str, Vectors], Vectors]:
    """The vectors of each topic's examples, and of all topics' names."""
    examples = {name: texts.embed_all(topic.examples) for name, topic in config.topics.items()}
    return examples, texts.embed_all(spoken(name) for name in config.topics)


def fit_complexity(config: Config, texts: Vectorised) -> Complexity:
    """The direction between the file's references; the built-in one when it has none."""
    if config.complexity is None:
        return built_in_complexity()
    simple, hard = config.complexity.simple, config.complexity.complex
    lengths = [len(text) for text in (*simple, *hard)]
    return Complexity.fit(texts.embed_all(simple), texts.embed_all(hard), lengths)


def fingerprint(config: Config) -> str:
    """
    A hash that is the same for the same meaning and tells nothing of a secret.

    A policy has a version of its own, wherever it lies; a shadow decides nothing.
    """
    config = msgspec.structs.replace(config, policy=None, shadow=None)
    return hashlib.sha256(_plainly(config)).hexdigest()


def is_same(one: Config, other: Config) -> bool:
    """Whether two configs mean the same, secrets included."""
    return one == other and _plainly(one) == _plainly(other)


def _plainly(config: Config) -> bytes:
    """
    Everything but secrets, in the order of the file.

    Names have an order, too: models rank by it, and arms of a split share their conversations by it.
    """
    return msgspec.json.encode(config, enc_hook=str)
