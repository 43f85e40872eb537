"""The files that come with the package are found wherever it is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import proxy.shipped
from proxy.shipped import shipped

FILES = ["routes.yaml", "models/all-MiniLM-L6-v2", "models/all-MiniLM-L6-v2/model.onnx"]
FILES.append("models/all-MiniLM-L6-v2/tokenizer.json")


@pytest.mark.parametrize("name", FILES)
def test_each_is_there(name: str) -> None:
    assert shipped(name).is_absolute()
    assert shipped(name).exists()


@pytest.mark.parametrize("name", ["nothing.yaml", "models/none"])
def test_a_missing_one_is_said_with_the_way_out(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"^{name} is missing .*; install the package again$"):
        shipped(name)


def installed(root: Path) -> Path:
    """A folder with the one module in it, as an installation has it."""
    package = root / "proxy"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(proxy.shipped.__file__, package)
    return package


def found(root: Path, name: str) -> Path:
    code = f"from proxy.shipped import shipped; print(shipped({name!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, timeout=20
    )
    return Path(done.stdout.strip())


def test_a_wheels_own_files_go_before_what_lies_beside_it(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    package = installed(root)
    (root / "routes.yaml").touch()
    assert found(root, "routes.yaml") == root / "routes.yaml"
    (package / "_shipped").mkdir()
    (package / "_shipped" / "routes.yaml").touch()
    assert found(root, "routes.yaml") == package / "_shipped" / "routes.yaml"
