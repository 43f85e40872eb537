"""The bench of decisions decides what it says it decides."""

from __future__ import annotations

import json

from click.testing import CliRunner

from bench.deciding import POLICY, STAGES, main


def test_every_stage_is_timed_with_cold_and_warm_caches() -> None:
    result = CliRunner().invoke(
        main,
        ["--topics", "8", "--examples", "3", "--rules", "12", "--requests", "20", "--json"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found.keys() == {"cold", "warm"}
    for kind in found.values():
        assert tuple(kind) == (*STAGES, POLICY)
        for figures in kind.values():
            assert 0 < figures["p50"] <= figures["p90"] <= figures["p99"]
