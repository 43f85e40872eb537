"""`pointsman init`: write a starter routes.yaml."""

from __future__ import annotations

from pathlib import Path

import click

from proxy.shipped import shipped


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("routes.yaml"))
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(path: Path, force: bool) -> None:
    """Write a commented starter file to PATH (routes.yaml)."""
    if path.is_dir():
        path = path / "routes.yaml"
    try:
        # Mode x leaves it to the system that nothing is overwritten, also between two who do this at once.
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(shipped("routes.yaml").read_text(encoding="utf-8"))
    except FileExistsError:
        raise click.ClickException(f"{path} is there already; --force replaces it.") from None
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}.") from None
    click.echo(f"Wrote {path}. Next: pointsman check, then pointsman serve --demo")
