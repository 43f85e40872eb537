"""`/v1/files`: uploads that are kept for a while."""

from __future__ import annotations

from urllib.parse import parse_qs

from proxy.simulator.chat_request import Json
from proxy.simulator.errors import Refusal, missing, unknown_url
from proxy.simulator.forms import file_of
from proxy.simulator.kept import Kept, KeptFile
from proxy.simulator.reply import Reply, Request
from proxy.simulator.wire import Stamp, encode

_MOST_LISTED = 10_000


def upload(request: Request, _: object, stamp: Stamp, kept: Kept) -> Reply:
    """`POST /files`."""
    sent = file_of(request.uploads)
    if not (purpose := request.fields.get("purpose")):
        raise missing("purpose")
    about: Json = {
        "id": f"file-{stamp.token[:24]}",
        "object": "file",
        "bytes": len(sent.content),
        "created_at": stamp.created,
        "expires_at": None,
        "filename": sent.name,
        "purpose": purpose,
        "status": "processed",
        "status_details": None,
    }
    kept.files.put(request.upstream, str(about["id"]), KeptFile(about, sent.content), len(sent.content))
    return Reply(body=encode(about))


def list_all(request: Request, _: object, __: object, kept: Kept) -> Reply:
    """`GET /files`, newest first; `purpose`, `after` and `limit` in the query."""
    asked = {name: values[-1] for name, values in parse_qs(request.query).items()}
    found = [file.about for file in reversed(kept.files.of(request.upstream))]
    if purpose := asked.get("purpose"):
        found = [about for about in found if about["purpose"] == purpose]
    if after := asked.get("after"):
        names = [about["id"] for about in found]
        found = found[names.index(after) + 1 :] if after in names else []
    limit = int(asked["limit"]) if asked.get("limit", "").isdigit() else _MOST_LISTED
    page = found[:limit]
    ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
    return Reply(body=encode({"object": "list", "data": page, "has_more": len(found) > limit, **ends}))


def get(request: Request, _: object, __: object, kept: Kept) -> Reply:
    """`GET /files/ID` and `GET /files/ID/content`."""
    name, _slash, what = request.below.partition("/")
    file = kept.files.get(request.upstream, name)
    if file is None:
        raise _not_found(name)
    if what == "content":
        told = f'attachment; filename="{file.about["filename"]}"'.encode("utf-8", "replace")
        return Reply(
            kind=b"application/octet-stream", body=file.content, extra_headers=[(b"content-disposition", told)]
        )
    if what:
        raise unknown_url(request.method, request.path)
    return Reply(body=encode(file.about))


def delete(request: Request, _: object, __: object, kept: Kept) -> Reply:
    """`DELETE /files/ID`."""
    if kept.files.take(request.upstream, request.below) is None:
        raise _not_found(request.below)
    return Reply(body=encode({"id": request.below, "object": "file", "deleted": True}))


def _not_found(name: str) -> Refusal:
    return Refusal(f"No such File object: {name}", status=404, param="id")
