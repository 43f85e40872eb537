"""Vectors on disk: bit for bit what was written, and on every bad day none rather than a wrong one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.embedding import DIMENSIONS, MiniLM, Vector, VectorCache
from proxy.kept import CacheUnusable
from proxy.shipped import shipped

HERE = Path(__file__).parents[2]
"""Where other processes find this file as a module."""
RECORD = 32 + 4 * DIMENSIONS
"""Bytes of a key and a vector."""


def vector(text: str) -> Vector:
    """Any bits at all, the same for the same text: also those that are no number."""
    seed = list(text.encode("utf-8", "surrogatepass"))
    return np.random.default_rng(seed).integers(0, 2**32, DIMENSIONS, dtype=np.uint32).view(np.float32)


def vectors(*texts: str) -> dict[str, Vector]:
    return {text: vector(text) for text in texts}


def bits(found: Mapping[str, Vector]) -> dict[str, bytes]:
    return {text: row.tobytes() for text, row in found.items()}


@pytest.fixture
def cache(tmp_path: Path) -> VectorCache:
    return VectorCache(tmp_path / "cache", b"model")


def names(cache: VectorCache) -> list[str]:
    return [path.name for path in cache.path.parent.iterdir()]


def test_every_bit_comes_back(cache: VectorCache) -> None:
    texts = ("hi", "", "¿Qué tal?", "😀\x00", "half a character \ud800", "long " * 9999)
    cache.write(vectors(*texts))
    found = cache.read([*texts, "never written"])
    assert bits(found) == bits(vectors(*texts))
    assert {row.dtype for row in found.values()} == {np.dtype(np.float32)}
    assert all(row.base is None and row.flags.writeable for row in found.values()), "a view keeps the whole file"


def test_a_folder_that_is_not_there_is_empty_and_made_for_the_first_vector(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / "a" / "b", b"model")
    assert cache.read(["hi"]) == {}
    assert not (tmp_path / "a").exists()
    cache.write(vectors("hi"))
    assert set(cache.read(["hi"])) == {"hi"}


def test_another_model_finds_nothing_and_takes_nothing_away(cache: VectorCache) -> None:
    other = VectorCache(cache.path.parent, b"another")
    cache.write(vectors("hi"))
    assert other.read(["hi"]) == {}
    other.write({"hi": vector("hi as the other has it")})
    assert bits(cache.read(["hi"])) == bits(vectors("hi"))
    assert bits(other.read(["hi"])) == {"hi": vector("hi as the other has it").tobytes()}


def test_the_shipped_model_is_another_with_another_setting(tmp_path: Path) -> None:
    folder = shipped("models/all-MiniLM-L6-v2")
    one, same, other = (MiniLM(folder, max_tokens=tokens).fingerprint() for tokens in (32, 32, 33))
    assert one == same != other
    shutil.copytree(folder, tmp_path / "model")
    with (tmp_path / "model" / "tokenizer.json").open("a") as file:
        file.write("\n")
    assert MiniLM(tmp_path / "model", max_tokens=32).fingerprint() != one


def test_no_text_can_be_read_in_the_file(cache: VectorCache) -> None:
    cache.write(vectors("the secret plan"))
    assert b"secret" not in cache.path.read_bytes()


# What is there and is not what was written.

DAMAGE = {
    "empty": lambda whole: b"",
    "half-a-record": lambda whole: whole[:-700],
    "a-record-less": lambda whole: whole[: -32 - RECORD] + whole[-32:],
    "half-the-digest": lambda whole: whole[:-16],
    "only-the-first-line": lambda whole: whole[: whole.index(b"\n") + 1],
    "longer": lambda whole: whole + b"\n",
    "zeros": lambda whole: bytes(len(whole)),
    "a-later-version": lambda whole: whole.replace(b"vectors 1", b"vectors 2"),
    "another-program-s": lambda whole: json.dumps({"name": "not ours"}).encode(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_damaged_is_said_and_replaced(cache: VectorCache, damage: object) -> None:
    assert callable(damage)
    cache.write(vectors("one", "two"))
    cache.path.write_bytes(damage(cache.path.read_bytes()))
    with pytest.raises(CacheUnusable, match=r"pointsman-vectors\.bin is damaged or another program's"):
        cache.read(["one"])
    cache.write(vectors("three"))
    assert bits(cache.read(["one", "three"])) == bits(vectors("three"))


@given(st.data())
def test_no_change_of_a_byte_goes_unseen(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    cache = VectorCache(tmp_path_factory.mktemp("cache"), b"model")
    cache.write(vectors("one", "two"))
    whole = bytearray(cache.path.read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    cache.path.write_bytes(whole)
    with pytest.raises(CacheUnusable):
        cache.read(["one"])


def test_a_folder_in_the_place_of_the_file(cache: VectorCache) -> None:
    cache.path.mkdir(parents=True)
    with pytest.raises(CacheUnusable, match="is not a file"):
        cache.read(["one"])
    with pytest.raises(CacheUnusable, match="cannot be written"):
        cache.write(vectors("one"))
    assert names(cache) == [cache.path.name]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("mine")
    cache = VectorCache(tmp_path / "cache", b"model")
    with pytest.raises(CacheUnusable, match="cannot be read: Not a directory"):
        cache.read(["one"])
    with pytest.raises(CacheUnusable, match="cannot be written: File exists"):
        cache.write(vectors("one"))
    assert (tmp_path / "cache").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(cache: VectorCache) -> None:
    cache.path.parent.mkdir()
    os.mkfifo(cache.path)
    with pytest.raises(CacheUnusable, match="is not a file"):
        cache.read(["one"])
    cache.write(vectors("one"))
    assert set(cache.read(["one"])) == {"one"}


# What may not be read or written.


@contextmanager
def as_nobody() -> Iterator[None]:
    """As somebody whom permissions bind: root may do everything."""
    if sys.platform == "win32" or os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """One that everybody can reach."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o755)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others here")
