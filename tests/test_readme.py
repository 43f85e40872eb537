"""What the README shows is true."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from click.testing import CliRunner

from proxy.cli import main
from proxy.config import Upstream, When, load_config, parse_config

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_its_routes_yaml_is_valid_and_passes_its_own_tests(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "routes.yaml"
    path.write_text(block, encoding="utf-8")
    checked = CliRunner().invoke(main, ["check", "-c", str(path)])
    assert checked.exit_code == 0, checked.output
    assert load_config(path, {}).tests


def test_what_it_shows_of_upstreams_is_valid() -> None:
    (block,) = re.findall(r"```\n(upstreams:\n.*?)```", README, re.DOTALL)
    rest = "version: 1\nmodels: {m: {target: {upstream: inside, name: m}}}\ndefault: m\n"
    config = parse_config(block + rest, source="README.md", environ={"KEY_1": "a", "AZURE_KEY": "b"})
    for field in msgspec.structs.fields(Upstream):
        if field.name not in ("api_key", "timeouts", "max_in_flight"):  # these stand in the whole file above
            assert any(getattr(each, field.name) != field.default for each in config.upstreams.values()), field.name


def test_it_names_every_condition_and_every_path() -> None:
    for name in When.__struct_fields__:
        assert f"`{name.rstrip('_')}`" in README, name
    for path in ("/v1/chat/completions", "/v1/models", "/v1/route", "/healthz", "/readyz", "/metrics"):
        assert path in README
