"""`pointsman schema`: the JSON Schema of routes.yaml, for editors."""

from __future__ import annotations

import json

import click

from proxy.config import json_schema


@click.command()
def schema() -> None:
    """
    Print the JSON Schema of routes.yaml.

    Editors with a YAML language server complete and check the file by it; the starter file's first line points
    there.
    """
    click.echo(schema_text(), nl=False)


def schema_text() -> str:
    """The schema as a file holds it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
