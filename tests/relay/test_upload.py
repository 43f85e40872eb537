"""A form's model, and bodies that pass in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from starlette.types import Message

from proxy.config import Timeouts
from proxy.errors import BodyTimeout
from proxy.relay.body import ClientLeft
from proxy.relay.guard import Deadline, Guard
from proxy.relay.upload import Field, ModelSearch, Upload, boundary_of

KIND = "multipart/form-data; boundary=b0undary"
BOUNDARY = b"--b0undary"
FILE = b'--b0undary\r\nContent-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: audio/wav\r\n\r\n\x00\xff\r\n'
END = b"--b0undary--\r\n"


def field(value: bytes = b"whisper-1", head: bytes = b'Content-Disposition: form-data; name="model"') -> bytes:
    return b"--b0undary\r\n" + head + b"\r\n\r\n" + value + b"\r\n"


@pytest.mark.parametrize(
    ("form", "kind", "value"),
    [
        pytest.param(field() + FILE + END, KIND, "whisper-1", id="first"),
        pytest.param(FILE + field() + END, KIND, "whisper-1", id="after-a-small-file"),
        pytest.param(field(head=b"content-disposition:form-data;name=model"), KIND, None, id="no-end"),
        pytest.param(field(head=b"content-disposition:form-data;name=model") + END, KIND, "whisper-1", id="no-spaces"),
        pytest.param(
            field(head=b'Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain') + END,
            KIND, "whisper-1", id="with-a-type",
        ),
        pytest.param(field("größer".encode()) + END, KIND, "größer", id="utf-8"),
        pytest.param(field(b"\xff") + END, KIND, None, id="not-utf-8"),
        pytest.param(field(b"x" * 300) + END, KIND, None, id="too-long"),
        pytest.param(field(b"") + END, KIND, "", id="empty"),
        pytest.param(field() + END, 'Multipart/Form-Data; Boundary="b0undary"', "whisper-1", id="quoted"),
        pytest.param(
            (field() + END).replace(b"b0und", b"b 0und"), 'multipart/form-data; boundary="b 0undary"; x=y', "whisper-1",
            id="with-a-blank",
        ),
        pytest.param(field() + END, "multipart/form-data", None, id="no-boundary"),
        pytest.param(FILE + END, KIND, None, id="absent"),
        pytest.param(field(head=b'Content-Disposition: form-data; name="my-model"') + END, KIND, None, id="another-name"),
        pytest.param(FILE[:-2] + field()[12:] + b"\r\n" + END, KIND, None, id="within-a-file"),
        pytest.param(
            field(head=b'Content-Type: text/plain\r\nContent-Disposition: form-data; name="model"') + END,
            KIND, "whisper-1", id="after-a-type",
        ),
        pytest.param(b"", KIND, None, id="nothing"),
        pytest.param(FILE * 3 + field() + FILE + END, KIND, "whisper-1", id="among-files"),
        pytest.param(BOUNDARY * 9 + b"\r\n" + field() + END, KIND, "whisper-1", id="after-what-looks-alike"),
        pytest.param(FILE[:-20] + b"x" * 9000 + FILE + field() + END, KIND, "whisper-1", id="after-an-endless-head"),
    ],
)  # fmt: skip
def test_the_model_of_a_form(form: bytes, kind: str, value: str | None) -> None:
    boundary = boundary_of(kind)
    found = None if boundary is None else ModelSearch(boundary).find(form)
    assert (None if found is None else found.value) == value
    if found is not None:
        assert form[found.start : found.end] == found.value.encode()
    if boundary is not None:
        assert _found_at_last(boundary, form) == found, "however it arrives"


def _found_at_last(boundary: bytes, form: bytes) -> Field | None:
    """What is found where one byte more is here each time."""
    search = ModelSearch(boundary)
    found = (search.find(form[:size]) for size in range(len(form) + 1))
    return next((field for field in found if field is not None), None)


@pytest.mark.parametrize(
    "kind", ["application/json", "", "multipart/mixed; boundary=b0undary", "multipart/form-data", "multipart/form-data; boundary="]
)  # fmt: skip
def test_what_has_no_parts(kind: str) -> None:
    assert boundary_of(kind) is None


def client(*pieces: bytes, leaves: bool = False) -> Iterable[Message]:
    last = len(pieces) - 1
    for place, piece in enumerate(pieces):
        yield {"type": "http.request", "body": piece, "more_body": leaves or place < last}
    yield {"type": "http.disconnect"}


def upload(messages: Iterable[Message], *, length: int | None = None, timeout_s: float = 5) -> Upload:
    waiting = iter(messages)

    async def receive() -> Message:
        message = next(waiting, None)
        if message is None:
            await asyncio.sleep(60)
        assert message is not None
        return message

    return Upload(receive, length=length, timeout_s=timeout_s)


async def sent(body: Upload) -> list[bytes]:
    guard = Guard(body.receive)  # its deadlines are noted; nobody waits for them here
    guard.begin(60)
    pieces = [piece async for piece in body.begin(guard, Timeouts())]
    guard.release()
    return pieces


def test_pieces_pass_as_they_come() -> None:
    async def run() -> None:
        body = upload(client(b"one", b"", b"two", b"three"))
        assert await sent(body) == [b"one", b"two", b"three"]
        assert (await body.receive())["type"] == "http.disconnect"

    asyncio.run(run())


def test_what_is_held_is_sent_first_with_what_was_put_into_it() -> None:
    async def run() -> None:
        form = field(b"large") + FILE + END
        body = upload(client(form[:30], form[30:100], form[100:]), length=len(form))
        found = await body.model_field(BOUNDARY, 1_000)
        assert found is not None
        assert form[found.start : found.end] == b"large"
        assert not body.is_read, "no more is held than it takes"
        body.replace(found.start, found.end, b"gpt-4o-transcribe")
        assert b"".join(await sent(body)) == field(b"gpt-4o-transcribe") + FILE + END
        assert body.length == len(form) + len(b"gpt-4o-transcribe") - len(b"large")

    asyncio.run(run())


class Noting(Guard):
    """Notes which deadline holds."""

    def __init__(self, body: Upload) -> None:
        super().__init__(body.receive)
        self.noted: list[str] = []

    def expire_in(self, seconds: float, deadline: Deadline) -> None:
        super().expire_in(seconds, deadline)
        self.noted.append(deadline)

    def pause(self) -> None:
        super().pause()
        self.noted.append("pause")


def test_the_upstream_has_its_time_for_each_piece_and_then_for_the_answer() -> None:
    async def run() -> None:
        body = upload(client(b"held", b"more", b"last"))
        assert await body.model_field(BOUNDARY, 1) is None
        guard = Noting(body)
        guard.begin(60)
        noted: list[list[str]] = []
        assert not body.is_half_sent
        async for _ in body.begin(guard, Timeouts()):
            assert body.is_half_sent
            noted.append(guard.noted.copy())
            guard.noted.clear()
        assert not body.is_half_sent
        guard.release()
        assert [*noted, guard.noted] == [["idle"], ["pause", "idle"], ["pause", "idle"], ["whole_answer"]]

    asyncio.run(run())


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize(
    ("sent", "found"),
    [
        pytest.param([b'{"a"', b": 12}"], b'{"a": 12}', id="as-large-as-it-may-be"),
        pytest.param([b'{"a"', b": 123}"], None, id="larger"),
        pytest.param([b'["a"', b", 12]"], None, id="no-object"),
    ],
)
def test_an_object_is_held_whole_up_to_its_bound(sent: list[bytes], found: bytes | None, has_length: bool) -> None:
    async def run() -> None:
        body = upload(client(*sent), length=sum(map(len, sent)) if has_length else None)
        assert await body.whole_object(9) == found

    asyncio.run(run())


def test_a_length_that_nobody_knows_stays_unknown() -> None:
    async def run() -> None:
        body = upload(client(b"abcdef"))
        assert await body.model_field(BOUNDARY, 1) is None
        body.replace(2, 3, b"XY")
        assert body.length is None
        assert await sent(body) == [b"abXYdef"]

    asyncio.run(run())


def test_a_form_without_a_model_is_held_to_its_end() -> None:
    async def run() -> None:
        body = upload(client(b"ab", b"c"))
        assert await body.model_field(BOUNDARY, 1_000) is None
        assert body.is_read
        assert await sent(body) == [b"abc"]

    asyncio.run(run())


def test_or_as_far_as_it_may_be_and_passes_in_pieces() -> None:
    async def run() -> None:
        body = upload(client(b"a" * 50_000, b"b" * 50_000, field() + END))
        assert await body.model_field(BOUNDARY, 100_000) is None
        assert not body.is_read
        assert list(map(len, await sent(body))) == [65_536, 34_464, len(field() + END)]

    asyncio.run(run())


@pytest.mark.parametrize("is_held", [True, False])
def test_a_client_that_leaves(is_held: bool) -> None:
    async def run() -> None:
        body = upload(client(b"ab", leaves=True))
        with pytest.raises(ClientLeft):
            await (body.model_field(BOUNDARY, 1_000) if is_held else sent(body))

    asyncio.run(run())


@pytest.mark.parametrize("is_held", [True, False])
def test_a_client_that_falls_silent(is_held: bool) -> None:
    async def run() -> None:
        body = upload([{"type": "http.request", "body": b"ab", "more_body": True}], timeout_s=0.01)
        with pytest.raises(BodyTimeout):
            await (body.model_field(BOUNDARY, 1_000) if is_held else sent(body))

    asyncio.run(run())