def test_a_file_that_may_not_be_read_is_said_and_replaced(open_folder: Path) -> None:
    cache = VectorCache(open_folder / "cache", b"model")
    cache.write(vectors("one"))
    cache.path.chmod(0)
    cache.path.parent.chmod(0o777)
    with as_nobody():
        with pytest.raises(CacheUnusable, match="cannot be read: Permission denied"):
            cache.read(["one"])
        cache.write(vectors("two"))
        assert set(cache.read(["one", "two"])) == {"two"}


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others here")
def test_a_folder_that_may_not_be_written_is_read(open_folder: Path) -> None:
    cache = VectorCache(open_folder / "cache", b"model")
    cache.write(vectors("one"))
    cache.path.parent.chmod(0o555)
    try:
        with as_nobody():
            with pytest.raises(CacheUnusable, match="cannot be written: Permission denied; the next start embeds"):
                cache.write(vectors("two"))
            assert bits(cache.read(["one", "two"])) == bits(vectors("one"))
    finally:
        cache.path.parent.chmod(0o755)
    assert names(cache) == [cache.path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others here")
def test_a_folder_that_may_not_be_looked_into(open_folder: Path) -> None:
    cache = VectorCache(open_folder / "closed" / "cache", b"model")
    cache.path.parent.parent.mkdir(mode=0o700)
    (open_folder / "closed").chmod(0)
    try:
        with as_nobody():
            with pytest.raises(CacheUnusable, match="cannot be read: Permission denied"):
                cache.read(["one"])
            with pytest.raises(CacheUnusable, match="cannot be written: Permission denied"):
                cache.write(vectors("one"))
    finally:
        (open_folder / "closed").chmod(0o755)


def in_namespace(script: str) -> str:
    """Run Python with a mount table of its own, so that it may mount; skip where the system does not let us."""
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no mount namespaces here")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", PRELUDE + script],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=HERE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PRELUDE = """
import subprocess, sys
from pathlib import Path
from proxy.embedding import VectorCache
from proxy.kept import CacheUnusable
from tests.embedding.test_vector_cache import bits, names, vectors

def mount(folder, *options):
    subprocess.run(["mount", "-t", "tmpfs", *options, "none", folder], check=True)

def told(call, *arguments):
    try:
        call(*arguments)
    except CacheUnusable as error:
        print(error)
    else:
        print("no trouble")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's namespaces")
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    said = in_namespace(f"""
folder = {str(tmp_path)!r}
mount(folder, "-o", "size=64k")
cache = VectorCache(Path(folder), b"model")
cache.write(vectors("one"))
told(cache.write, vectors(*map(str, range(100))))
assert bits(cache.read(["one", "1"])) == bits(vectors("one"))
assert names(cache) == [cache.path.name], names(cache)
cache.write(vectors("two"))
assert bits(cache.read(["one", "two"])) == bits(vectors("one", "two"))
""")
    assert "cannot be written: No space left on device" in said


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's namespaces")
def test_a_read_only_file_system_is_read(tmp_path: Path) -> None:
    said = in_namespace(f"""
