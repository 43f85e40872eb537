"""What `train` and `evaluate` share: rated requests from a file to arrays, and the report as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from proxy.cli.options import exit_with
from proxy.cli.progress import loading_bar, reading_count
from proxy.cli.showing import table
from proxy.config import Config, ConfigError, Text, choices, quote
from proxy.embedding import Vector
from proxy.embedding.shipped_model import minilm
from proxy.learning.offpolicy import FEWEST
from proxy.learning.preparing import rows_of
from proxy.learning.rated import Ints, Rows
from proxy.learning.reading import Read, read_rated
from proxy.reload.loading import loaders

Embed = Callable[[Sequence[str]], Mapping[str, Vector]]


class Labelled:
    """A file of rated requests, embedded."""

    def __init__(
        self,
        path: Path,
        config: Config | None,
        *,
        models: tuple[str, ...],
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
            limit: rows to keep.
            seed: of what is kept.
            cache_dir: a folder that keeps vectors.
            output_tokens: expected of an answer, where its cost is made of prices.
            expects_costs: whether the policy that they are for knows what models cost.
        """
        which = config.text if config is not None else Text()
        try:
            with reading_count("reading requests") as tell:
                self.read: Read = read_rated(path, models=models, which=which, limit=limit, seed=seed, tell=tell)
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


def show(console: Console, report: dict[str, Any]) -> None:
    """The report as tables."""
    has_costs = report["single_cost"] is not None
    console.print(f"\n{report['rows']:,} requests, {report['texts']:,} of them different; all figures are held out\n")
    warn_of_few(console, report["texts"])
    models = table("model", "quality", "USD per 1,000", "taken: quality", "taken: balanced", "taken: cheap")
    for each in report["models"]:
        marks = " (best single)" * (each["model"] == report["single"])
        marks += " (cheapest)" * (has_costs and each["model"] == report["cheapest"])
        taken = [_percent(each["taken"][name]) for name in ("quality", "balanced", "cheap")]
        models.add_row(each["model"] + marks, f"{each['quality']:.4f}", dollars(each["cost"]), *taken)
    console.print(models)
    settings = table(
        "prefer", "quality", "over best single", "over random mix", "USD per 1,000", "saved of best single's cost"
    )
    for name, each in report["settings"].items():
        settings.add_row(
            f"{name} ({each['prefer']:g})",
            f"{each['quality']:.4f}",
            points(each["above_single"], each["above_single_interval"]),
            points(each["above_random_mix"]),
            dollars(each["cost"]),
            _saved(each["saved"], *each["saved_interval"]) if has_costs else "-",
        )
    settings.add_row("best single", f"{report['single_quality']:.4f}", "", "", dollars(report["single_cost"]), "")
    console.print()
    console.print(settings)
    if report["singles"] != [report["single"]]:
        singles = " or ".join(report["singles"])
        console.print(f"\nbest single: {singles}, as it is chosen without the requests that it is measured on")
    console.print()
    told = table("", "", left=2)
    for each in report["saved"] if has_costs else ():
        told.add_row(f"saved at {each['share']:.0%} of best single", _saved_at(each["saved"], *each["interval"]))
    if (knowing := report["true_domain"]) is not None:
        saved = ", ".join(f"{_percent(each['saved'])} at {each['share']:.0%}" for each in knowing["saved"])
        beside = f", saved {saved}" if has_costs else ""
        told.add_row("one who knows the true domain", f"{points(knowing['above_single'])} points{beside}")
    low, high = report["gain_interval"]
    told.add_row(
        "gain over a random mix", f"{100 * (report['gain'] or 0):.2f} points ({100 * low:.2f} to {100 * high:.2f})"
    )
    told.add_row("calibration error", f"{report['calibration_error']:.3f}")
    if report["pair"]["apgr"] is not None:
        two = report["pair"]
        told.add_row(
            f"{two['strong']} or {two['weak']}",
            f"APGR {two['apgr']:.3f}, CPT(50) {two['cpt50']:.1%}, CPT(80) {two['cpt80']:.1%}",
        )
    for what, rate in report.get("flips", {}).items():
        told.add_row(f"other model with {what}", f"{rate:.1%}")
    console.print(told)


def warn_of_few(console: Console, requests: int) -> None:
    """Say so, where intervals cannot be believed."""
    if requests < FEWEST:
        console.print(f"few: the intervals of fewer than {FEWEST} requests say little\n")


def _percent(share: float | None, digits: int = 1) -> str:
    return "-" if share is None else f"{round(share, digits + 2) + 0.0:.{digits}%}"  # -0.0 is shown as 0.0


def dollars(usd: float | None) -> str:
    """An amount of USD; a dash for one that is not known."""
    return "-" if usd is None else f"{usd:.4g}"


def points(value: float, interval: Sequence[float] | None = None) -> str:
    """A difference of two qualities in hundredths, with its interval."""
    between = "" if interval is None else f" ({100 * interval[0]:+.1f} to {100 * interval[1]:+.1f})"
    return f"{round(100 * value, 2) + 0.0:+.2f}{between}"  # -0.0 is shown as +0.00


def _saved(share: float | None, low: float, high: float) -> str:
    return "-" if share is None else f"{_percent(share)} ({_percent(low, 0)} to {_percent(high, 0)})"


def _saved_at(share: float | None, low: float, high: float) -> str:
    """The same of what some draws never reach; those are at its lower end as -1."""
    if share is None:
        return "never"
    return _saved(share, low, high) if low > -1 else f"{_percent(share)} (never to {_percent(high, 0)})"
