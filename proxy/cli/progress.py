"""What a command shows while it works: on standard error, which no script reads as the answer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class LoadingBar:
    """A bar where something has to be embedded, and a line for what the operator can mend."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar = progress.add_task("embedding examples", visible=False)

    def embedding(self, done: int, texts: int) -> None:
        """So many of the texts that have to be embedded are."""
        self._progress.update(self._bar, completed=done, total=texts, visible=True)

    def cache_unusable(self, problem: str) -> None:
        """What is kept on disk cannot be used."""
        click.echo(f"warning: cache unusable: {problem}", err=True)


@contextmanager
def loading_bar() -> Iterator[LoadingBar]:
    """A bar that is gone at the end of the block; only a terminal shows it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        yield LoadingBar(progress)


@contextmanager
def working_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for work in so many parts; what it gives is to be told how many are done, and of how many."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, parts: progress.update(bar, completed=done, total=parts)


@contextmanager
def reading_count(what: str) -> Iterator[Callable[[int], None]]:
    """A count of what was read so far, where nobody knows how much there is."""
    columns = (TextColumn("{task.description}: {task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        count = progress.add_task(what, total=None)
        yield lambda done: progress.update(count, completed=done)
