"""`pointsman init`: write a starter routes.yaml."""

from __future__ import annotations

from pathlib import Path

import click

from proxy.cli.schema import schema_text
from proxy.shipped import shipped


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("routes.yaml"))
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(path: Path, force: bool) -> None:
    """
    Write a commented starter file to PATH (routes.yaml).

    Its JSON Schema goes beside it as routes.schema.json, where the file's first line points editors.
    """
    if path.is_dir():
        path = path / "routes.yaml"
    schema = path.parent / "routes.schema.json"
    try:
        # Mode x leaves it to the system that nothing is overwritten, also between two who do this at once.
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(shipped("routes.yaml").read_text(encoding="utf-8"))
        schema.write_text(schema_text(), encoding="utf-8")
    except FileExistsError:
        raise click.ClickException(f"{path} is there already; --force replaces it.") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}.") from None
    click.echo(f"Wrote {path} and {schema.name}. Next: pointsman check, then pointsman serve --demo")
