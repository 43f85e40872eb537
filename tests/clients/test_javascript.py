"""OpenAI's JavaScript SDK cannot tell Pointsman from OpenAI."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from proxy.simulator import Entry, Simulator
from tests.wire.faults import BREAKS
from tests.wire.matrix import CASES, open_wire

FOLDER = Path(__file__).parent / "js"
SCENARIOS = (
    "plain", "stream", "stream_helper", "tools", "streamed_tools", "image_parts", "json_object", "json_schema",
    "raw_headers", "models", "same_as_the_upstream", "error_classes", "unknown_model", "retry", "timeout",
    "closed_stream", "cut_stream", "response", "streamed_response", "cut_response", "embeddings", "files",
    "repaired_faults", "broken_streams",
)  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]  # the first run installs the package


@pytest.fixture(scope="module")
def outcomes(
    base_url: str, insistent_url: str, upstream_url: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str | None]:
    """What each scenario came to: None, or the error."""
    if missing := [program for program in ("node", "npm") if shutil.which(program) is None]:
        if os.environ.get("CI"):
            pytest.fail(f"{' and '.join(missing)} not found; CI must run the JavaScript tests: install Node.js")
        pytest.skip(f"{' and '.join(missing)} not found; install Node.js to run the JavaScript tests")
    if not (FOLDER / "node_modules" / "openai").is_dir():
        # The lock file has no download addresses: each machine takes the package from the registry it is set to.
        install = ["npm", "ci", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(install, cwd=FOLDER, check=True, timeout=120)
    urls = {"BASE_URL": base_url, "INSISTENT_URL": insistent_url, "DIRECT_URL": upstream_url}
    broken = [{"model": f"break-{number}", "code": broken.code} for number, broken in enumerate(BREAKS)]
    with open_wire(tmp_path_factory.mktemp("certificates")) as (_, _, http):
        faults = {
            "FAULTY_URL": f"{http.base_url}/v1",
            "REPAIRED": json.dumps(_repaired()),
            "BROKEN": json.dumps(broken),
        }
        done = subprocess.run(
            ["node", "scenarios.mjs"], cwd=FOLDER, env={**os.environ, **urls, **faults}, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["name"]: line["error"] for line in lines}


def _repaired() -> list[dict[str, object]]:
    """A case of each outcome that another target or model betters, streaming and not."""
    cases = [case for case in CASES if case.fault.moves_on and case.setup != "one target"]
    some = {(case.fault.outcome, case.setup, case.stream): case for case in cases}
    return [{"model": case.model, "stream": case.stream} for case in some.values()]


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(outcomes: dict[str, str | None], name: str) -> None:
    assert outcomes[name] is None, outcomes[name]


def test_no_scenario_is_left_out(outcomes: dict[str, str | None]) -> None:
    assert set(outcomes) == set(SCENARIOS)


@pytest.mark.parametrize("knob", ["x-simulate-stall-headers", "x-simulate-stall"])
def test_giving_up_frees_the_upstream(outcomes: dict[str, str | None], simulator: Simulator, knob: str) -> None:
    def is_freed(entry: Entry) -> bool:
        is_ours = (entry.header("user-agent") or "").startswith("OpenAI/JS")
        return is_ours and entry.header(knob) is not None and entry.disconnected_at is not None

    simulator.log.wait_for(is_freed)


def test_the_lock_file_carries_no_download_address() -> None:
    lock = (FOLDER / "package-lock.json").read_text()
    for trace in ("resolved", "://", "npmjs", "registry"):
        assert trace not in lock
