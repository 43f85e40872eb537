"""`pointsman schema`: the format of routes.yaml, for editors and for people."""

from __future__ import annotations

import json

import click

from proxy.config import json_schema, reference


@click.command()
@click.option("--markdown", is_flag=True, help="The reference for people, docs/routes.md, in place of the JSON Schema.")
def schema(*, markdown: bool) -> None:
    """
    Print the JSON Schema of routes.yaml.

    Editors with a YAML language server complete and check the file by it; the starter file's first line points
    there.
    """
    click.echo(reference() if markdown else schema_text(), nl=False)


def schema_text() -> str:
    """The schema as a file holds it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
