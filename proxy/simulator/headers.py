"""The response headers of api.openai.com and of api.anthropic.com."""

import time
from email.utils import formatdate

from proxy.simulator.wire import Stamp

Headers = list[tuple[bytes, bytes]]

JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"
HTML = b"text/html; charset=UTF-8"

_CONSTANT: Headers = [
    (b"server", b"cloudflare"),
    (b"openai-organization", b"org-simulated"),
    (b"openai-version", b"2020-10-01"),
    (b"x-ratelimit-limit-requests", b"10000"),
    (b"x-ratelimit-limit-tokens", b"2000000"),
    (b"x-ratelimit-remaining-requests", b"9999"),
    (b"x-ratelimit-reset-requests", b"6ms"),
    (b"x-ratelimit-reset-tokens", b"0s"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains; preload"),
    (b"x-content-type-options", b"nosniff"),
    (b"cf-cache-status", b"DYNAMIC"),
    (b"alt-svc", b'h3=":443"; ma=86400'),
]


def response_headers(kind: bytes, stamp: Stamp, *, processing_ms: int = 0, prompt_tokens: int = 0) -> Headers:
    """
    What goes with every answer; the caller adds `content-length` where there is one.

    The cookies are two, differ from answer to answer, and lack the real ones' `Secure` and `Domain`: a
    careless cookie jar would send them back, also over plain HTTP, and a test would see it.
    """
    token = stamp.token.encode()
    return [
        (b"date", _date()),
        (b"content-type", kind),
        (b"x-request-id", b"req_" + token),
        (b"openai-processing-ms", b"%d" % processing_ms),
        (b"x-ratelimit-remaining-tokens", b"%d" % max(2_000_000 - prompt_tokens, 0)),
        (b"set-cookie", b"__cf_bm=" + token + b"; path=/; HttpOnly; SameSite=None"),
        (b"set-cookie", b"_cfuvid=" + token[::-1] + b"; path=/; HttpOnly; SameSite=None"),
        (b"cf-ray", token[:16] + b"-SIM"),
        *_CONSTANT,
    ]


def anthropic_headers(kind: bytes, stamp: Stamp) -> Headers:
    """The same for answers of Anthropic's API, which names a request in another header."""
    token = stamp.token.encode()
    return [
        (b"date", _date()),
        (b"content-type", kind),
        (b"request-id", b"req_" + token),
        (b"anthropic-organization-id", b"org-simulated"),
        (b"anthropic-ratelimit-requests-limit", b"4000"),
        (b"anthropic-ratelimit-requests-remaining", b"3999"),
        (b"set-cookie", b"_cfuvid=" + token[::-1] + b"; path=/; HttpOnly; SameSite=None"),
        (b"server", b"cloudflare"),
        (b"cf-ray", token[:16] + b"-SIM"),
        (b"cf-cache-status", b"DYNAMIC"),
    ]


_last_date = (0, b"")


def _date() -> bytes:
    """The HTTP date, written once a second: formatting it costs as much as an answer's JSON."""
    global _last_date
    now = int(time.time())
    if now != _last_date[0]:
        _last_date = (now, formatdate(now, usegmt=True).encode())
    return _last_date[1]
