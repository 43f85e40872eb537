"""OpenAI's JavaScript SDK cannot tell Pointsman from OpenAI."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "js"
SCENARIOS = (
    "plain", "stream", "tools", "streamed_tools", "image_parts", "response_format", "raw_headers", "error_classes",
    "cut_stream", "models",
)  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes(base_url: str) -> dict[str, str | None]:
    """What each scenario came to: None, or the error."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("node and npm are missing; .ci/run installs them")
        pytest.skip("node and npm are not installed")
    if not (FOLDER / "node_modules" / "openai").is_dir():
        install = ["npm", "ci", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(install, cwd=FOLDER, check=True, timeout=120)
    done = subprocess.run(
        ["node", "scenarios.mjs"], cwd=FOLDER, env={**os.environ, "BASE_URL": base_url}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["name"]: line["error"] for line in lines}


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.timeout(200)
def test_scenario(outcomes: dict[str, str | None], name: str) -> None:
    assert outcomes[name] is None, outcomes[name]


def test_no_scenario_is_left_out(outcomes: dict[str, str | None]) -> None:
    assert set(outcomes) == set(SCENARIOS)


def test_the_lock_file_carries_no_download_address() -> None:
    lock = (FOLDER / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert "://" not in lock
