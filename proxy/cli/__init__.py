"""
The command line, a file for each command:
`pointsman serve | init | check | explain | tune | train | evaluate | replay | report | schema`.
"""

from __future__ import annotations

import click

from proxy import __version__
from proxy.cli.check import check
from proxy.cli.evaluate import evaluate
from proxy.cli.explain import explain
from proxy.cli.init import init
from proxy.cli.replay import replay_command
from proxy.cli.report import report_command
from proxy.cli.schema import schema
from proxy.cli.serve import serve
from proxy.cli.train import train
from proxy.cli.tune import tune_thresholds


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pointsman")
def main() -> None:
    """Pointsman: each request goes to the model that fits it."""


for command in (serve, init, check, explain, tune_thresholds, train, evaluate, replay_command, report_command, schema):
    main.add_command(command)
