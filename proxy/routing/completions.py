"""The facts of a request to `/completions`, OpenAI's older API: a prompt in place of messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from proxy.routing.facts import Facts
from proxy.routing.lazy import lazy
from proxy.routing.parts import Message
from proxy.routing.reading import UNSET, Head, read_head, read_model, require, value_of


class _Head(Head):
    prompt: msgspec.Raw = UNSET
    max_tokens: msgspec.Raw = UNSET


_decode = msgspec.json.Decoder(_Head).decode


class CompletionFacts(Facts):
    """One request to go on with a text. A prompt may be a text, a list of texts, or tokens, which say no words."""

    _head: _Head

    @lazy
    def _prompts(self) -> list[object]:
        prompt = value_of(self._head.prompt)
        return prompt if isinstance(prompt, list) else [prompt]

    @lazy
    def _messages(self) -> Sequence[Message]:
        return [Message("user", "\n".join(prompt for prompt in self._prompts if isinstance(prompt, str)))]

    @lazy
    def tokens(self) -> int:
        """As of any request, and tokens that were sent as such."""
        of_text = super().tokens
        return of_text + sum(
            len(prompt) if isinstance(prompt, list) else isinstance(prompt, int) for prompt in self._prompts
        )

    def _most_answered(self) -> tuple[msgspec.Raw, ...]:
        return (self._head.max_tokens,)


def read_completion(body: bytes, headers: Mapping[str, str]) -> Facts:
    """
    The facts of a `/completions` request.

    Raises:
        BadRequest: the body is not a JSON object in UTF-8 with a `model` and a `prompt`.
    """
    head = read_head(_decode, body)
    model = read_model(head.model)
    require(head.prompt, "prompt", b'"[', "a string or an array")
    return CompletionFacts(head, model=model, headers=headers)
