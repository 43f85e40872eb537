"""`pointsman reset-corrections`: forget what feedback has taught since the policy was trained."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from proxy.cli.options import config_option, exit_with
from proxy.cli.streams import echo_json
from proxy.config import ConfigError, load_config
from proxy.config import Store as Settings
from proxy.learning.store import Store
from proxy.learning.trouble import RowsRefused, StoreRefused, StoreUnavailable


@click.command("reset-corrections", short_help="Begin the corrections of learned routes anew.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
def reset_corrections(config_path: Path, as_json: bool) -> None:
    """
    Begin the corrections of learned routes anew: ratings until now no longer count for them.

    Every server that shares the store of routes.yaml takes it up by itself, within `corrections.every`. Nothing is
    deleted: the ratings stay for training and reports.

    Exit code 0: done. 1: there is no store, or it does not answer. 2: the file has errors.
    """
    try:
        config = load_config(config_path, os.environ)  # whatever has become of the policy: there may be need to hurry
    except ConfigError as error:
        exit_with(error)
    settings = config.storing
    if settings is None:
        raise click.ClickException(
            f"{config_path} has no store, so no feedback is kept, and there is nothing to reset."
        )
    file = settings.url.file
    if file is not None and not file.exists():
        raise click.ClickException(
            f"{file} is not there, from {Path.cwd()}; go to where the server was started, or write the path in full."
        )
    try:
        count = asyncio.run(_reset(settings))
    except StoreRefused as error:
        raise click.ClickException(str(error)) from None
    except (StoreUnavailable, RowsRefused) as error:
        raise click.ClickException(f"store: {settings.url.shown}: {error}; nothing was reset.") from None
    every_s = float(config.corrections.every)
    if as_json:
        echo_json({"store": settings.url.shown, "ratings": count, "every_s": every_s})
        return
    ratings = "1 rating no longer counts" if count == 1 else f"{count:,} ratings no longer count"
    click.echo(
        f"{settings.url.shown}: {ratings} for corrections, which are 0 from now on. Servers that share this store "
        f"take it up within {every_s:g} s. The ratings are kept."
    )


async def _reset(settings: Settings) -> int:
    store = Store(settings)
    try:
        return await store.reset_corrections()
    finally:
        await store.close()
