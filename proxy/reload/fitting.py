"""Topics fitted once: in this process, and where a folder is given in the life of that folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from proxy.embedding import Vectors
from proxy.kept import CacheUnusable, ToldOnce
from proxy.routing.kept_fits import KeptFits, fit_key
from proxy.routing.topic_fit import TopicFit, fit_topics

FitFrom = Literal["examples", "disk", "memory"]
"""Where a fit came from; only the first takes time."""

_REMEMBERED = 4
"""What is in use, and a try whose tests failed, each with its shadow: what comes next is likely one of them."""


class TopicFitter:
    """Fits topics, unless it or an earlier process has fitted the same examples."""

    def __init__(self, kept: KeptFits | None = None, troubles: ToldOnce | None = None) -> None:
        """
        Args:
            kept: the fits on disk; None for none. Whatever is wrong with them costs time and nothing else.
            troubles: is told of what is wrong with them.
        """
        self._kept = kept
        self._troubles = troubles or ToldOnce(None)
        self._remembered: dict[str, TopicFit] = {}

    def fit(self, examples: Mapping[str, Vectors], names: Vectors) -> tuple[TopicFit, FitFrom]:
        """The fit of these, as `fit_topics` makes it, and where it came from."""
        key = fit_key(examples, names)
        came: FitFrom = "memory"
        fit = self._remembered.pop(key, None)
        if fit is None:
            fit, came = self._read(key), "disk"
        if fit is None:
            fit, came = fit_topics(examples, names), "examples"
            self._write(key, fit)
        self._remembered[key] = fit
        for old in list(self._remembered)[:-_REMEMBERED]:
            del self._remembered[old]
        return fit, came

    def _read(self, key: str) -> TopicFit | None:
        try:
            return None if self._kept is None else self._kept.read(key)
        except CacheUnusable as error:
            self._troubles.trouble(error)
            return None

    def _write(self, key: str, fit: TopicFit) -> None:
        if self._kept is None:
            return
        try:
            self._kept.write(key, fit)
        except CacheUnusable as error:
            self._troubles.trouble(error)
        else:
            self._troubles.gone()
