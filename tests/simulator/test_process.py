"""`python -m proxy.simulator` as `serve --demo` runs it."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running simulator and its URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "proxy.simulator", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            line = running.stdout.readline()
            match = re.fullmatch(r"simulator listening on (http://127\.0\.0\.1:\d+)\n", line)
            assert match, line
            yield running, match.group(1)
        finally:
            running.kill()


def test_ends_with_its_stdin_even_in_mid_stream() -> None:
    """So that `serve --demo` leaves no orphan, however it dies."""
    with process("--parent-watch") as (running, url), httpx.Client() as client:
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        request = client.build_request(
            "POST", f"{url}/v1/chat/completions", json=body, headers={"x-simulate-stall": "1"}
        )
        client.send(request, stream=True)
        _, errors = running.communicate(timeout=5)
        assert (running.returncode, errors) == (0, "")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_ends_cleanly_on_a_signal(sent: signal.Signals) -> None:
    with process("--instant") as (running, url):
        assert httpx.get(f"{url}/v1/models").status_code == 200
        running.send_signal(sent)
        output, errors = running.communicate(timeout=5)
        assert running.returncode in (0, -sent)
        assert (output, errors) == ("", "")


def test_prints_nothing_but_the_line_whatever_goes_wrong() -> None:
    with process("--instant", "--parent-watch") as (running, url):
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(f"{url}/v1/chat/completions", json=body, headers={"x-simulate-cut": "1"})
        output, errors = running.communicate(timeout=5)
        assert (output, errors) == ("", "")
