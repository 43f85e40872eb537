"""Many texts at once, as a config brings them: from the vectors on disk, and what is not there from the model."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from proxy.embedding.minilm import Vector
from proxy.embedding.vector_cache import VectorCache
from proxy.kept import CacheUnusable, ToldOnce

_AT_ONCE = 128
# A save takes 0.5 s with 20,000 texts; oftener would cost more than workers that start together save by it.
SAVE_EVERY_S = 5.0


class BulkObserver(Protocol):
    """Who tells of what happens here."""

    def embedding(self, done: int, texts: int) -> None:
        """So many of the texts that have to be embedded are: first none, then more, at last all."""

    def cache_unusable(self, problem: str) -> None:
        """The vectors on disk cannot be used; told once, and again only if they could be meanwhile."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """The vectors of many texts, and where they came from."""

    vectors: dict[str, Vector]
    from_cache: int = 0
    embedded: int = 0


class BulkEmbedder:
    """The vectors of many texts, each embedded once in the life of a cache."""

    def __init__(
        self,
        embed: Callable[[str], Vector],
        *,
        cache: VectorCache | None,
        observer: BulkObserver,
        save_every_s: float = SAVE_EVERY_S,
    ) -> None:
        """
        Args:
            embed: the vector of one text; called in several threads.
            cache: the vectors on disk; None for none. Whatever is wrong with them costs time and nothing else.
            observer: is told of progress and of trouble.
            save_every_s: seconds after which what is embedded so far is written.
        """
        self._embed = embed
        self._cache = cache
        self._observer = observer
        self._save_every_s = save_every_s
        self.troubles = ToldOnce(observer.cache_unusable)
        """With the folder, which others may keep things in as well."""

    def vectors(self, texts: Iterable[str], *, threads: int, known: Mapping[str, Vector] | None = None) -> Bulk:
        """
        The vectors of those texts.

        Args:
            texts: may repeat themselves.
            threads: texts embedded at the same time, one core each.
            known: vectors that need not be looked for.
        """
        known = known or {}
        wanted = dict.fromkeys(texts)
        found = {text: known[text] for text in wanted if text in known}
        cached = self._read(text for text in wanted if text not in found)
        found |= cached
        missing = [text for text in wanted if text not in found]
        if not missing:
            return Bulk(found, len(cached), 0)
        # Workers that start together would all embed the same texts. In an order of its own, each does others first,
        # and finds what its siblings have done whenever it saves.
        random.shuffle(missing)
        from_cache, embedded = len(cached), 0
        next_save = self._next_save()
        self._observer.embedding(0, len(missing))
        with ThreadPoolExecutor(threads, thread_name_prefix="bulk") as pool:
            while missing:
                batch, missing = missing[:_AT_ONCE], missing[_AT_ONCE:]
                found |= zip(batch, pool.map(self._embed, batch), strict=True)
                embedded += len(batch)
                if missing and time.monotonic() >= next_save:
                    self._write(found)
                    cached = self._read(missing)
                    found |= cached
                    from_cache += len(cached)
                    missing = [text for text in missing if text not in cached]
                    next_save = self._next_save()
                self._observer.embedding(embedded, embedded + len(missing))
        self._write(found)
        return Bulk(found, from_cache, embedded)

    def _next_save(self) -> float:
        # Not evenly: workers that save in step would each miss what the other is about to write.
        return time.monotonic() + self._save_every_s * random.uniform(0.5, 1.5)  # noqa: S311 - no secret

    def _read(self, texts: Iterable[str]) -> dict[str, Vector]:
        if self._cache is None or not (wanted := list(texts)):
            return {}
        try:
            return self._cache.read(wanted)
        except CacheUnusable as error:
            self.troubles.trouble(error)
            return {}

    def _write(self, vectors: Mapping[str, Vector]) -> None:
        if self._cache is None:
            return
        try:
            self._cache.write(vectors)
        except CacheUnusable as error:
            self.troubles.trouble(error)
        else:
            self.troubles.gone()
