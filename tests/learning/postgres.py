"""A PostgreSQL of the tests' own: a private cluster in a folder, reached over a unix socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_INITDB = shutil.which("initdb") or next((str(folder / "initdb") for folder in _FOLDERS), None)


class Cluster:
    """One server; `url` names one of its databases."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self._programs = programs
        self._count = 0

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self._run(
            "pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-o", options, "-w", "start"
        )

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    def fresh(self) -> str:
        """The URL of a new database, with a password in it."""
        self._count += 1
        self._run("createdb", "-h", str(self.folder), "-U", "pointsman", f"test{self._count}")
        return f"postgresql+asyncpg://pointsman:hunter2@/test{self._count}?host={self.folder}"

    def sql(self, url: str, statement: str) -> str:
        """What a statement prints."""
        database = url.rpartition("/test")[2].partition("?")[0]
        return self._run("psql", "-h", str(self.folder), "-U", "pointsman", "-d", f"test{database}", "-Atc", statement)

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self._programs / program), *arguments]
        if os.getuid() == 0:  # which PostgreSQL refuses to run as
            command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50, cwd=self.folder)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout.strip()

    def init(self) -> None:
        self._run(
            "initdb", "-D", str(self.folder / "data"), "-U", "pointsman", "-A", "trust", "-N", "--no-instructions"
        )


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A running server; where there is no PostgreSQL the test is skipped, other than in CI."""
    if _INITDB is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed, and CI must have it")
        pytest.skip("PostgreSQL is not installed")
    # Not below pytest's own folder: a socket's path is at most 107 bytes long, and the server is another user.
    with tempfile.TemporaryDirectory(prefix="ptm-pg-", dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        found = Cluster(Path(folder), Path(_INITDB).resolve().parent)
        found.init()
        found.start()
        try:
            yield found
        finally:
            found.stop()
