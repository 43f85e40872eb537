"""
Tree to structs, the frame of it: walk what is written beside the types of schema.py, and say every difference.

Nothing here knows the format. A field, a struct or a union added to schema.py is read without a change, which is
also why the walk goes over the annotations and not over `msgspec.inspect`: that refuses a union of two structs.
Only a new kind of annotation needs a new reader, and a line in annotations.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping as Environ
from dataclasses import dataclass
from typing import Any, Final

from proxy.config.interpolate import Unresolved, substitute
from proxy.config.problems import Path, Place, Report
from proxy.config.tree import Mapping, Node, Scalar, Sequence, Spoiled


class _Broken:
    """
    Stands where a value could not be read, so that the rest of the config can still be judged.

    It gives in to everything: it has every attribute, no items (so it is false), and whatever is looked up in it is
    there. A rule that walks over it therefore finds nothing to say, and must ask `is BROKEN` only before it compares.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: object, **__: object) -> Any:
        return self

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __contains__(self, item: object) -> bool:
        return True

    def __repr__(self) -> str:
        return "BROKEN"


BROKEN: Final[Any] = _Broken()


class Reader(ABC):
    """Turns a node into one type's value."""

    expected: str
    """What messages call it: `a number`, `a list`."""

    @abstractmethod
    def grasps(self, node: Node) -> bool:
        """Whether the node is of this kind (one value, list, mapping), whatever it holds."""

    def fits(self, node: Node) -> bool:
        """Whether what it holds looks right too: chooses between those members of a union that grasp the node."""
        return self.grasps(node)

    def mismatch(self, node: Node) -> str:
        """What to say of a node that this reader does not grasp."""
        return f"expected {self.expected}, found {describe(node)}"

    @abstractmethod
    def read(self, node: Any, path: Path, reading: Reading) -> Any:
        """The value, or BROKEN once a problem has been reported; `grasps(node)` holds."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One pass over one file."""

    report: Report
    environ: Environ[str, str]

    def read(self, reader: Reader, node: Node, path: Path) -> Any:
        """Return the value at `path`, or BROKEN."""
        if isinstance(node, Spoiled):
            return BROKEN
        if isinstance(node, Scalar):
            if node.is_absent:
                return self.fail(node.place, path, f"has no value; write {reader.expected}, or remove it")
            try:
                node = substitute(node, self.environ)
            except Unresolved as error:
                for message in error.messages:
                    self.fail(node.place, path, message)
                return BROKEN
        if not reader.grasps(node):
            return self.fail(node.place, path, reader.mismatch(node))
        return reader.read(node, path, self)

    def fail(self, place: Place, path: Path, message: str) -> Any:
        """Report a problem; returns BROKEN, for the caller to return."""
        self.report.add(place, path, message)
        return BROKEN


def describe(node: Node) -> str:
    """What a message calls something found in the wrong place. Quotes nothing: it may be anything."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Scalar) and node.is_null:
        return "null"
    return "text"
