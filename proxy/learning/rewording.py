"""Whether a choice stands when the same is said a little differently: what a user would not expect to matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from proxy.config import PREFER
from proxy.embedding import Vector
from proxy.learning.prefer import pick
from proxy.routing.inputs import inputs_of
from proxy.routing.policy import Policy, step_of
from proxy.routing.shape import shape_of

REWORDINGS: Mapping[str, Callable[[str], str]] = {
    "all in lower case": str.lower,
    "a blank line after each": lambda text: text.replace("\n", "\n\n") + "\n",
    "no mark at the end": lambda text: text.rstrip(" .?!:"),
    "a polite beginning": lambda text: f"Hello! Could you please help me with this? {text}",
    "thanks at the end": lambda text: f"{text}\n\nThank you very much!",
    "two letters swapped": lambda text: _swapped(text),
}
MOST = 200


def flip_rates(
    policy: Policy,
    texts: Mapping[str, float],
    embed: Callable[[Sequence[str]], Mapping[str, Vector]],
) -> dict[str, float]:
    """
    For each rewording, the share of texts for which another model is chosen, at `balanced`.

    Args:
        policy: decides.
        texts: some, and how many tokens their prompts have; the first 200 are looked at.
        embed: the vectors of texts.
    """
    first = list(texts)[:MOST]
    kinds = {"as it is": first} | {name: [change(text) for text in first] for name, change in REWORDINGS.items()}
    vectors = embed([text for said in kinds.values() for text in said])
    tokens = np.array([texts[text] for text in first])
    weight, margin = policy.prefer[step_of(PREFER["balanced"])].tolist()
    chosen = {}
    for name, said in kinds.items():
        shapes = np.stack([shape_of(text) for text in said])
        inputs = inputs_of(np.stack([vectors[text] for text in said]), tokens, shapes)
        chosen[name] = pick(policy.predict(inputs), weight, margin, int(policy.means.argmax()))
    before = chosen.pop("as it is")
    return {name: float((after != before).mean()) for name, after in chosen.items()}


def _swapped(text: str) -> str:
    """Two letters in the middle of the longest word, as a typist's slip."""
    word = max(text.split(), key=len, default="")
    if len(word) < 4:
        return text
    middle = len(word) // 2
    slip = word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :]
    return text.replace(word, slip, 1)
