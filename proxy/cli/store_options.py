"""What commands on the store share: which one it is, and since when it is looked at."""

from __future__ import annotations

import time
from pathlib import Path

import click

from proxy.cli.showing import Unreadable
from proxy.config import Config, Store, StoreUrl, duration_of

FROM_CONFIG = "that of routes.yaml"
"""The value of `--store` without a URL."""


def _begin(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """When a time begins that lasts until now, in seconds since 1970."""
    if value is None:
        return None
    found = duration_of(value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no duration such as 12h or 30d.", context, parameter)
    return time.time() - found


store_option = click.option(
    "--store", is_flag=False, flag_value=FROM_CONFIG, metavar="[URL]",
    help="Look at stored decisions: sqlite:///FILE, postgresql+asyncpg://..., or that of routes.yaml.",
)  # fmt: skip
since_option = click.option(
    "--since", callback=_begin, metavar="DURATION", help="Only the last 12h, 30d, ... of what is stored."
)


def store_of(value: str | None, config: Config | None, path: Path | None) -> Store:
    """
    The store to read.

    Args:
        value: of `--store`; None is that of routes.yaml.
        config: of routes.yaml, if that is known.
        path: where that is.

    Raises:
        Unreadable: it is none, or none is named; the message quotes no URL, which may hold a password.
    """
    if value is None or value == FROM_CONFIG:
        if config is None:
            raise Unreadable("Which store? Write --store sqlite:///FILE, or -c routes.yaml that names one.")
        if config.storing is None:
            raise Unreadable(f"{path} names no 'store'; write --store sqlite:///FILE.")
        return config.storing
    try:
        url = StoreUrl(value)
    except ValueError as error:
        raise Unreadable(f"--store: {error}.") from None
    if not url:
        raise Unreadable("--store: 'none' keeps nothing; name the store that the server writes.")
    return Store(url)


def check_source(labelled: Path | None, store: str | None, **only_stored: object) -> None:
    """
    See that a command is given either a file of rated requests or a store, and options that go with it.

    Args:
        labelled: the file.
        store: of `--store`.
        only_stored: the values of options that only a store can have, by name.

    Raises:
        UsageError: it is not so.
    """
    if (labelled is None) == (store is None):
        raise click.UsageError("Give either LABELLED, a file of rated requests, or --store.")
    given = [name for name, value in only_stored.items() if value]
    if store is None and given:
        raise click.UsageError(f"--{given[0].replace('_', '-')} goes with --store only.")
