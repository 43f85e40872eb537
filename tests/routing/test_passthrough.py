"""Where the requests go that are not routed, and which go nowhere."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import parse_config
from proxy.errors import UnknownModel, UnknownPath
from proxy.routing.passthrough import Passthrough, asked_model, is_ours

CONFIG = """
version: 1
upstreams:
  openai: {base_url: "https://openai.test/v1"}
  claude: {base_url: "https://claude.test/v1", protocol: anthropic}
models:
  small: {target: {upstream: openai, name: gpt-4o-mini}}
  large: {target: {upstream: openai, name: gpt-4o}}
  opus: {target: {upstream: claude, name: claude-opus}}
  haiku: {target: {upstream: claude, name: claude-haiku}}
default: large
"""
VERSION = {"anthropic-version": "2023-06-01"}


def passthrough(more: str = "", text: str = CONFIG) -> Passthrough:
    return Passthrough(parse_config(text + more, source="routes.yaml", environ={}))


ALL = passthrough()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "files"), ("POST", "files"), ("GET", "files/file-1/content"), ("POST", "embeddings"),
        ("DELETE", "responses/resp_1"), ("GET", "responses"), ("GET", "chat/completions"), ("POST", "responses/r/cancel"),
        ("POST", "chat/completions/x"), ("GET", "files/a%20b"), ("GET", "files/a%2Bb"), ("GET", "a.b/..c/d.."),
        ("POST", "completionsx"), ("POST", "messages/batches"), ("GET", "a%ff"), ("POST", "xresponses"),
        ("POST", "responses/input_tokens"), ("GET", "chat/completions/c/messages"), ("GET", "v1/chat/completions"),
        ("POST", "threads/thread_1/messages"), ("POST", "fim/completions"), ("POST", "agents/completions"),
    ],
)  # fmt: skip
def test_what_is_passed(method: str, path: str) -> None:
    ALL.check(method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *[("GET", path) for path in ("", "/", "files/", "/files", "a//b", ".", "..", "a/..", "a/../b", "./a", "a/.")],
        *[("GET", path) for path in ("%2e%2e", "a/%2E%2e/b", "a%2f..%2fb", "a%5c..%5cb", "a\\..\\b", "a%2f%2fb", "a%2F")],
        *[("GET", path) for path in ("a%00b", "a%0d%0ab", "a%7f", "a%0A", "caf\xe9", "\u20ac")],
        *[("POST", path) for path in ("Chat/Completions", "chat/completions;x", "chat%2fcompletions", "%63hat/completions")],
        *[("POST", path) for path in ("RESPONSES", "responses;a=b", "Completions", "messages", "Messages%3Bx", "chat%2fcompletions%2f")],
        *[("POST", path) for path in ("v1/chat/completions", "v1%2fresponses", "V1/Messages", "openai/v1/completions")],
        *[("POST", path) for path in ("engines/gpt/completions", "openai/deployments/gpt/chat/completions", "a/b/messages")],
        *[("POST", path) for path in ("v1;a/chat/completions", "chat;a/completions;b", "v1\\chat\\completions")],
        *[("POST", path) for path in ("v1/threads/1/messages", "threads/1/2/messages", "x/fim/completions")],
    ],
)  # fmt: skip
def test_what_leads_out_or_says_a_routed_path_in_another_way(method: str, path: str) -> None:
    with pytest.raises(UnknownPath) as caught:
        ALL.check(method, path)
    assert len(str(caught.value)) < 300


@given(st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=30))
def test_no_path_that_is_passed_has_a_step_out(path: str) -> None:
    try:
        ALL.check("GET", path)
    except UnknownPath:
        return
    assert path.isascii()
    assert not {"", ".", ".."} & set(path.replace("\\", "/").split("/"))


@pytest.mark.parametrize(
    ("globs", "passed", "not_passed"),
    [
        pytest.param('["*"]', ["files", "a/b/c"], [], id="all"),
        pytest.param("[]", [], ["files", "x"], id="none"),
        pytest.param('["files*"]', ["files", "files/1/content"], ["file", "Files", "x/files"], id="files"),
        pytest.param('["audio/*", embeddings]', ["audio/speech", "embeddings"], ["audio", "embeddings/x"], id="some"),
    ],
)
def test_what_routes_yaml_passes(globs: str, passed: list[str], not_passed: list[str]) -> None:
    some = passthrough(f"passthrough: {globs}\n")
    for path in passed:
        some.check("GET", path)
    for path in not_passed:
        with pytest.raises(UnknownPath):
            some.check("GET", path)


def test_a_glob_sees_what_an_escape_stands_for() -> None:
    passthrough('passthrough: ["files/a b"]\n').check("GET", "files/a%20b")
    with pytest.raises(UnknownPath):
        passthrough('passthrough: ["files%2F*"]\n').check("GET", "files%2Fx")


@pytest.mark.parametrize(
    ("asked", "headers", "model"),
    [
        pytest.param("small", {}, "small", id="named"),
        pytest.param("auto", {}, "large", id="auto"),
        pytest.param("tts-1", {}, None, id="unknown"),
        pytest.param(None, {}, None, id="none"),
        pytest.param("small", {"x-pointsman-model": "opus"}, "opus", id="the-header-first"),
        pytest.param(None, {"x-pointsman-model": "small"}, "small", id="the-header-alone"),
    ],
)
def test_the_model(asked: str | None, headers: dict[str, str], model: str | None) -> None:
    assert ALL.model(asked, headers, "openai") == model


def test_auto_is_the_first_that_speaks_the_protocol() -> None:
    assert ALL.model("auto", {}, "anthropic") == "opus"
    with pytest.raises(UnknownPath):
        passthrough(text=re.sub(r"(?m)^  (claude|opus|haiku): .*\n", "", CONFIG)).model("auto", {}, "anthropic")


def test_a_header_that_names_nobody() -> None:
    for name in ("tts-1", "", "auto"):
        with pytest.raises(UnknownModel):
            ALL.model("small", {"x-pointsman-model": name}, "openai")


@pytest.mark.parametrize(
    ("path", "headers", "default"),
    [
        pytest.param("files", {}, "large", id="openais"),
        pytest.param("files", VERSION, "opus", id="by-its-header"),
        pytest.param("messages/count_tokens", {}, "opus", id="by-its-path"),
        pytest.param("threads/1/messages", {}, "large", id="another-messages"),
    ],
)
def test_the_default_of_each_protocol(path: str, headers: dict[str, str], default: str) -> None:
    assert ALL.default(ALL.protocol(path, headers)) == default


def test_the_default_goes_first_where_it_speaks_the_protocol() -> None:
    assert passthrough(text=CONFIG.replace("default: large", "default: haiku")).default("anthropic") == "haiku"
    only_openai = CONFIG.replace("protocol: anthropic", "protocol: openai")
    with pytest.raises(UnknownPath, match="anthropic"):
        passthrough(text=only_openai).default("anthropic")


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model":"m","input":[1]}', "m"),
        (b'{"model":"a","model":"b"}', "b"),
        (b'{"mod\\u0065l":"m"}', "m"),
        (b'{"model":null}', None),
        (b'{"model":3}', None),
        (b'{"input":{"model":"m"}}', None),
        (b'[{"model":"m"}]', None),
        (b'{"model":"m"', None),
        (b"", None),
        (b"\xff", None),
        (b'{"a":' + b"[" * 100_000, None),
    ],
)
def test_the_model_of_a_body(body: bytes, model: str | None) -> None:
    assert asked_model(body) == model


@pytest.mark.parametrize(
    ("path", "ours"),
    [("models", True), ("models/a/b", True), ("route", True), ("targets/x", True), ("feedback", True), ("routes", False), ("files", False), ("Models", False), ("", False)],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_is_answered_here(method: str, path: str, ours: bool) -> None:
    is_deleted = (method, path) == ("DELETE", "models/a/b")
    assert is_ours(method, path) == (ours and not is_deleted)
