"""Mistakes in what is said of an upstream."""

import pytest

from tests.config.files import problems, put

SECRETS = {"FILLED": "hunter2-k3y", "EMPTY": ""}


def upstream(more: str) -> str:
    """The base, whose upstream says this too; what is added begins in column 49."""
    return put("{base_url: https://api.openai.com/v1}", f"{{base_url: https://api.openai.com/v1, {more}}}")


@pytest.mark.parametrize(
    ("more", "lines"),
    [
        pytest.param(
            "api_key: sk-1, api_keys: [sk-2]",
            ["3:64 upstreams.openai.api_keys: cannot stand beside 'api_key'; put all of them under 'api_keys'"],
            id="both",
        ),
        pytest.param(
            "api_key: '${EMPTY}', api_keys: [sk-2]",
            ["3:70 upstreams.openai.api_keys: cannot stand beside 'api_key'; put all of them under 'api_keys'"],
            id="both-though-empty",
        ),
        pytest.param("api_keys: []", ["3:59 upstreams.openai.api_keys: must not be empty"], id="no-keys"),
        pytest.param(
            "api_keys: sk-1",
            ["3:59 upstreams.openai.api_keys: expected a list, found text; write it as [...] or as lines that begin with '- '"],
            id="no-list",
        ),
        pytest.param(
            "api_keys: [sk-1, '', '${EMPTY}', sk-1, null]",
            [
                "3:66 upstreams.openai.api_keys[1]: is empty; leave it out",
                "3:82 upstreams.openai.api_keys[3]: the same key as api_keys[0]; leave it out",
                "3:88 upstreams.openai.api_keys[4]: expected text, found null; write \"\" for none",
            ],
            id="empty-and-twice",
        ),
        pytest.param(
            "api_keys: ['${FILLED}', hunter2-k3y]",
            ["3:73 upstreams.openai.api_keys[1]: the same key as api_keys[0]; leave it out"],
            id="twice-by-a-variable",
        ),
        pytest.param(
            'headers: {"a b": x, "": y, "x:": z}',
            [
                "3:59 upstreams.openai.headers['a b']: 'a b' is not a header name; those have letters, digits and - only",
                "3:69 upstreams.openai.headers: this key is empty",
                "3:76 upstreams.openai.headers['x:']: 'x:' is not a header name; those have letters, digits and - only",
            ],
            id="no-header-names",
        ),
        pytest.param(
            'headers: {x-a: "hunter2\\r\\nx-b: 1"}',
            ["3:64 upstreams.openai.headers.x-a: has a line break or another control character, which no header can carry"],
            id="a-header-in-a-header",
        ),
        pytest.param(
            "headers: {Content-Length: 1, transfer-encoding: chunked, connection: x, proxy-authorization: hunter2, X-Pointsman-Model: x}",
            [
                "3:59 upstreams.openai.headers.Content-Length: 'Content-Length' cannot be set: it is said anew for each body",
                "3:78 upstreams.openai.headers.transfer-encoding: 'transfer-encoding' cannot be set: it speaks of one connection, not of the message",
                "3:106 upstreams.openai.headers.connection: 'connection' cannot be set: it speaks of one connection, not of the message",
                "3:121 upstreams.openai.headers.proxy-authorization: 'proxy-authorization' cannot be set: it speaks of one connection, not of the message",
                "3:151 upstreams.openai.headers.X-Pointsman-Model: 'X-Pointsman-Model' cannot be set: names like it are between a client and this proxy",
            ],
            id="headers-that-break-a-message",
        ),
        pytest.param(
            "headers: {X-A: 1, x-a: 2}",
            ["3:67 upstreams.openai.headers.x-a: the same header as 'X-A': letter case does not matter"],
            id="a-header-twice",
        ),
        pytest.param(
            "api_key: '${FILLED}', headers: {Authorization: Basic x}",
            [
                "3:81 upstreams.openai.headers.Authorization: cannot stand beside 'api_key', which is sent as this header; leave one of them out"
            ],
            id="authorization-twice",
        ),
        pytest.param("api_key: '${EMPTY}', headers: {authorization: Basic x, api-key: y}", [], id="authorization-once"),
        pytest.param("headers: {host: x, accept-encoding: gzip, x-a: 1, x-b: ''}", [], id="good-headers"),
        pytest.param("query: {a: [hunter2]}", ["3:60 upstreams.openai.query.a: expected text, found a list"], id="no-query"),
    ],
)  # fmt: skip
def test_mistakes(more: str, lines: list[str]) -> None:
    told = problems(upstream(more), SECRETS)
    assert told == lines
    assert "hunter2" not in str(told)