folder = {str(tmp_path)!r}
mount(folder)
cache = VectorCache(Path(folder), b"model")
cache.write(vectors("one"))
subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
assert bits(cache.read(["one", "two"])) == bits(vectors("one"))
told(cache.write, vectors("two"))
told(VectorCache(Path(folder) / "new", b"model").read, ["one"])
told(VectorCache(Path(folder) / "new", b"model").write, vectors("one"))
""")
    first, second, third = said.splitlines()
    assert "pointsman-vectors.bin cannot be written: Read-only file system" in first
    assert second == "no trouble"
    assert "new/pointsman-vectors.bin cannot be written: Read-only file system" in third


# Several at once, and those that do not come to an end.


class Stopping(dict[str, Vector]):
    """Vectors in whose midst something happens."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(vectors("new"))
        self._error = error

    def items(self):  # type: ignore[no-untyped-def]
        yield from super().items()
        raise self._error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()], ids=repr)
def test_a_write_that_breaks_off_leaves_what_was_there(cache: VectorCache, error: BaseException) -> None:
    cache.write(vectors("old"))
    with pytest.raises(type(error)):
        cache.write(Stopping(error))
    assert bits(cache.read(["old", "new"])) == bits(vectors("old"))
    assert names(cache) == [cache.path.name]


KILLED = """
import sys, time
from pathlib import Path
from proxy.embedding import VectorCache
from tests.embedding.test_vector_cache import vectors

class Endless(dict):
    def items(self):
        yield from vectors(*map(str, range(100))).items()
        print("half", flush=True)
        time.sleep(60)

VectorCache(Path(sys.argv[1]), b"model").write(Endless())
"""


def test_a_process_that_is_killed_while_it_writes(cache: VectorCache) -> None:
    cache.write(vectors("old"))
    command = [sys.executable, "-c", KILLED, str(cache.path.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    assert bits(cache.read(["old", "1"])) == bits(vectors("old"))
    (left,) = cache.path.parent.glob("*.tmp")
    cache.write(vectors("new"))
    assert left.exists(), "it may be another process's that writes just now"
    os.utime(left, (time.time() - 7200,) * 2)
    cache.write(vectors("newer"))
    assert names(cache) == [cache.path.name]
    assert bits(cache.read(["old", "new", "newer"])) == bits(vectors("old", "new", "newer"))


WRITING = """
import sys
from pathlib import Path
from proxy.embedding import VectorCache
from tests.embedding.test_vector_cache import vectors

cache = VectorCache(Path(sys.argv[1]), b"model")
for number in range(40):
    cache.write(vectors(*(f"{sys.argv[2]} {each}" for each in range(number))))
"""


def test_processes_that_write_at_once_leave_a_whole_file_at_every_moment(cache: VectorCache) -> None:
    texts = [f"{who} {each}" for who in "ab" for each in range(39)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITING, str(cache.path.parent), who], stderr=subprocess.PIPE, text=True
        )
        for who in "ab"
    ]
    seen = 0
    while any(process.poll() is None for process in processes):
        found = cache.read(texts)
        assert bits(found) == bits(vectors(*found))
        seen = max(seen, len(found))
    assert [(process.wait(), process.communicate()[1]) for process in processes] == [(0, "")] * 2
    assert seen > 0
    found = cache.read(texts)
    assert any({f"{who} {each}" for each in range(39)} <= found.keys() for who in "ab"), (
        "the last to write lost its own"
    )
    assert names(cache) == [cache.path.name]


# Its size.


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, b"model", room=6)
    cache.write(vectors("a", "b", "c"))
    cache.write(vectors("d", "a"))
    cache.write(vectors("e", "f"))
    assert set(cache.read("abcdef")) == set("abcdef"), "there is room for six"
    cache.write(vectors("g"))
    assert set(cache.read("abcdefg")) == set("abdefg")
    cache.write(vectors("h", "i"))
    assert set(cache.read("abcdefghi")) == set("defghi")


def test_twice_what_is_in_use_is_kept_where_that_is_more(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, b"model", room=4)
    cache.write(vectors(*"abcdef"))
    assert set(cache.read("abcdef")) == set("abcdef")
    cache.write(vectors(*"ghijk"))
    assert set(cache.read("abcdefghijk")) == set("ghijkabcde")
    for number in range(50):
        cache.write(vectors(str(number)))
    assert cache.path.stat().st_size < 5 * RECORD
