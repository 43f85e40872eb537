"""Chat requests and configs in one line each, for tables."""

from __future__ import annotations

import json
from typing import Any

from proxy.config import Config, parse_config
from proxy.routing.chat import read_chat
from proxy.routing.facts import Facts

BASE = """\
version: 1
upstreams:
  openai: {base_url: https://api.openai.com/v1}
models:
  small: {target: {upstream: openai, name: gpt-4o-mini}, price: {input: 0.15, output: 0.6}}
  large: {targets: [{upstream: openai, name: gpt-4o}, {upstream: openai, name: gpt-4.1}]}
  gpt-own: {target: {upstream: openai, name: own}}
default: small
"""

TOPICS = """\
topics:
  code: {examples: [Fix the bug in my Python loop, Write a SQL query]}
  law: {examples: [Draft a rental contract, Is this clause valid?]}
"""


def config(text: str = "") -> Config:
    """The base and what stands behind it."""
    return parse_config(BASE + text, source="routes.yaml", environ={})


def user(content: Any) -> dict[str, Any]:
    """A message by the user."""
    return {"role": "user", "content": content}


def facts(*messages: Any, model: Any = "auto", headers: dict[str, str] | None = None, **fields: Any) -> Facts:
    """The facts of a request with these messages; one of a user's if there are none."""
    body = {"model": model, "messages": list(messages) or [user("hi")], **fields}
    return read_chat(json.dumps(body).encode(), headers or {})
