"""A plain HTTP client for one thread: simulated users need no more."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec


class NoAnswer(Exception):
    """The server could not be reached, or broke off; the message says why."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class Connection:
    """One keep-alive connection, made when it is needed and again after it broke."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """
        Args:
            url: of the server, without a path below which anything is asked.
            timeout_s: for every wait.

        Raises:
            ValueError: it is no URL of a server.
        """
        parts = urlsplit(url)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if parts.scheme not in kinds or not parts.hostname:
            raise ValueError(f"{url!r} is not http://HOST:PORT or https://HOST:PORT")
        self._prefix = parts.path.rstrip("/")
        self._http = kinds[parts.scheme](parts.hostname, parts.port, timeout=timeout_s)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str) -> Answer:
        """
        Raises:
            NoAnswer: see there.
        """
        return self._ask("GET", path, None, {})

    def post(self, path: str, value: object, headers: Mapping[str, str]) -> Answer:
        """
        Send a value as JSON.

        Raises:
            NoAnswer: see there.
        """
        return self._ask("POST", path, msgspec.json.encode(value), {"content-type": "application/json", **headers})

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        try:
            self._http.request(method, self._prefix + path, body, dict(headers))
            answer = self._http.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, answer.read())
        except (OSError, http.client.HTTPException) as error:
            self._http.close()  # the next request makes a new one
            raise NoAnswer(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None
