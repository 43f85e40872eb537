"""What can go wrong with a store, told without the libraries that a program without one never loads."""

from __future__ import annotations


class StoreRefused(Exception):
    """The store cannot be used by this program, however often it tries; the message says why."""


class StoreUnavailable(Exception):
    """The store does not answer now, or cannot be written; the message tells why, and no secret."""


class TooManySources(Exception):
    """A decision was rated under so many names that one more says nothing."""


class RowsRefused(Exception):
    """The store answers, and does not take these rows."""
