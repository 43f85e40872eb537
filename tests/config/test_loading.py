"""The whole way: good files, and what holds for every file whatsoever."""

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.config import (
    Block,
    Config,
    ConfigError,
    Corrections,
    Drain,
    Duration,
    File,
    Learned,
    ProxyUrl,
    Range,
    References,
    Secret,
    Shadow,
    Split,
    Tls,
    Url,
    When,
    load_config,
    parse_config,
    schema,
)
from proxy.shipped import shipped
from tests.config.files import BASE

FULL = """\
# A file with everything in it.
version: 1
rewrite: ["*", "gpt-[34]*"]
default: ${DEFAULT:-small}
baseline: large
passthrough: ["audio/*", "files*"]
ui: false
policy: models/policy.npz
shadow: {routes: next/routes.yaml}
text: {turns: 2, max_tokens: 64, ignore: [system-reminder, note]}
conversation: {switch: never, keep: 10m, cache: 1000}
embedding: {threads: 1, queue: 0, deadline: 200ms, cache: 0}
server:
  {max_body: 1048576, body_timeout: 30s, max_in_flight: 200, max_head: 8192, max_headers: 100, head_timeout: 5s, send_timeout: 20s, drain: {delay: 5s, grace: 20s}}
topics:
  code:
    examples: &examples
      - Write a function that merges two sorted lists
      - "Why does this raise: a segmentation fault?"
      - |
        Several
        lines
    threshold: 0.5
  smalltalk: {examples: [hi there, no, 42, 'it''s late']}
retry: {attempts: 4, share: 0.1, free: 5}
store: {url: "postgresql+asyncpg://me:hunter%32@db.internal/pointsman", text: true, keep: 30d, rows: 5000}
corrections: {mode: apply, half_life: 3d, most: 0.1, every: 10s}
complexity:
  simple: [What is the capital of France?]
  complex: ["Prove it, step by step"]
models:
  small: &small
    target: {upstream: openai, name: gpt-4o-mini}
    price: {input: 0.15, cached_input: 0.075, output: 0.60}
    context: 128000
    supports: [tools, vision, json_schema]
    fallbacks: [large, coder]
    timeouts: {connect: 1s, first_token: 5s, whole_answer: 20s, idle: 2s, total: 1m}
  large:
    <<: *small
    target: {upstream: openai, name: "${LARGE}"}
    fallbacks: []
    rename: {max_tokens: max_completion_tokens}
    drop: [temperature, top_p]
    default: {seed: 7}
    set: {reasoning_effort: high, metadata: {tier: [1, true, null, ~, "x"]}}
  coder:
    targets:
      - {upstream: gpu-a, name: qwen, weight: 2}
      - {upstream: openai, name: qwen}
routes:
  - name: restricted
    when: {header: {X-Data-Class: restricted, x-team: [a, "b*"]}}
    use: coder
    fallbacks: []
  - name: ${ROUTE}
    when: {topic: code, tokens: {max: 8000}}
    use: coder
  - {name: long, use: large, when: {tokens: {min: 8000}, model: ["gpt-*", auto]}}
  - name: secrets
    when: {text: {contains: [password, api key], matches: '(?i)sk-[a-z0-9]{8,}'}}
    block: {status: 451, message: "Keys do not belong in prompts."}
  - name: hard
    when:
      any: [{complexity: {min: 0.7, max: 1}}, {turns: {min: 10, max: 99}}]
      all:
        - not: {has: [tools, images]}
        - user: [vip-*, ceo]
        - metadata: {tier: gold, "team name": [a, "b?"]}
    use: large
    rename: {max_tokens: max_completion_tokens}
    drop: [logprobs]
    default: {temperature: 0.2}
    set: {seed: 18446744073709551615}
  - name: trial
    when: {topic: [smalltalk]}
    use: {split: {small: 90, coder: 10}}
  - {name: everyday, when: {user: "u*"}, use: {learned: [small, large], prefer: cheap}}
  - {name: measured, when: {user: "v*"}, use: {learned: [small, coder], prefer: 0.3, explore: 0.02, latency: 0.01}}
  - name: compared
    when: {user: "w*"}
    use: {split: {small: 50, learned: 50}, learned: [small, large], prefer: quality, explore: 0.05, latency: 0.1}
  - {name: rest, use: small}
tests:
  - {prompt: Fix this loop, route: restricted, protocol: anthropic}
  - {prompt: hi, route: default}
upstreams:
  gpu-a:
    base_url: "http://vllm-a:8000/v1/"
    timeouts: {connect: 2s, first_token: 30s, whole_answer: 4m, idle: 1.5s, total: 9m}
    max_in_flight: 64
    usage: inject
    protocol: openai
    health_check: {path: /health, every: 5s, timeout: 1s}
    socket: run/vllm.sock
  azure:
    base_url: https://azure.example/openai
    headers: {Api-Key: "${AZURE:-}", x-team: 42, "host": azure.internal}
    query: {api-version: 2024-10-21, "${NOT}": a b}
    tls: {ca: ca.pem, certificate: /etc/me.pem, key: "${KEY_FILE:-me.key}"}
    proxy: http://me:hunter%32@proxy.internal:3128/
  openai:
    base_url: https://api.openai.com/v1
    api_key: ${KEY}
  many: {base_url: "https://many.example/v1", api_keys: [sk-one, "${SECOND:-}", 3]}
  claude: {base_url: "https://api.anthropic.com/v1", protocol: anthropic}
"""
ENVIRON = {"KEY": "sk-hunter2-0f3a91c4", "LARGE": "gpt-4o", "ROUTE": "route-of-the-day"}


