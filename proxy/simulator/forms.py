"""A form with files, `multipart/form-data`, as the SDKs send uploads."""

from __future__ import annotations

import re

import msgspec

from proxy.simulator.chat_request import Json
from proxy.simulator.errors import missing

_BOUNDARY = re.compile(r'multipart/form-data;.*?boundary="?([^";]+)"?', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*(name|filename)="((?:[^"\\]|\\.)*)"', re.IGNORECASE)


class Upload(msgspec.Struct, frozen=True):
    """One file of a form."""

    name: str
    content: bytes


def read_form(body: bytes, content_type: str) -> tuple[Json, dict[str, Upload]]:
    """
    The fields of a form, all of them texts, and its files; nothing of what is no form.

    Args:
        body: all of it.
        content_type: with the boundary.
    """
    fields: Json = {}
    uploads: dict[str, Upload] = {}
    boundary = _BOUNDARY.match(content_type)
    for part in body.split(b"--" + boundary[1].encode("latin-1")) if boundary else ():
        head, empty_line, content = part.partition(b"\r\n\r\n")
        told = {key.lower(): value for key, value in _PARAMETER.findall(head.decode("utf-8", "replace"))}
        if not empty_line or "name" not in told:
            continue  # before the first boundary, or after the last
        content = content.removesuffix(b"\r\n")
        if "filename" in told:
            uploads[told["name"]] = Upload(told["filename"], content)
        else:
            fields[told["name"]] = content.decode("utf-8", "replace")
    return fields, uploads


def file_of(uploads: dict[str, Upload]) -> Upload:
    """
    The field `file`.

    Raises:
        Refusal: there is none.
    """
    if (upload := uploads.get("file")) is None:
        raise missing("file")
    return upload
