"""Bytes to text: read the file, and refuse early what would make YAML's own messages confusing."""

from __future__ import annotations

import codecs
import os
import re
import select
import stat
import time
from array import array
from bisect import bisect_right
from itertools import islice
from pathlib import Path

from proxy.config.problems import ConfigError, Place, Problem, Report, quote

MAX_BYTES = 8 * 1024 * 1024
"""A file of rules and examples is far smaller; a larger one is a wrong path, such as a model or a log."""

PIPE_PATIENCE_S = 10.0
"""How long a pipe, as in `check -c <(...)`, may take to bring the whole file."""

_LINE_END = re.compile(r"\r\n|\r|\n")

# What YAML does not allow to stand unescaped; and NEL, LS and PS, which it takes for the end of a line where
# editors show none, so that every place after one would be off.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")

# By their first four bytes, when there is no mark: YAML 1.2, section 5.2, for a file that begins in ASCII.
_ZEROS: dict[tuple[bool, ...], str] = {
    (False, True, True, True): "UTF-32",
    (True, True, True, False): "UTF-32",
    (False, True, False, True): "UTF-16",
    (True, False, True, False): "UTF-16",
}
_WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class Lines:
    """Turns positions in a text into places, and keeps places inside the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        # An array: a file of nothing but line breaks has millions.
        self._starts = array("L", [0])
        self._starts.extend(end.end() for end in _LINE_END.finditer(text))
        # Behind the final line break there is no line.
        self._last = len(self._starts) - (2 if len(self._starts) > 1 and self._starts[-1] == len(text) else 1)

    def place(self, index: int) -> Place:
        """The place of the character at `index`."""
        line = bisect_right(self._starts, index)
        return Place(line, index - self._starts[line - 1] + 1)

    def index(self, place: Place) -> int:
        """Where in the text a place is."""
        return self._starts[place.line - 1] + place.column - 1

    @property
    def ends_with_crlf(self) -> bool:
        """Whether the first line ends as Windows ends lines."""
        return self._text[: self._end(0)].endswith("\r\n")

    def inside(self, line: int, column: int) -> Place:
        """The place nearest to one counted from 0; parsers put the end of the file on a line after the last."""
        if line > self._last:
            return Place(self._last + 1, len(self[self._last]) + 1)
        if self._starts[line] + column >= self._end(line):
            column = len(self[line])
        return Place(line + 1, column + 1)

    def __getitem__(self, line: int) -> str:
        """The line, counted from 0, without its end."""
        return self._text[self._starts[line] : self._end(line)].rstrip("\r\n")

    def _end(self, line: int) -> int:
        return self._starts[line + 1] if line + 1 < len(self._starts) else len(self._text)


def read_bytes(path: Path) -> bytes:
    """
    Return what a routes.yaml holds, or the first `MAX_BYTES` + 1 bytes of it.

    Raises:
        ConfigError: there is no such file, or it cannot be read.
    """
    try:
        return read_file(path, MAX_BYTES, example="routes.yaml")
    except FileNotFoundError:
        message = "no such file; `pointsman init` writes a starter"
        if path.is_symlink():
            message = f"is a link to {quote(str(path.readlink()))}, where there is no file"
    raise ConfigError([Problem.of(path, message)])


def read_file(path: Path, most: int, *, example: str) -> bytes:
    """
    Return what a file or a pipe holds, or the first `most` + 1 bytes of it; nobody is waited for without end.

    Args:
        path: of the file.
        most: bytes that it may have.
        example: what such a file is called, for whoever named a folder.

    Raises:
        FileNotFoundError: there is nothing.
        ConfigError: there is something, and it cannot be read.
    """
    try:
        kind = path.stat().st_mode
        if stat.S_ISREG(kind):
            with path.open("rb") as file:
                return file.read(most + 1)
        content = _from_pipe(path, most) if stat.S_ISFIFO(kind) else None
        if content:
            return content
        message = _no_file(path / example, kind, content)
    except FileNotFoundError:
        raise
    except PermissionError:
        message = "may not be read by this user; check its permissions"
    except OSError as error:
        message = f"cannot be read: {error.strerror or 'the system gives no reason'}"
    except ValueError:  # a NUL in the path
        message = "is not a path"
    raise ConfigError([Problem.of(path, message)])


def _no_file(inside: Path, kind: int, content: bytes | None) -> str:
    if stat.S_ISDIR(kind):
        return f"is a directory; name the file in it, such as {inside}"
    if content == b"":
        return "is a pipe that brought nothing, perhaps because it has been read already; name a file"
    if stat.S_ISFIFO(kind):
        return f"is a pipe that brought no whole file within {PIPE_PATIENCE_S:g} s; name a file"
    return f"is a {'socket' if stat.S_ISSOCK(kind) else 'device'}; name a file"


def _from_pipe(path: Path, most: int) -> bytes | None:
    """What is written into a pipe until its writers close it; None when that takes too long."""
    until = time.monotonic() + PIPE_PATIENCE_S
    content = bytearray()
    # Opened like a file, a pipe into which nobody writes is waited for without end.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
        ready = select.poll()
        ready.register(pipe, select.POLLIN)
        while len(content) <= most:
            if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
                return None
            piece = pipe.read(1 << 16)
            if piece == b"":
                break
            content += piece or b""
    return bytes(content)


def decode(content: str | bytes, report: Report) -> str:
    """
    Return the text without its byte order mark.

    Raises:
        ConfigError: too large, not UTF-8, or holding characters that YAML cannot hold.
    """
    top = Place(1, 1)
    if len(content) > MAX_BYTES:
        report.add(top, (), "larger than 8 MB; is this the right file?")
        report.unless_empty()
    if isinstance(content, bytes):
        content = _from_utf8(content, report)
    content = content.removeprefix("\ufeff")
    # The first few are enough to see what happened; a binary file has thousands.
    found = list(islice(_UNPRINTABLE.finditer(content), 10))
    if found:
        lines = Lines(content)
        for match in found:
            code = ord(match[0])
            what = "a line separator" if code in (0x85, 0x2028, 0x2029) else "a control character"
            escape = f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
            message = f"{what} (U+{code:04X}) cannot stand here; remove it, or write {escape} in double quotes"
            if 0xD800 <= code < 0xE000:
                message = f"half of a character (U+{code:04X}); remove it"
            elif code == 0xFEFF:
                message = "a byte order mark (U+FEFF) inside the file; remove it"
            report.add(lines.place(match.start()), (), message)
        report.unless_empty()
    return content


def _from_utf8(content: bytes, report: Report) -> str:
    wide = next((encoding for mark, encoding in _WIDE.items() if content.startswith(mark)), None)
    wide = wide or _ZEROS.get(tuple(byte == 0 for byte in content[:4]))
    if wide:
        report.add(Place(1, 1), (), f"{wide}; save the file as UTF-8")
        report.unless_empty()
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        wrong = error.start
    before = content[:wrong].decode()
    message = f"not UTF-8 (byte 0x{content[wrong]:02x}); save the file as UTF-8"
    report.add(Lines(before).place(len(before)), (), message)
    raise ConfigError(report.problems)
