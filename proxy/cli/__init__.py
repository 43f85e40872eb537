"""
The command line: `pointsman serve | init | check | explain | tune | train | evaluate | traffic | schema`, a file for
each.
"""

from __future__ import annotations

import click

from proxy import __version__
from proxy.cli.check import check
from proxy.cli.evaluate import evaluate
from proxy.cli.explain import explain
from proxy.cli.init import init
from proxy.cli.schema import schema
from proxy.cli.serve import serve
from proxy.cli.traffic import traffic
from proxy.cli.train import train
from proxy.cli.tune import tune_thresholds


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pointsman")
def main() -> None:
    """Pointsman: each request goes to the model that fits it."""


for command in (serve, init, check, explain, tune_thresholds, train, evaluate, traffic, schema):
    main.add_command(command)
