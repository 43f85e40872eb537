"""How good each model truly is: what nobody knows of a real one, and what a simulated one tells with every answer."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from proxy.routing.decoding import UNREADABLE
from proxy.simulator.chat_request import ChatRequest
from proxy.simulator.headers import Headers
from proxy.simulator.knobs import Knobs
from proxy.simulator.personas import WELL_KNOWN, persona_of
from proxy.simulator.prompts import TOPICS, topic_of

DEFAULT = "default"
_KEYS = (DEFAULT, *TOPICS)
_FORM = '{"gpt-4o": {"default": 0.8, "logic": 0.5}}'

_COLUMNS = {"small": 0, "friendly": 0, "dry": 0, "large": 1, "coder": 2, "reasoner": 3, "thinking aloud": 3}
"""Of the personas, in the table."""
# No model is best at everything, the dearest is best on average, and on some topics the cheapest is as good.
_PERSONAS = {
    DEFAULT: (0.70, 0.85, 0.50, 0.80),
    "debugging": (0.55, 0.80, 0.90, 0.86),
    "sql": (0.88, 0.90, 0.93, 0.90),
    "arithmetic": (0.45, 0.70, 0.60, 0.96),
    "logic": (0.25, 0.55, 0.40, 0.90),
    "translation": (0.88, 0.92, 0.50, 0.78),
    "slogans": (0.60, 0.90, 0.35, 0.45),
    "contracts": (0.40, 0.85, 0.30, 0.60),
    "recipes": (0.90, 0.93, 0.50, 0.85),
}

Known = Mapping[str, Mapping[str, float]]
"""By model, then by topic: the chance of a right answer, 0 to 1; `default` for every other topic and prompt."""


class BadQualities(ValueError):
    """What was given is no `Known`; the message says where and what would be."""


class Qualities:
    """
    What the models of one simulator are worth. A model that nothing was said of is worth what its persona is.

    The draws depend on model, prompt and seed only: a model that gets worse fails where it failed before, and
    elsewhere too.
    """

    def __init__(self, known: Known | None = None) -> None:
        """
        Args:
            known: what goes before the personas' own.
        """
        self._at_first = self._now = dict(known or {})

    def known(self) -> Known:
        """What the well-known models, and those that something was said of, are worth now."""
        return {name: {key: self._chance(name, key) for key in _KEYS} for name in (*WELL_KNOWN, *self._now)}

    def change(self, known: Known) -> None:
        """From now on these models are worth this; what is known of the others stays."""
        self._now = {**self._now, **known}

    def reset(self) -> None:
        """As it was at first."""
        self._now = self._at_first

    def of(self, model: str, prompt: str) -> float:
        """The chance, 0 to 1, that this model answers this prompt right."""
        return self._chance(model, topic_of(prompt) or DEFAULT)

    def is_right(self, model: str, prompt: str, seed: str = "") -> bool:
        """Whether it does; drawn by that chance, the same for the same arguments."""
        said = f"{seed}\0{_plain(model)}\0{prompt}".encode("utf-8", "replace")
        drawn = int.from_bytes(blake2b(said, digest_size=8).digest(), "big") / 2**64
        return drawn < self.of(model, prompt)

    def headers(self, request: ChatRequest, knobs: Knobs) -> Headers:
        """What an answer to this request tells of itself."""
        model, prompt = request.model, request.prompt
        told: Headers = [
            (b"x-simulated-quality", b"%.4g" % self.of(model, prompt)),
            (b"x-simulated-right", b"%d" % self.is_right(model, prompt, knobs.seed or "")),
        ]
        if knobs.compare:
            others = ",".join(f"{self.of(name, prompt):.4g}" for name in knobs.compare)
            told.append((b"x-simulated-compared", others.encode()))
        return told

    def _chance(self, model: str, topic: str) -> float:
        known = self._now.get(_plain(model))
        if known is not None:
            return known.get(topic, known[DEFAULT])
        return _PERSONAS[topic][_COLUMNS[persona_of(model).name]]


def read_qualities(content: bytes) -> Known:
    """
    Read what a file or a request says of models.

    Raises:
        BadQualities: it is not of the form that is wanted, throughout.
    """
    try:
        told = msgspec.json.decode(content)
    except UNREADABLE:
        raise BadQualities(f"not JSON; write {_FORM}") from None
    if not isinstance(told, dict):
        raise BadQualities(f"not an object; write {_FORM}")
    for model, chances in told.items():
        if not isinstance(chances, dict) or DEFAULT not in chances:
            raise BadQualities(f"{model!r}: give an object with a '{DEFAULT}' and topics, as in {_FORM}")
        for topic, chance in chances.items():
            if topic not in _KEYS:
                raise BadQualities(f"{model!r}: there is no topic {topic!r}; there are {', '.join(_KEYS)}")
            if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1:
                raise BadQualities(f"{model!r}: {topic} is {chance!r}, not a number from 0 to 1")
    return told


def _plain(model: str) -> str:
    """The name without the bad days that it may ask for."""
    return model.partition("+")[0]
