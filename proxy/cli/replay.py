"""`pointsman replay`: which stored decisions another routes.yaml or policy would change, before anyone applies it."""

from __future__ import annotations

import sys
from functools import cached_property, partial
from pathlib import Path

import click
import msgspec

from proxy.cli.options import cache_dir_option, exit_with, load_or_exit, named_config_option, or_here
from proxy.cli.progress import loading_bar, reading_count
from proxy.cli.replay_tables import as_json, show
from proxy.cli.showing import Unreadable, console
from proxy.cli.store_options import since_option, store_of
from proxy.cli.streams import echo_json
from proxy.config import Config, ConfigError, File, Text
from proxy.embedding import MiniLM, Vector
from proxy.embedding.minilm import head_and_tail
from proxy.embedding.shipped_model import minilm, minilm_name
from proxy.learning.archive import Archive, StoreUnreadable
from proxy.learning.replay import Rules, replay
from proxy.reload.loading import loaders
from proxy.reload.policies import policy_of, unusable
from proxy.reload.prepare import Prepared, prepare, texts_of
from proxy.routing.policy import Policy, policy_version

EXIT_CHANGES = 1


@click.command("replay", short_help="Show which stored decisions new rules would change.")
@click.option("--routes", "routes_path", type=click.Path(path_type=Path), help="The new routing file.")
@click.option("--policy", "policy_path", type=click.Path(path_type=Path), help="A new policy, of `train`.")
@named_config_option("The routing file in use, to compare with; names the store. For --policy alone also the one here.")
@click.option("--store", metavar="URL", help="The store, if not that of the file in use.")
@since_option
@click.option("--limit", type=click.IntRange(min=1), default=50_000, show_default=True, help="The newest so many.")
@click.option("--fail-on-change", is_flag=True, help="Exit code 1 if any decision would change.")
@click.option("--json", "as_one", is_flag=True, help="One JSON object, for scripts.")
@cache_dir_option
def replay_command(
    routes_path: Path | None,
    policy_path: Path | None,
    config_path: Path | None,
    store: str | None,
    since: float | None,
    limit: int,
    fail_on_change: bool,
    as_one: bool,
    cache_dir: Path | None,
) -> None:
    """
    Decide again what is stored, by a new routes.yaml, a new policy, or both, and show what would change.

    With -c the new rules are compared with the old ones, both looking at each turn by itself: then what a draw, an
    exploration or a moment's latencies did is no change. Without it they are compared with what was decided.

    Exit code 0: done, whatever changes. 1: with --fail-on-change, something does. 2: a file or the store has errors.
    """
    if routes_path is None and policy_path is None:
        raise click.UsageError("What is to be tried? Give --routes, --policy, or both.")
    config_path = or_here(config_path) if routes_path is None else config_path
    old = None if config_path is None else load_or_exit(config_path)
    new = old if routes_path is None else load_or_exit(routes_path)
    if new is None:
        raise click.UsageError("--policy alone needs -c, the routing file that is to use it.")
    if policy_path is not None:
        new = msgspec.structs.replace(new, policy=File(policy_path))
    settings = store_of(store, old or new, config_path or routes_path)
    text = new.text if old is None else old.text
    rules = _rules(new, text, cache_dir, policy_path)
    before = None if old is None else _rules(old, text, cache_dir)
    try:
        with Archive(settings) as archive, reading_count("deciding again") as count:
            found = replay(archive, rules, before, since=since, newest=limit, step=count)
    except StoreUnreadable as error:
        raise Unreadable(str(error)) from None
    if as_one:
        echo_json(as_json(found))
    else:
        show(console(), found)
    sys.exit(EXIT_CHANGES if fail_on_change and found.changes else 0)


def _rules(config: Config, stored: Text, cache_dir: Path | None, needed: Path | None = None) -> Rules:
    """
    What decides by a routing file.

    Args:
        config: what it says.
        stored: by which the stored requests were looked at.
        cache_dir: a folder that keeps what is made of examples.
        needed: its policy, if that must be there.
    """
    try:
        policy = policy_of(config, partial(minilm_name, config.text.max_tokens))
        if policy is None and needed is not None:
            raise unusable(needed, "no such file")
    except ConfigError as error:
        exit_with(error)
    lazy = _LazyModel(config)
    prepared = _prepared(config, lazy, cache_dir, policy)
    return Rules(
        config, prepared.router, prepared.topics, prepared.complexity, lazy.embed, config.text == stored,
        policy_version(policy),
    )  # fmt: skip


def _prepared(config: Config, lazy: _LazyModel, cache_dir: Path | None, policy: Policy | None) -> Prepared:
    texts = texts_of(config)
    if not texts:
        return prepare(config, lazy.embed, policy=policy)
    with loading_bar() as bar:
        bulk, fitter = loaders(lazy.model, cache_dir, bar)
        vectors = bulk.vectors(texts, threads=config.embedding.threads).vectors
        return prepare(config, lazy.embed, vectors, fitter, policy)


class _LazyModel:
    """The embedding model, which takes a second to load, and rules that look at no text need not."""

    def __init__(self, config: Config) -> None:
        self._config = config

    @cached_property
    def model(self) -> MiniLM:
        return minilm(self._config.text.max_tokens)

    def embed(self, text: str) -> Vector:
        """As a server embeds what a request says."""
        return self.model.embed(head_and_tail(text, self._config.text.max_tokens))
