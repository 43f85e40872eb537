"""Files that routes.yaml names change, or come later, while Pointsman runs on it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from proxy.app import build_app
from proxy.config import Config
from proxy.reload.source import ConfigSource
from tests.certificates import Authority, serving_with
from tests.relay.wire import MESSAGES, RawUpstream, word_model
from tests.serving import serving

TEXT = """
version: 1
upstreams: {one: {base_url: "https://127.0.0.1:PORT/v1", tls: {ca: ca.pem}}}
models: {m: {target: {upstream: one, name: m}}}
default: m
retry: {attempts: 1}
"""


def put(path: Path, content: bytes) -> None:
    """As a renewal does: a new file in place of the old one."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(content)
    fresh.replace(path)


def wait_until_tried(http: httpx.Client, result: str, times: int) -> None:
    deadline = time.monotonic() + 20
    while f'pointsman_config_reloads_total{{result="{result}"}} {times:.1f}' not in http.get("/metrics").text:
        assert time.monotonic() < deadline


@contextmanager
def running(path: Path) -> Iterator[httpx.Client]:
    source = ConfigSource(path, {})
    with (
        serving(build_app(source.load(), load_model=word_model, source=source, poll_s=0.02)) as served,
        httpx.Client(base_url=served.url, timeout=10) as http,
    ):
        yield http


def test_a_renewed_certificate_is_taken_up_and_a_bad_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    raw = RawUpstream(tls=serving_with(old.sign("first")))
    raw.script = lambda exchange: exchange.answer(b'{"choices": []}')
    path, ca = tmp_path / "routes.yaml", tmp_path / "ca.pem"
    path.write_text(TEXT.replace("PORT", str(raw.port)))
    put(ca, old.certificate.read_bytes())
    try:
        with running(path) as http:

            def ask() -> int:
                return http.post("/v1/chat/completions", json={"model": "m", "messages": MESSAGES}).status_code

            assert ask() == 200
            put(ca, b"half a certif")
            wait_until_tried(http, "invalid", 1)
            failed = next(record for record in caplog.records if record.getMessage() == "config reload failed")
            assert failed.levelno == logging.ERROR
            (problem,) = failed.__dict__["problems"]
            assert problem.startswith(f"{path}:3:")
            assert problem.endswith(" upstreams.one.tls.ca: holds no certificate in PEM form")
            assert ask() == 200, "the old one serves on"
            put(ca, new.certificate.read_bytes())
            wait_until_tried(http, "ok", 1)
            assert ask() == 502, "what the upstream shows is no longer trusted"
            raw.tls = serving_with(new.sign("second"))
            assert ask() == 200
    finally:
        raw.close()


@pytest.mark.parametrize("named", ["upstreams.one.tls.ca", "shadow.routes"])
def test_a_file_that_comes_after_the_routes_that_name_it_is_waited_for(named: str, tmp_path: Path) -> None:
    path, plain = tmp_path / "routes.yaml", TEXT.replace(", tls: {ca: ca.pem}", "")
    texts = {"upstreams.one.tls.ca": TEXT, "shadow.routes": f"{plain}shadow: {{routes: ca.pem}}\n"}
    contents = {
        "upstreams.one.tls.ca": Authority(tmp_path, "own").certificate.read_bytes(),
        "shadow.routes": plain.replace("PORT", "1").encode(),
    }
    path.write_text(plain.replace("PORT", "1"))
    with running(path) as http:
        put(path, texts[named].replace("PORT", "1").encode())
        wait_until_tried(http, "invalid", 1)
        put(tmp_path / "ca.pem", contents[named])
        wait_until_tried(http, "ok", 1)
        assert 'pointsman_config_reloads_total{result="invalid"} 1.0' in http.get("/metrics").text


def test_who_may_read_a_file_makes_it_another_and_a_further_link_does_not(tmp_path: Path) -> None:
    path, ca = tmp_path / "routes.yaml", tmp_path / "ca.pem"
    path.write_text(TEXT.replace("PORT", "1"))
    put(ca, Authority(tmp_path, "own").certificate.read_bytes())
    source = ConfigSource(path, {})
    source.load()
    for file in (path, ca):
        (tmp_path / f"{file.name}.link").hardlink_to(file)
        assert not source.has_changed()
        file.chmod(0o400)
        assert source.has_changed()
        source.load()


PLAIN = TEXT.replace(", tls: {ca: ca.pem}", "").replace("PORT", "9")


@pytest.mark.parametrize(
    ("text", "later_ns"),
    [
        pytest.param(f"{PLAIN}# more", 0, id="of-the-same-time"),
        pytest.param(PLAIN.replace("name: m", "name: n"), 1, id="of-nearly-the-same-time-and-the-same-size"),
    ],
)
def test_a_file_that_is_written_anew_in_its_place_is_seen_as_another(tmp_path: Path, text: str, later_ns: int) -> None:
    """As by `cp`, or with the time of what it was made of."""
    path = tmp_path / "routes.yaml"
    path.write_text(PLAIN)
    os.utime(path, ns=(1_000_000_000, 1_000_000_000))
    source = ConfigSource(path, {})
    source.load()
    assert not source.has_changed()
    path.write_text(text)
    os.utime(path, ns=(1_000_000_000, 1_000_000_000 + later_ns))
    assert source.has_changed()


def test_a_change_while_it_is_read_is_seen_at_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(PLAIN)

    def changed(config: Config) -> Config:
        """Called when the file has been read, and before all is known that it names."""
        put(path, b"version: 1")
        return config

    source = ConfigSource(path, {}, overlay=changed)
    source.load()
    assert source.has_changed()
