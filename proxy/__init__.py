"""Pointsman: a router for language models behind one OpenAI `base_url`."""

__version__ = "0.1.0"
