"""A real Prometheus, which scrapes often."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"
DASHBOARDS = PROMETHEUS.parent / "grafana"
INTERVAL = "1s"  # a scrape may take as long, and the machine be busy

needs_prometheus = pytest.mark.skipif(
    not os.environ.get("CI") and None in (shutil.which("prometheus"), shutil.which("promtool")),
    reason="Debian's package prometheus is not installed",  # which CI must have
)


class Prometheus:
    """What it knows, through its HTTP API."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.url = str(http.base_url).rstrip("/")

    def get(self, path: str, **parameters: str) -> Any:
        """
        The data of an answer.

        Raises:
            AssertionError: it does not understand what it is asked, and says why.
        """
        answer = self._http.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """The series of an expression, each with its labels and its value."""
        found: list[dict[str, Any]] = self.get("query", query=expr, **({} if at is None else {"time": str(at)}))[
            "result"
        ]
        return found

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Ask until it is so; there are no events to wait for."""
        deadline = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < deadline, what
            time.sleep(0.05)

    def has_scraped(self, port: int) -> None:
        """Wait until it has seen what is there now."""
        begun, up = time.time(), f'up{{instance="127.0.0.1:{port}"}}'
        self.until(lambda: self.query(f"timestamp({up}) > {begun} and {up} == 1"), "no scrape")


@contextmanager
def prometheus(folder: Path, ports: Sequence[int], rules: Path) -> Iterator[Prometheus]:
    """
    Takes five seconds to its first scrape, whatever it is told.

    Args:
        folder: empty.
        ports: what it scrapes, on this machine.
        rules: a file of rules, evaluated as often.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    first, *others = [f"127.0.0.1:{port}" for port in ports]
    # One as in Kubernetes, the others as anywhere else.
    found_at = [{"targets": [first], "labels": {"namespace": "production"}}, {"targets": others}]
    config = {
        "global": dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), INTERVAL),
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "pointsman", "static_configs": found_at}],
    }
    (folder / "prometheus.yaml").write_text(json.dumps(config))  # which is YAML too
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{own}", "--log.level=warn"],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{own}", timeout=10) as http:
                found = Prometheus(http)
                found.until(lambda: _is_ready(http, process, folder), "it does not start")
                yield found
        finally:
            process.kill()
            process.wait()


def _is_ready(http: httpx.Client, process: subprocess.Popen[bytes], folder: Path) -> bool:
    assert process.poll() is None, (folder / "log").read_text()
    try:
        return http.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False
