"""A wheel that is built from the repository works in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.wheels import wheel

__all__ = ["wheel"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env={**os.environ, **environ}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_works_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "proxy/_shipped/models/all-MiniLM-L6-v2/model.onnx" in names
    assert "proxy/_shipped/routes.yaml" in names
    assert {"proxy/ui/index.html", "proxy/ui/main.js", "proxy/ui/vendor/uplot.js", "proxy/ui/vendor/uplot.LICENSE"} <= {
        *names
    }
    assert not [name for name in names if name.startswith(("tests", "bench"))]

    installed, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    run("-m", "pip", "install", "--quiet", "--no-deps", "--target", installed, wheel, cwd=empty)
    environ = {"PYTHONPATH": str(installed)}
    where = run("-c", "import proxy; print(proxy.__file__)", cwd=empty, **environ)
    assert where.startswith(str(installed))
    run("-m", "proxy", "init", cwd=empty, **environ)
    assert "8 of 8 tests pass" in run("-m", "proxy", "check", cwd=empty, **environ)
    assert (empty / "routes.yaml").is_file()
