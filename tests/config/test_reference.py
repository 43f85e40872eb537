"""docs/routes.md tells of every key what it is, and is up to date."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from proxy.cli import main
from proxy.config import json_schema, reference

ROOT = Path(__file__).parent.parent.parent


def test_the_page_in_docs_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(main, ["schema", "--markdown"]).output
    assert printed == reference()
    assert (ROOT / "docs" / "routes.md").read_text(encoding="utf-8") == printed, "run: make schema"


def test_it_has_a_row_for_every_key_of_the_schema_and_each_says_what_it_means() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", reference(), re.MULTILINE)
    schema = json_schema()
    keys = [key for part in (schema, *schema["definitions"].values()) for key in part["properties"]]
    assert sorted(row[0] for row in rows) == sorted(keys)
    for key, takes, _, meaning in rows:
        assert takes, key
        assert meaning, key


def test_defaults_are_written_as_the_file_writes_them() -> None:
    for row in (
        "| `deadline` | duration | `250ms` |",
        "| `keep` | duration | `90d` |",
        "| `rewrite` | list of: text | `*` |",
        "| `price` | [mapping](#modelsnameprice) |  |",
        "| `use` | text or [mapping](#routesuselearned) or [mapping](#routesusesplit) |  |",
        "| `base_url` | URL | **needed** |",
    ):
        assert row in reference(), row
