"""What is particular to Pointsman's own rows: its routes, and the text that its cache knows."""

from __future__ import annotations

__all__ = ["SAME_TEXT", "routes"]

SAME_TEXT = (
    "Write a function in Python that merges two sorted lists into one sorted list, and explain in one sentence "
    "why it needs only a single pass over both"
)

# A deadline and a queue that never give up: under the load of 32 connections on one core the shipped limits
# would let some requests be decided without their text, and the row would look faster than it is.
ROUTES = """
version: 1
upstreams:
  model: {{base_url: "http://127.0.0.1:{upstream}/v1", api_key: sk-bench}}
models:
  small: {{target: {{upstream: model, name: gpt-4o-mini}}, price: {{input: 0.15, output: 0.60}}}}
  large: {{target: {{upstream: model, name: gpt-4o}}, price: {{input: 2.50, output: 10.00}}}}
rewrite: ["*"]
default: small
embedding: {{queue: 4096, deadline: 20s, cache: {texts}}}
conversation: {{cache: {conversations}}}
topics:
  code:
    examples:
      - Write a function that merges two sorted lists
      - Why does this raise a segmentation fault?
      - Fix the off-by-one error in this loop
      - Add type hints to this Python module
  law:
    examples:
      - Is a verbal agreement binding?
      - What does this clause of my lease mean?
      - Can my employer read my private messages?
      - Draft a short non-disclosure agreement
  smalltalk:
    examples:
      - hi there
      - thanks, that helped!
      - how are you today?
      - good morning
routes:
  - {{name: fast, when: {{model: fast}}, use: small}}
  - {{name: code, when: {{topic: code}}, use: large}}
  - {{name: law, when: {{topic: law}}, use: large}}
  - {{name: smalltalk, when: {{topic: smalltalk}}, use: small}}
"""


def routes(upstream: int, *, texts: int = 10_000, conversations: int = 50_000) -> str:
    """routes.yaml for an upstream on that port, with the texts and conversations that are remembered, as shipped."""
    return ROUTES.format(upstream=upstream, texts=texts, conversations=conversations)
