"""Edits of a request's body that a route or a model asks for, ready to be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from proxy.config import Model, Route


@dataclass(frozen=True, slots=True)
class Edits:
    """Changes to the top level of a body, made in the order of these fields; values are JSON."""

    rename: Mapping[str, str]
    drop: frozenset[str]
    default: Mapping[str, bytes]
    set: Mapping[str, bytes]


def edits_of(stated: Route | Model) -> tuple[Edits, ...]:
    """The edits that a route or a model states: one, or none."""
    if not (stated.rename or stated.drop or stated.default or stated.set):
        return ()
    return (
        Edits(
            rename=stated.rename,
            drop=frozenset(stated.drop),
            default={key: msgspec.json.encode(value) for key, value in stated.default.items()},
            set={key: msgspec.json.encode(value) for key, value in stated.set.items()},
        ),
    )
