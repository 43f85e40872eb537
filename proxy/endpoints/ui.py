"""GET /ui: the page that shows how routing thinks; static files, and nothing that the page does not ask for."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from proxy.config import Config
from proxy.endpoints.answers import send_body
from proxy.endpoints.running import running_of
from proxy.errors import UnknownPath
from proxy.routing.reading import header_map

_FOLDER = Path(__file__).resolve().parent.parent / "ui"
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
# No script or style but our own files, no request to anybody else, no frame around it, and no form that leaves.
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),  # asks each time, and is told 304: a new version shows at once
)


class _File(NamedTuple):
    body: bytes
    content_type: bytes
    etag: bytes


@cache
def _files() -> dict[str, _File]:
    """By the path below `/ui`; only these are ever read, whatever a URL says."""
    found = {}
    for path in sorted(_FOLDER.rglob("*")):
        if (kind := _TYPES.get(path.suffix)) is not None:
            body = path.read_bytes()
            etag = b'"%b"' % hashlib.sha256(body).hexdigest()[:20].encode("ascii")
            found[path.relative_to(_FOLDER).as_posix()] = _File(body, kind, etag)
    return found


def need_ui(config: Config) -> None:
    """
    What only the page needs is there where the page is.

    Raises:
        UnknownPath: routes.yaml says `ui: false`.
    """
    if not config.ui:
        raise UnknownPath("There is nothing here: 'ui' is false in routes.yaml.")


class Page:
    """The page and its files; their links are relative, so it may stand below any path of a proxy in front."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """
        One file; 304 for one that the client has.

        Raises:
            UnknownPath: there is no such file, or routes.yaml turns the page off.
        """
        need_ui(running_of(scope).config)
        name = scope["path_params"].get("name", "index.html")
        if name == "":
            await send_body(send, b"", status=308, headers=[(b"location", b"../ui")])
            return
        file = _files().get(name)
        if file is None:
            raise UnknownPath(f"There is no {name[:200]!r} in /ui.")
        headers = (*_HEADERS, (b"etag", file.etag))
        asked = header_map(scope["headers"]).get("if-none-match", "")
        if file.etag.decode("ascii") in asked:
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await send_body(send, file.body, content_type=file.content_type, headers=headers)
