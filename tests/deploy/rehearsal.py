"""
The image's steps carried out without a container engine.

What a RUN writes goes into a layer over this machine's own root, in mount and network namespaces that end with the
test. So the paths are the real ones, and nothing of the machine changes. The machine stands for the base image; its
root therefore has more in it than that would have.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TextIO

import pytest

from tests.deploy.dockerfile import ROOT, Stage, Step, context, image, stages

_PREPARE = "mount -t tmpfs none '{folder}' && echo ready && exec cat"
_LAYER = """
cd '{folder}' && mkdir -p {name}/upper {name}/work {name}/root
mount -t overlay overlay -o 'lowerdir=/,upperdir={name}/upper,workdir={name}/work' {name}/root
mount --rbind /proc {name}/root/proc
mount --rbind /dev {name}/root/dev
"""
_UP = """
import fcntl, socket, struct
request = struct.pack("16sH14s", b"lo", 1, b"")  # IFF_UP
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, request)  # SIOCSIFFLAGS
"""


class Rehearsal:
    """Layers over this machine's root, and a network of their own that has nobody in it."""

    def __init__(self, folder: Path, holder: int) -> None:
        """
        Args:
            folder: where the layers are, as the namespace sees it.
            holder: the process that keeps the namespaces.
        """
        self._folder = folder
        self._enter = ["nsenter", "--target", str(holder), "--mount", "--net"]
        self.do(sys.executable, "-c", _UP)

    def do(self, *command: str | Path) -> str:
        """Run a program of this machine in the namespaces; what it printed."""
        done = subprocess.run(
            [*self._enter, *map(str, command)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def layer(self, name: str) -> Path:
        """A new layer, with the machine's Python where the base image has its own."""
        self.do("sh", "-ec", _LAYER.format(folder=self._folder, name=name))
        root = self._folder / name / "root"
        python = root / "usr/local/bin/python"
        self.do(
            "sh",
            "-ec",
            f"printf '#!/bin/sh\\nexec \"{sys.executable}\" \"$@\"\\n' > '{python}' && chmod 755 '{python}'",
        )
        for folder in {*map(Path, (sys.prefix, sys.base_prefix))}:  # the image's user is nobody here
            self.do("chmod", "o+rx", *(f"{root}{each}" for each in (folder, *folder.parents)))
        return root

    def inside(self, root: Path, environ: dict[str, str], workdir: str, user: str = "0:0") -> list[str]:
        """What to put before a command so that it runs in a layer, with this environment and no other."""
        given = [f"{name}={value}" for name, value in environ.items()]
        chroot = ["chroot", f"--userspec={user}", "--groups=", str(root), "env", "--ignore-environment"]
        return [*self._enter, *chroot, f"--chdir={workdir}", *given]

    def copy(self, step: Step, origin: Path, root: Path, workdir: str) -> None:
        """Do as COPY says."""
        *sources, target = step.words
        to = Path(f"{root}{target}") if target.startswith("/") else root / workdir.lstrip("/") / target
        for source in sources:
            path = origin / source.lstrip("/")
            if path.is_dir() or step.flags:
                self.do("sh", "-ec", f"mkdir -p '{to}' && cp -a '{path}/.' '{to}'")
            else:
                self.do("sh", "-ec", f"mkdir -p '{to if target.endswith('/') else to.parent}' && cp '{path}' '{to}'")


class Serving:
    """The image's process, while it serves."""

    def __init__(self, process: subprocess.Popen[bytes], log: TextIO) -> None:
        self.process = process
        self._log = log

    def log(self) -> str:
        """What it has written so far."""
        self._log.seek(0)
        return self._log.read()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


class Image:
    """What came of it: a root that is read-only, and what the Dockerfile says of how it is run."""

    def __init__(self, on: Rehearsal, root: Path) -> None:
        self.on = on
        self.root = root
        self.stage: Stage = image()
        self.user = self.stage.one("USER").rest
        self.volume = Path(f"{root}{self.stage.one('VOLUME').rest}")

    def run(self, *command: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program in it, as its own user or another."""
        return subprocess.run(
            [*self._inside(user or self.user), *command], capture_output=True, text=True, timeout=30, check=False
        )

    def is_healthy(self) -> bool:
        """What HEALTHCHECK says."""
        check = self.stage.one("HEALTHCHECK").after("CMD")
        return self.run(*check).returncode == 0

    @contextmanager
    def serving(self, *more: str, **environ: str) -> Iterator[Serving]:
        """What it is made for, with more arguments and variables, from when it is healthy to the end of the block."""
        command = [*self.stage.one("ENTRYPOINT").words, *self.stage.one("CMD").words, *more]
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                [*self._inside(self.user, **environ), *command], stderr=log, stdout=log, start_new_session=True
            )
            try:
                served = Serving(process, log)
                deadline = time.monotonic() + 120
                while not self.is_healthy():
                    if process.poll() is not None or time.monotonic() > deadline:
                        pytest.fail(f"it does not serve: {served.log()}")
                    time.sleep(0.1)  # each look is a process, which takes the processor from what it waits for
                yield served
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=10)

    def _inside(self, user: str, **environ: str) -> list[str]:
        return self.on.inside(self.root, self.stage.environ | environ, self.stage.one("WORKDIR").rest, user)


@contextmanager
def rehearsal(folder: Path) -> Iterator[Rehearsal]:
    """The namespaces, until the block ends."""
    if missing := [program for program in ("unshare", "nsenter", "chroot") if shutil.which(program) is None]:
        pytest.skip(f"no {', '.join(missing)}")
    for path in (sys.prefix, sys.base_prefix):
        if Path(path).stat().st_dev != Path("/").stat().st_dev:
            pytest.skip(f"{path} lies on a mount of its own, which a layer over the root does not show")
    folder.mkdir()
    holder = subprocess.Popen(
        ["unshare", "--mount", "--net", "sh", "-c", _PREPARE.format(folder=folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    try:
        if holder.stdout.readline() != "ready\n":
            pytest.skip(f"this machine lets nobody mount: {holder.communicate()[1].strip()}")
        yield Rehearsal(folder, holder.pid)
    finally:
        holder.communicate(timeout=10)


def build(on: Rehearsal, wheel: Path, checkout: Path) -> Image:
    """
    The image, made as the Dockerfile says.

    What RUN installs it installs without what that depends on, which is taken from the environment of the tests: to
    fetch it takes minutes, and whether pip can is nothing that the Dockerfile decides. The wheel is the one that
    the tests have built.

    Args:
        on: where to.
        wheel: what `pip wheel` makes.
        checkout: an empty folder, for what .dockerignore lets in.
    """
    for path in context():
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, checkout / path)
    roots: dict[str, Path] = {}
    for stage in stages():
        root = roots[stage.name] = on.layer(stage.name or "image")
        environ, workdir = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PIP_NO_DEPS": "1"} | stage.environ, "/"
        for step in stage.steps:
            if step.name == "WORKDIR":
                workdir = step.rest
                on.do("mkdir", "-p", f"{root}{workdir}")
            elif step.name == "COPY":
                origin = roots[step.flags["from"]] if step.flags else checkout
                on.copy(step, origin, root, workdir)
            elif step.name == "RUN" and "pip wheel" in step.rest:
                assert step.rest == "python -m pip wheel --quiet --no-deps --wheel-dir /wheels ."
                on.do("sh", "-ec", f"mkdir '{root}/wheels' && cp '{wheel}' '{root}/wheels'")
            elif step.name == "RUN" and "--requirement" in step.rest:
                python = "/opt/pointsman/bin/python"
                assert step.rest == f"python -m pip --python {python} install --quiet --requirement needs.txt"
                for need in on.do("cat", f"{root}{workdir}/needs.txt").splitlines():
                    name = re.match(r"[\w.-]+", need)
                    assert name is not None, need
                    assert version(name[0]), need
            elif step.name == "RUN":
                done = subprocess.run(
                    [*on.inside(root, environ, workdir), "sh", "-ec", step.rest], capture_output=True, text=True,
                    timeout=120, check=False,
                )  # fmt: skip
                assert done.returncode == 0, f"{step.rest}: {done.stdout}{done.stderr}"
    (packages,) = [path for path in site.getsitepackages() if path.endswith("site-packages")]
    on.do("sh", "-ec", f"echo '{packages}' > \"$(echo '{root}'/opt/pointsman/lib/python3*/site-packages)/tests.pth\"")
    on.do("mount", "-o", "remount,ro", root)
    return Image(on, root)
