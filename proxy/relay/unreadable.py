"""What decoding raises where an upstream sends something else than the JSON that is looked for."""

from __future__ import annotations

import msgspec

UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""For what is no JSON or has another shape, for brackets nested without end, and for what is not UTF-8."""
