"""The error that an upstream tells: whose mistake it is, and what of it the log may have."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from proxy.routing.decoding import UNREADABLE, reading_halves

_TOO_LONG_CODE = "context_length_exceeded"
_TOO_LONG = re.compile(
    r"context (?:length|limit|size|window)|(?:prompt|input) is too long|maximum (?:prompt length|number of tokens)",
    re.IGNORECASE,
)
_OF_THE_CLIENT = "invalid_request_error"
"""The type, in OpenAI's and in Anthropic's errors; those of a response have a code alone."""
_CODES_OF_THE_CLIENT = frozenset((
    _TOO_LONG_CODE, "invalid_prompt", "invalid_image", "invalid_image_format", "invalid_base64_image",
    "invalid_image_url", "invalid_image_mode", "image_too_large", "image_too_small", "image_parse_error",
    "image_content_policy_violation", "image_file_too_large", "unsupported_image_media_type", "empty_image_file",
    "image_file_not_found",
))  # fmt: skip
# They are of the type of a client's mistake, too, but are about the key or the model that the operator has named.
_CODES_OF_MONEY = frozenset(("insufficient_quota", "billing_not_active"))
_CODES_OF_THE_OPERATOR = _CODES_OF_MONEY | frozenset((
    "invalid_api_key", "account_deactivated", "mismatched_organization", "invalid_organization", "mismatched_project",
    "model_not_found", "model_not_available", "model_decommissioned", "invalid_model", "DeploymentNotFound",
    "rate_limit_exceeded",
))  # fmt: skip
_STATUSES_OF_THE_OPERATOR = frozenset(("401", "403", "404", "429"))
"""As codes; under a status of their own they say no more than that does."""
_NO_MONEY = re.compile("^Your credit balance is too low")
"""In Anthropic's words: of the type of a client's mistake, and without a code."""
_WORD = re.compile(r"[A-Za-z_]{1,64}|[0-9]{1,4}")


class ToldError(msgspec.Struct, frozen=True):
    """What stands in the envelope of any API; an upstream may write anything there."""

    type: Any = None
    code: Any = None
    message: Any = None

    @property
    def is_of_the_client(self) -> bool:
        """Whether the request is what was wrong, so that nobody else would answer it either."""
        code = str(self.code)
        is_of_the_operator = code in _CODES_OF_THE_OPERATOR or code in _STATUSES_OF_THE_OPERATOR
        return (self.type == _OF_THE_CLIENT and not is_of_the_operator) or code in _CODES_OF_THE_CLIENT

    @property
    def is_of_money(self) -> bool:
        """Whether the account of the key has none left."""
        return str(self.code) in _CODES_OF_MONEY or self._says(_NO_MONEY)

    @property
    def is_of_the_operator(self) -> bool:
        """Whether the key or the model is what was wrong, by its code; some have it as their type."""
        return not _CODES_OF_THE_OPERATOR.isdisjoint((str(self.code), str(self.type)))

    def is_without(self, model: str) -> bool:
        """Whether there is no such model, in the words of a 404; they begin so, as none do that quote a request."""
        return self._says(re.compile(rf"(?i)^(?:the )?models?\W{{1,3}}{re.escape(model)}(?![\w-])"))

    @property
    def is_too_long(self) -> bool:
        """Whether the prompt does not fit: by OpenAI's code or in common words."""
        return self._says(_TOO_LONG) or self.code == _TOO_LONG_CODE

    @property
    def word(self) -> str:
        """Its code, else its type, where that is a word; never its message, which may quote a prompt."""
        words = (str(told) for told in (self.code, self.type) if told is not None)
        return next(filter(_WORD.fullmatch, words), "")

    def _says(self, pattern: re.Pattern[str]) -> bool:
        return isinstance(self.message, str) and pattern.search(self.message) is not None


class _Envelope(msgspec.Struct):
    error: ToldError | str | None = None
    """A text in xAI's."""
    message: Any = None
    """In vLLM's and SGLang's, which have no envelope."""


_decode = reading_halves(msgspec.json.Decoder(_Envelope).decode)


def told_in(body: bytes) -> ToldError | None:
    """The error that a whole reply tells in any of the forms; None where it cannot be read."""
    try:
        told = _decode(body)
    except UNREADABLE:
        return None
    return told.error if isinstance(told.error, ToldError) else ToldError(message=told.error or told.message)
