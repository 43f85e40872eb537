"""`pointsman report`: what was decided in a time, what it cost and saved, and how experiments stand."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from proxy.cli.options import config_option, load_or_exit
from proxy.cli.report_figures import report_of
from proxy.cli.report_tables import show
from proxy.cli.showing import Unreadable, console
from proxy.cli.store_options import since_option, store_of
from proxy.cli.streams import echo_json
from proxy.config import Config, Split
from proxy.learning.archive import StoreUnreadable
from proxy.learning.asking import Span
from proxy.learning.period import By


@click.command("report", short_help="Report on stored decisions: cost, ratings, latency.")
@config_option
@click.option("--store", metavar="URL", help="The store, if not that of the routing file.")
@since_option
@click.option("--by", type=click.Choice(["route", "model", "day"]), help="Both route and model when absent.")
@click.option("--json", "as_one", is_flag=True, help="One JSON object, for scripts.")
def report_command(config_path: Path, store: str | None, since: float | None, by: str | None, as_one: bool) -> None:
    """
    Report on stored decisions: errors, tokens, cost, what was saved, ratings, latency, experiments and the shadow.

    What is saved is what `baseline` would have cost more for the same tokens; of a question that was answered and asked
    again, once. The routing file is read for its store and for the order of an experiment's arms.

    Exit code 2: it or the store has errors.
    """
    config = load_or_exit(config_path) if store is None or config_path.exists() else None
    settings = store_of(store, config, config_path)
    try:
        found = report_of(settings, cast("By", by or "route and model"), Span(since), _order(config))
    except StoreUnreadable as error:
        raise Unreadable(str(error)) from None
    if as_one:
        echo_json(found)
    else:
        show(console(), found)


def _order(config: Config | None) -> dict[str, list[str]]:
    """The arms of routes, in the order in which the file names them."""
    routes = () if config is None else config.routes
    return {route.name: list(route.use.split) for route in routes if isinstance(route.use, Split)}
