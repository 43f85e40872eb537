"""Whether a choice stands when the same is said a little differently: what a user would not expect to matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from proxy.config import PREFER
from proxy.embedding import Vector
from proxy.learning.held_out import decide_all
from proxy.learning.rated import Rows
from proxy.routing.policy import Policy, inputs_of, step_of
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
    texts: Sequence[str],
    tokens: Sequence[float],
    embed: Callable[[Sequence[str]], Mapping[str, Vector]],
) -> dict[str, float]:
    """
    For each rewording, the share of texts for which another model is chosen, at `balanced`.

    Args:
        policy: decides.
        texts: some, each different; the first 200 are looked at.
        tokens: of their prompts.
        embed: the vectors of texts.
    """
    texts = texts[:MOST]
    kinds = {"as it is": list(texts)} | {name: [change(text) for text in texts] for name, change in REWORDINGS.items()}
    vectors = embed([text for said in kinds.values() for text in said])
    length = np.array(tokens[: len(texts)])
    chosen = {}
    for name, said in kinds.items():
        shapes = np.stack([shape_of(text) for text in said])
        inputs = inputs_of(np.stack([vectors[text] for text in said]), length, shapes)
        nothing = np.full((len(said), len(policy.models)), np.nan)
        rows = Rows(policy.models, inputs, nothing, nothing, np.zeros_like(nothing), np.arange(len(said)))
        chosen[name] = decide_all(policy, rows).picks[step_of(PREFER["balanced"])]
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
