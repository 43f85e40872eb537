"""A small valid routes.yaml to break, and what a broken one says."""

from collections.abc import Mapping

from proxy.config import ConfigError, parse_config

BASE = """\
version: 1
upstreams:
  openai: {base_url: https://api.openai.com/v1}
models:
  small: {target: {upstream: openai, name: gpt-4o-mini}}
  large: {target: {upstream: openai, name: gpt-4o}}
default: small
"""

NO_MODELS = BASE[: BASE.index("models:")]

ENVIRON = {
    "SECRET": "hunter2-sm4ll",
    "BIG": "77777",
    "NEAR": "smal",
    "SPACED": "hunter 2",
    "EMPTY": "",
    "BROKEN": "hunter2\n",
    "LIST": "[hunter2]",
    "HALF": "hunter2\udc80",
}


def put(old: str, new: str) -> str:
    """The base with a part of it replaced."""
    assert BASE.count(old) == 1, old
    return BASE.replace(old, new)


def add(text: str) -> str:
    """The base with more behind it; the first line added is line 8."""
    return BASE + text


def problems(text: str | bytes, environ: Mapping[str, str] = ENVIRON) -> list[str]:
    """Every line of the error, without the name of the file in front; none for a valid file."""
    try:
        parse_config(text, source="routes.yaml", environ=environ)
    except ConfigError as error:
        return [line.removeprefix("routes.yaml:") for line in str(error).split("\n")]
    return []
