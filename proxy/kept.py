"""
Files that a later start finds again: only ever replaced as a whole, and told by a digest from what is damaged.

A rename puts the new file in place, so a reader finds the old one or the new one, never half of either. Nothing is
locked: of two processes that write at once, the later one's stays.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain
from pathlib import Path

DIGEST = hashlib.sha256().digest_size
_ABANDONED_S = 3600.0


class CacheUnusable(Exception):
    """What is kept cannot be read or written; the message says which file or folder, and why."""


class KeptFile:
    """A line that names the format, then the content, then a SHA-256 of all before it."""

    def __init__(self, path: Path, magic: bytes, *, otherwise: str) -> None:
        """
        Args:
            path: where it is; its folder is made when it is first written.
            magic: the first line, by which another program's or version's file is told.
            otherwise: what follows from a file that cannot be written, in words.
        """
        self.path = path
        self._magic = magic
        self._otherwise = otherwise

    def read(self) -> memoryview | None:
        """
        The content; None when there is no file.

        Raises:
            CacheUnusable: there is something, and it cannot be read or is not what was written.
        """
        try:
            if self.path.exists() and not self.path.is_file():
                raise CacheUnusable(f"{self.path} is not a file; remove it, or name another folder")
            with self.path.open("rb") as file:
                # Looked at first, so that no foreign file of many gigabytes is read.
                magic = file.read(len(self._magic))
                rest = file.read() if magic == self._magic else b""
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CacheUnusable(f"{self.path} cannot be read: {error.strerror or error}") from error
        content = memoryview(rest)[:-DIGEST]
        digest = hashlib.sha256(magic)
        digest.update(content)
        if digest.digest() != rest[-DIGEST:]:
            raise self.damaged()
        return content

    def damaged(self) -> CacheUnusable:
        """What to raise for a content that cannot be."""
        return CacheUnusable(f"{self.path} is damaged or another program's; a new one takes its place")

    def write(self, content: Iterable[bytes | memoryview]) -> None:
        """
        Put a new file in place of what is there.

        Raises:
            CacheUnusable: it cannot be written; what was there before is untouched.
        """
        fresh = self.path.with_name(f"{self.path.stem}.{secrets.token_hex(8)}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._sweep()
            try:
                with fresh.open("xb") as file:
                    digest = hashlib.sha256()
                    for part in chain((self._magic,), content):
                        digest.update(part)
                        file.write(part)
                    file.write(digest.digest())
                # Not synced: what a power cut leaves fails the digest, and costs one slow start.
                fresh.replace(self.path)
            finally:
                with suppress(OSError):
                    fresh.unlink(missing_ok=True)
        except OSError as error:
            raise CacheUnusable(
                f"{self.path} cannot be written: {error.strerror or error}; {self._otherwise}"
            ) from error

    def _sweep(self) -> None:
        """Remove what a process that was killed while it wrote has left."""
        for left in self.path.parent.glob(f"{self.path.stem}.*.tmp"):
            with suppress(OSError):  # another process may be quicker
                if time.time() - left.stat().st_mtime > _ABANDONED_S:
                    left.unlink()


class ToldOnce:
    """Tells of a trouble when it comes, and not again as long as it lasts."""

    def __init__(self, tell: Callable[[str], None] | None) -> None:
        """
        Args:
            tell: is given the message; None to tell nobody.
        """
        self._tell = tell
        self._lasts = False

    def trouble(self, error: CacheUnusable) -> None:
        """It is there."""
        if not self._lasts and self._tell is not None:
            self._tell(str(error))
        self._lasts = True

    def gone(self) -> None:
        """All is well."""
        self._lasts = False
