"""What the rules about a whole config share: saying something about the value at a path."""

from __future__ import annotations

from collections.abc import Collection

from proxy.config.problems import Path, Report, choices, did_you_mean, quote
from proxy.config.tree import Scalar, Tree
from proxy.config.typed import BROKEN


class Judge:
    """One for all rules of a file, made when reading is over and its problems are in the report."""

    def __init__(self, tree: Tree, report: Report) -> None:
        self._tree, self._report = tree, report
        # What the rules add must not make a route look unreadable to the rules that follow.
        self._unsound = report.unsound()

    def say(self, path: Path, message: str) -> None:
        self._report.add(self._tree.place(path), path, message)

    def say_of_key(self, path: Path, message: str) -> None:
        """Like `say`, of the key that `path` ends with."""
        self._report.add(self._tree.key_place(path), path, message)

    def is_written(self, path: Path) -> bool:
        """Whether the key that `path` ends with stands in the file."""
        return self._tree.has(path)

    def is_readable(self, path: Path) -> bool:
        """Whether everything at `path` could be read."""
        return path not in self._unsound

    def line(self, path: Path) -> int:
        return self._tree.place(path).line

    def variable(self, path: Path) -> str | None:
        """What is written at `path` if the environment has a part in it: its value may not be shown."""
        node = self._tree.node(path)
        return quote(node.text)[1:-1] if isinstance(node, Scalar) and "${" in node.text else None

    def name(
        self, path: Path, name: str, names: Collection[str], kind: str, showable: Collection[str] | None = None
    ) -> None:
        """
        Say so when `name` is not one of `names`, which are all that the file has of this kind.

        Args:
            showable: those that a message may show; all of them when None.
        """
        if name is BROKEN or name in names:
            return
        names = names if showable is None else showable
        written = self.variable(path)
        # Nor compared with near names, for those would tell it.
        near = None if written else did_you_mean(name, names)
        shown = written or quote(name)
        if near:
            hint = f"; did you mean {quote(near)}?"
        elif names:
            hint = f"; there {'is' if len(names) == 1 else 'are'} {choices(map(quote, names), last='and')}"
        else:
            hint = f"; the file has no {kind}s"
        self.say(path, f"no {kind} is called {shown}{hint}")
