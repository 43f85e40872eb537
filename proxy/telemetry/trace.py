"""What is told to the trace of a request, wherever it goes; OpenTelemetry itself is in `spans.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from proxy.telemetry.record import Record

Attributes = Mapping[str, str | int | float | Sequence[str]]
"""Of a span."""


class Said(NamedTuple):
    """What an upstream's answer says of itself, as far as it does."""

    id: str | None = None
    model: str | None = None
    finish_reason: str | None = None


class Trace:
    """Of one request. This one goes nowhere, and stands where tracing is off."""

    __slots__ = ()

    trace_id = ""
    """32 hexadecimal digits; empty where there is no trace."""
    is_recorded = False
    """Whether what it is told goes anywhere; false too where the sampler left this request out."""

    def deciding(self) -> None:
        """The decision begins."""

    def decided(self, record: Record) -> None:
        """It is made."""

    def attempt(self, target: Attributes, before: int) -> None:
        """
        An attempt begins; the one before has ended.

        Args:
            target: what is constant about it, by `attributes.of_target`.
            before: attempts that were made already.
        """

    def context(self) -> Sequence[tuple[bytes, bytes]]:
        """Headers that make the upstream's own spans children of the attempt; none where the client's stay."""
        return ()

    def replied(self, status: int) -> None:
        """The attempt got a status."""

    def attempt_ended(self, outcome: str) -> None:
        """It ended, and is not the last."""

    def end(self, record: Record, said: Said) -> None:
        """
        The request is over, and with it the last attempt.

        Args:
            record: complete.
            said: by the answer; nothing of it is needed where `is_recorded` is false.
        """


class Tracer(Protocol):
    """Begins traces."""

    def request(self, method: str, path: str, route: str, operation: str, headers: Mapping[str, str]) -> Trace:
        """
        A request begins.

        Args:
            method: of HTTP.
            path: as the client sent it, without its query, which may hold a key.
            route: the same with what varies in braces.
            operation: of a model, in the words of the conventions (`chat`); empty where it is not known to be any.
            headers: the client's, which may name a parent.
        """


class _Untraced:
    def request(self, method: str, path: str, route: str, operation: str, headers: Mapping[str, str]) -> Trace:  # noqa: ARG002
        return UNTRACED


UNTRACED = Trace()
NO_TRACER: Tracer = _Untraced()
