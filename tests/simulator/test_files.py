"""Uploads that are kept, through the official client."""

from __future__ import annotations

import openai
import pytest
from openai.types import FileObject

from proxy.simulator.kept import Shelf
from tests.simulator.conftest import Upstream

CONTENT = b'{"a": 1}\r\n--not a boundary\r\n\xff\x00\r\n'


def test_the_life_of_a_file(upstream: Upstream) -> None:
    files = upstream.openai.files
    made = files.create(file=("a b.jsonl", CONTENT), purpose="batch")
    FileObject.model_validate(made.to_dict())
    assert (made.filename, made.bytes, made.purpose, made.status) == ("a b.jsonl", len(CONTENT), "batch", "processed")
    assert files.retrieve(made.id) == made
    assert files.content(made.id).read() == CONTENT
    assert made.id in [file.id for file in files.list(purpose="batch")]
    assert made.id not in [file.id for file in files.list(purpose="vision")]
    assert files.delete(made.id).deleted
    for call in (files.retrieve, files.content, files.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)


def test_a_list_comes_in_pages_newest_first(upstream: Upstream) -> None:
    files = upstream.openai.files
    names = [files.create(file=(str(number), b"x"), purpose="evals").id for number in range(5)]
    page = files.list(purpose="evals", limit=2)
    assert [file.id for file in page.data] == names[:2:-1]
    assert [file.id for file in page] == names[::-1], "the client turns the pages"


def test_another_upstream_has_files_of_its_own(upstream: Upstream) -> None:
    made = upstream.openai.files.create(file=("a", b"x"), purpose="batch")
    assert upstream.http.get(f"/west/v1/files/{made.id}").status_code == 404
    assert upstream.http.get("/west/v1/files").json()["data"] == []


@pytest.mark.parametrize(
    ("form", "files", "param"),
    [({"purpose": "batch"}, {"other": b"x"}, "file"), ({"a": "b"}, {"file": b"x"}, "purpose")],
    ids=["file", "purpose"],
)
def test_what_is_missing(upstream: Upstream, form: dict[str, str], files: dict[str, bytes], param: str) -> None:
    answer = upstream.http.post("/v1/files", data=form, files=files)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "files", 405), ("POST", "files/x", 405), ("GET", "files/", 404), ("GET", "file", 404)],
)
def test_what_there_is_not(upstream: Upstream, method: str, path: str, status: int) -> None:
    assert upstream.http.request(method, f"/v1/{path}").status_code == status


def test_a_shelf_is_bounded() -> None:
    shelf: Shelf[str] = Shelf(most=2, most_bytes=100)
    for name in "abc":
        shelf.put("up", name, name.upper(), 10)
    assert (shelf.get("up", "a"), shelf.of("up")) == (None, ["B", "C"])
    shelf.put("up", "d", "D", 95)
    assert shelf.of("up") == ["D"], "the bytes count too"
    shelf.put("up", "e", "E", 1_000)
    assert shelf.of("up") == ["E"], "the newest stays whatever its size"
    assert (shelf.take("up", "e"), shelf.take("up", "e"), shelf.of("up")) == ("E", None, [])
