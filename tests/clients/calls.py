"""What the tests here ask for, in the words of OpenAI's Python SDK."""

from __future__ import annotations

from typing import Any

from openai import OpenAI

CODE = "Fix the bug in my Python loop"
PIXEL = "data:image/png;base64,iVBORw0KGgo="
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "lookup",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA: Any = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def messages(content: Any = CODE) -> Any:
    """One user message."""
    return [{"role": "user", "content": content}]


def simulate(**knobs: object) -> dict[str, str]:
    """The headers that ask the simulator for a bad day."""
    return {f"x-simulate-{name.replace('_', '-')}": str(value) for name, value in knobs.items()}


def ask(client: OpenAI, content: Any = CODE, *, model: str = "auto", **more: Any) -> Any:
    """One chat completion; `messages` among `more` stands instead of `content`."""
    return client.chat.completions.create(model=model, **{"messages": messages(content), **more})