def test_everything_is_read() -> None:
    config = parse_config(FULL, source="x", environ=ENVIRON)
    assert config.version == 1
    assert config.default == "small"
    assert (config.text.turns, config.text.max_tokens) == (2, 64)
    assert config.embedding.deadline == Duration(0.2)
    assert (config.server.max_head, config.server.max_headers) == (8192, 100)
    assert (config.server.head_timeout, config.server.send_timeout) == (5.0, 20.0)
    assert config.server.drain == Drain(Duration(5.0), Duration(20.0))
    assert config.topics["code"].examples[2] == "Several\nlines\n"
    assert config.topics["smalltalk"].examples == ("hi there", "no", "42", "it's late")
    assert config.topics["smalltalk"].threshold is None
    gpu, openai = config.upstreams["gpu-a"], config.upstreams["openai"]
    assert gpu.base_url == "http://vllm-a:8000/v1"
    assert type(gpu.base_url) is Url
    assert (gpu.timeouts.connect, gpu.timeouts.idle, gpu.timeouts.total) == (2.0, 1.5, 540.0)
    assert gpu.api_key == Secret("")
    assert openai.api_key == Secret(ENVIRON["KEY"])
    assert openai.timeouts.idle == 60.0
    assert gpu.socket == File(Path("run/vllm.sock"))
    azure, many = config.upstreams["azure"], config.upstreams["many"]
    assert azure.headers == {"api-key": Secret(""), "x-team": Secret("42"), "host": Secret("azure.internal")}
    assert azure.query == {"api-version": Secret("2024-10-21"), "${NOT}": Secret("a b")}
    assert azure.tls == Tls(File(Path("ca.pem")), File(Path("/etc/me.pem")), File(Path("me.key")))
    assert azure.proxy == ProxyUrl("http://me:hunter%32@proxy.internal:3128/")
    assert type(azure.proxy) is ProxyUrl
    assert "hunter" not in repr(azure)
    assert many.all_keys == (Secret("sk-one"), Secret(""), Secret("3"))
    assert (openai.all_keys, azure.all_keys) == ((Secret(ENVIRON["KEY"]),), (Secret(""),))
    assert config.models["large"].price == config.models["small"].price
    assert config.models["large"].all_targets[0].name == "gpt-4o"
    assert [target.weight for target in config.models["coder"].all_targets] == [2.0, 1.0]
    assert config.text.ignore == ("system-reminder", "note")
    assert config.complexity == References(("What is the capital of France?",), ("Prove it, step by step",))
    large = config.models["large"]
    assert (large.context, large.supports, large.fallbacks) == (128_000, ("tools", "vision", "json_schema"), ())
    assert (large.rename, large.drop) == ({"max_tokens": "max_completion_tokens"}, ("temperature", "top_p"))
    assert large.set == {"reasoning_effort": "high", "metadata": {"tier": [1, True, None, None, "x"]}}
    restricted, day, long, secrets, hard, trial, everyday, measured, compared, rest = config.routes
    assert secrets.block == Block(451, "Keys do not belong in prompts.")
    assert hard.when.all is not None
    assert hard.when.all[0] == When(not_=When(has=("tools", "images")))
    assert hard.when.all[2].metadata == {"tier": "gold", "team name": ("a", "b?")}
    assert (hard.default, hard.set) == ({"temperature": 0.2}, {"seed": 2**64 - 1})
    assert trial.use == Split({"small": 90.0, "coder": 10.0})
    assert everyday.use == Learned(("small", "large"), prefer="cheap")
    assert measured.use == Learned(("small", "coder"), prefer=0.3, explore=0.02, latency=0.01)
    arms = {"small": 50.0, "learned": 50.0}
    assert compared.use == Split(arms, ("small", "large"), prefer="quality", explore=0.05, latency=0.1)
    assert config.corrections == Corrections("apply", Duration(259_200.0), 0.1, Duration(10.0))
    assert config.policy == File(Path("models/policy.npz"))
    assert config.shadow == Shadow(routes=File(Path("next/routes.yaml")))
    assert restricted.when.header == {"x-data-class": "restricted", "x-team": ("a", "b*")}
    assert (day.name, day.when.topic, day.when.tokens) == ("route-of-the-day", "code", Range(max=8000.0))
    assert long.when.model == ("gpt-*", "auto")
    assert (rest.use, rest.when.header) == ("small", None)


