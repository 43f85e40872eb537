"""What `train` and `evaluate` share where they look at a file: its rated requests as arrays."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from proxy.cli.options import exit_with
from proxy.cli.progress import loading_bar, reading_count
from proxy.config import Config, ConfigError, Text, choices, quote
from proxy.embedding import Vector
from proxy.embedding.shipped_model import minilm
from proxy.learning.preparing import rows_of
from proxy.learning.reading import Read, read_rated
from proxy.learning.training_rows import Rows
from proxy.reload.loading import loaders
from proxy.routing.arrays import Ints


class RatedFile:
    """A file of rated requests, embedded."""

    def __init__(
        self,
        path: Path,
        config: Config | None,
        *,
        models: tuple[str, ...],
        known: Collection[str] | None = None,
        limit: int,
        seed: int,
        cache_dir: Path | None,
        output_tokens: int,
        expects_costs: bool = False,
    ) -> None:
        """
        Args:
            path: of the file; what is wrong with it ends the program with exit code 2.
            config: says what of a prompt is looked at, and prices.
            models: the only ones to look at; all when empty.
            known: those that there may be where all are looked at; None for any.
            limit: rows to keep.
            seed: of what is kept.
            cache_dir: a folder that keeps vectors.
            output_tokens: expected of an answer, where its cost is made of prices.
            expects_costs: whether the policy that they are for knows what models cost.
        """
        which = config.text if config is not None else Text()
        try:
            with reading_count("reading requests") as tell:
                self.read: Read = read_rated(
                    path, models=models, known=known, which=which, limit=limit, seed=seed, tell=tell
                )
        except ConfigError as error:
            exit_with(error)
        self._model = minilm(which.max_tokens)
        self._cache_dir = cache_dir
        self._vectors: dict[str, Vector] = {}
        self.embedder = self._model.name()
        prices = {} if config is None else {n: m.price for n, m in config.models.items() if m.price is not None}
        self.rows: Rows = rows_of(self.read.rows, self.read.models, self.embed, prices, output_tokens)
        is_known = np.asarray(np.isfinite(self.rows.costs).any(axis=0))
        if not is_known.all():
            unknown = [quote(name) for name, known in zip(self.rows.models, is_known, strict=True) if not known]
            told = f"no cost is known of {choices(unknown, last='or')}, so those of the others do not count"
            if expects_costs:
                told = f"no cost is known of {choices(unknown, last='or')}; what the policy expects stands for it"
            elif not is_known.any():
                told = "no costs are known, so `prefer` chooses by quality alone, whatever its number"
            click.echo(f'warning: {path}: {told}; add "costs" to the lines, or prices with -c', err=True)

    def embed(self, texts: Sequence[str]) -> Mapping[str, Vector]:
        """The vectors of texts, with a bar on a terminal; none is embedded twice."""
        with loading_bar() as bar:
            bulk, _ = loaders(self._model, self._cache_dir, bar)
            self._vectors |= bulk.vectors([one for one in texts if one not in self._vectors], threads=2).vectors
        return self._vectors

    @property
    def domains(self) -> list[str]:
        """Of each of the rows; empty where the file has none."""
        return [one.domain for one in self.read.rows]

    def texts(self, places: Ints) -> Mapping[str, float]:
        """Of some of the rows those that have a text, and its tokens; one of those that look alike to a policy."""
        _, first = np.unique(self.rows.texts[places], return_index=True)
        rows = [self.read.rows[at] for at in places[np.sort(first)].tolist()]
        return {one.text: one.tokens for one in rows if one.text}

    def vector(self, place: int) -> Vector:
        """Of one of the rows."""
        one = self.read.rows[place]
        return self._vectors[one.text] if one.vector is None else one.vector
