"""The command line: `pointsman serve | init | check | explain | tune | train | ...`, a file for each command."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from proxy import __version__
from proxy.cli.streams import fit_streams

_COMMANDS = {
    "serve": "serve",
    "init": "init",
    "check": "check",
    "explain": "explain",
    "tune": "tune_thresholds",
    "train": "train",
    "evaluate": "evaluate",
    "replay": "replay_command",
    "report": "report_command",
    "reset-corrections": "reset_corrections",
    "traffic": "traffic",
    "schema": "schema",
}
"""The function behind each, which is in the file of the command's name."""


class _Commands(click.Group):
    """Imports a command when it is asked for: a worker has no use for what trains a policy, nor `init` for a server."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"proxy.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = getattr(module, _COMMANDS[cmd_name])
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        fit_streams()  # before the arguments are looked at: --help and --version are told while they are
        return super().make_context(info_name, args, parent, **extra)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pointsman")
def main() -> None:
    """Pointsman: each request goes to the model that fits it."""