def test_the_least_that_a_file_can_say() -> None:
    config = parse_config(BASE, source="x", environ={})
    assert (config.rewrite, config.topics, config.routes, config.tests) == (("*",), {}, (), ())
    assert parse_config(BASE.encode(), source="x", environ={}) == config


def test_json_is_yaml() -> None:
    text = (
        '{"version": 1, "default": "small",\n\t"upstreams": {"a": {"base_url": "https://x/v1"}},\n'
        '"models": {"small": {"target": {"upstream": "a", "name": "b\\/\\u00e9"}}}}'
    )
    config = parse_config(text, source="x", environ={})
    assert config.models["small"].all_targets[0].name == "b/é"


def values(value: Any) -> Iterator[msgspec.Struct]:
    """Every struct in a config."""
    if isinstance(value, msgspec.Struct):
        yield value
        value = [getattr(value, name) for name in value.__struct_fields__]
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from values(each)


def test_the_full_file_has_every_key() -> None:
    """A key that joins the format must join the file, which is what the tests below break."""
    other = FULL.replace("shadow: {routes:", "shadow: {policy:")  # one of the two at a time
    found = [one for text in (FULL, other) for one in values(parse_config(text, source="x", environ=ENVIRON))]
    kinds = [kind for kind in vars(schema).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    for kind in kinds:
        for field in msgspec.structs.fields(kind):
            default = field.default_factory() if callable(field.default_factory) else field.default
            given = [getattr(value, field.name) for value in found if isinstance(value, kind)]
            assert any(each != default for each in given), f"{kind.__name__}.{field.encode_name}"


def test_the_starter_file_is_valid() -> None:
    assert load_config(shipped("routes.yaml"), {}).routes


def test_two_readings_share_nothing() -> None:
    one, two = (parse_config(FULL, source="x", environ=ENVIRON) for _ in range(2))
    assert one == two
    assert one.topics is not two.topics
    assert parse_config(BASE, source="x", environ={}).topics is not parse_config(BASE, source="x", environ={}).topics


def outcome(content: str | bytes, environ: Mapping[str, str] = ENVIRON) -> Config | ConfigError:
    """What the loader gives; any other exception fails the test that asked."""
    try:
        return parse_config(content, source="routes.yaml", environ=environ)
    except ConfigError as error:
        return error


def assert_inside(error: ConfigError, text: str) -> None:
    """Every problem has a place in the text, and one line."""
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
    assert error.problems
    for problem in error.problems:
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
        assert problem.message
        assert len(str(problem).splitlines()) == 1
    places = [(problem.line, problem.column) for problem in error.problems]
    assert places == sorted(places)


PIECES = [
    "\n",
    " ",
    "  ",
    "\t",
    ":",
    ": ",
    "- ",
    "'",
    '"',
    "[",
    "]",
    "{",
    "}",
    "#",
    "&a ",
    "*a",
    "*small",
    "!!int ",
    "|",
    ">",
    "%",
    "@",
]
PIECES += [
    "<<: ",
    "~",
    "null",
    "0",
    "-1",
    "1e9",
    "${",
    "${KEY}",
    "$${",
    "${NONE}",
    "é",
    "\N{GRINNING FACE}",
    "\r",
    "---\n",
    "...",
    "?",
    ",",
    "x",
]


STARTER = shipped("routes.yaml").read_text(encoding="utf-8")
WORD = re.compile(r"[^\s\[\]{},:\"']+")


ODD = [
    "",
    "~",
    "null",
    "[]",
    "{}",
    "''",
    ".nan",
    "-.inf",
    "1e999",
    "-1",
    "0",
    "9" * 30,
    "2026-01-01",
    "yes",
    "*",
    "[*]",
]
ODD += [
    "{a: b}",
    "[a, a]",
    '"\\u200b"',
    '"\\0"',
    "!!int x",
    "!x {}",
    "&a",
    "*a",
    "*small",
    "(?=a)",
    "(a+)+$",
    "${NONE}",
    "\t",
]


@st.composite
def broken(draw: st.DrawFn) -> str:
    """A whole file after a few slips of the hand: lines dropped, doubled, moved, indented; words and characters."""
    text = draw(st.sampled_from([FULL, FULL, STARTER]))
    lines, words = text.split("\n"), sorted(set(WORD.findall(text)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        column = draw(st.integers(0, len(line)))
        match draw(st.integers(0, 9)):
            case 0:
                lines[at : at + 1] = []
            case 1:
                lines.insert(at, line)
            case 2:
                lines.insert(draw(st.integers(0, len(lines))), line)
            case 3:
                lines[at] = draw(st.sampled_from([" ", "  ", "    "])) + line
            case 4:
                lines[at] = line.removeprefix("  ")
            case 5:
                lines[at] = line[:column] + draw(st.sampled_from(PIECES)) + line[column:]
            case 6:
                lines[at] = line[:column] + line[column + draw(st.integers(1, 8)) :]
            case 7 | 8 if found := list(WORD.finditer(line)):
                # Another word of the file in the place of one: a name of another kind, a key where a value stands.
                word = draw(st.sampled_from(found))
                other = draw(st.one_of(st.sampled_from(words), st.sampled_from(ODD)))
                lines[at] = line[: word.start()] + other + line[word.end() :]
            case _:
                lines[at : at + 2] = ["".join(lines[at : at + 2])]
        lines = "\n".join(lines).split("\n") or [""]
    return "\n".join(lines)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(broken())
def test_a_broken_file_is_a_config_or_problems_inside_it(text: str) -> None:
    result = outcome(text)
    if isinstance(result, ConfigError):
        assert_inside(result, text)


@settings(max_examples=200)
@given(st.lists(st.sampled_from([*PIECES, "version", "models", "routes", "when", "topic", "name", "use"]), max_size=30))
def test_a_heap_of_yaml_is_a_config_or_problems_inside_it(pieces: list[str]) -> None:
    text = "".join(pieces)
    result = outcome(text)
    assert isinstance(result, ConfigError)
    assert_inside(result, text)


@settings(max_examples=150)
@given(st.one_of(st.binary(max_size=200), st.text(st.characters(codec=None), max_size=100)))
def test_whatever_bytes_are_problems_inside_them(content: bytes | str) -> None:
    result = outcome(content)
    assert isinstance(result, ConfigError)
    text = content if isinstance(content, str) else content.decode("utf-8-sig", errors="replace")
    assert_inside(result, text)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    broken(), st.sampled_from(["KEY", "LARGE", "ROUTE", "DEFAULT"]), st.from_regex(r"[a-z0-9]{12,20}", fullmatch=True)
)
def test_what_comes_from_the_environment_is_in_no_message(text: str, name: str, secret: str) -> None:
    result = outcome(text, {**ENVIRON, name: secret})
    if isinstance(result, ConfigError):
        assert secret not in str(result) + repr(result)
        assert not any(secret in repr(problem) for problem in result.problems)
        assert result.__cause__ is None
        assert result.__context__ is None
    elif name == "KEY" and text.count("${KEY}") == 1 and "api_key: ${KEY}" in text:
        # Elsewhere a name from the environment is a name like any other; a key is a Secret.
        assert secret not in repr(result) + str(result)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(broken())
def test_a_key_written_in_the_file_is_in_no_message(text: str) -> None:
    result = outcome(text.replace("${KEY}", "sk-hunter2"))
    if isinstance(result, ConfigError) and text.count("api_key: ${KEY}") == text.count("${KEY}") == 1:
        assert "sk-hunter2" not in str(result)


def test_ten_thousand_examples_load_in_no_time() -> None:
    """Measured 45 ms on one slow core; the bound only catches something quadratic."""
    topics = "".join(
        f"  t{topic}:\n    examples:\n"
        + "".join(f"      - please sort list {topic} of {n} words\n" for n in range(100))
        for topic in range(100)
    )
    began = time.perf_counter()
    config = parse_config(BASE + "topics:\n" + topics, source="x", environ={})
    assert sum(len(topic.examples) for topic in config.topics.values()) == 10_000
    assert time.perf_counter() - began < 5
