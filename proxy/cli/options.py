"""What several commands share: finding routes.yaml, and saying what is wrong with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click

from proxy.config import Config, ConfigError, load_config, load_shadow
from proxy.embedding.shipped_model import minilm_name
from proxy.reload.policies import policy_of
from proxy.reload.shadowing import shadowing_of

EXIT_BAD_CONFIG = 2

HERE = Path("routes.yaml")
"""The routing file of whoever names none."""

_config = partial(
    click.option,
    "--config",
    "-c",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="POINTSMAN_CONFIG",
    show_envvar=True,
)
config_option = _config(default=HERE, show_default=True, help="The routing file.")


def named_config_option(told: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The same for a command that can do without: None where none is named. `told` is its help."""
    return _config(help=told)


def or_here(named: Path | None) -> Path | None:
    """The routing file that was named, or else the one here, if there is one: for what cannot do without after all."""
    return HERE if named is None and HERE.exists() else named


def _folder(context: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    """With `~` as a shell has it, which expands none that comes from the environment; None when nothing is said."""
    try:
        return Path(value).expanduser() if value else None
    except RuntimeError:
        problem = f"{value!r}: nobody's home is known here; name the folder in full."
        raise click.BadParameter(problem, context, parameter) from None


cache_dir_option = click.option(
    "--cache-dir",
    metavar="FOLDER",
    callback=_folder,
    envvar="POINTSMAN_CACHE_DIR",
    show_envvar=True,
    help="Keep here what is made of examples, so that the next start need not make it again.",
)


def load(path: Path) -> Config:
    """
    The file's config, whose policy and shadow can be used.

    Raises:
        ConfigError: there is something wrong with one of them.
    """
    config = load_config(path, os.environ)
    embedder = partial(minilm_name, config.text.max_tokens)
    policy_of(config, embedder)
    shadowing_of(config, load_shadow(config, os.environ), embedder)
    return config


def load_or_exit(path: Path) -> Config:
    """The same; else every error on standard error, and exit code 2."""
    try:
        return load(path)
    except ConfigError as error:
        exit_with(error)


def exit_with(error: ConfigError) -> NoReturn:
    """Show every problem of a file and end with exit code 2."""
    count = len(error.problems)
    refuse(f"{error}\n{count} {'problem' if count == 1 else 'problems'} found.")


def refuse(message: str) -> NoReturn:
    """Say why there is nothing to go on with, and end with exit code 2."""
    click.echo(message, err=True)
    sys.exit(EXIT_BAD_CONFIG)
