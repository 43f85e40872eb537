"""Mistakes in what is said of an upstream."""

import pytest

from proxy.config import parse_config
from tests.config.files import problems, put

SECRETS = {
    "FILLED": "hunter2-k3y",
    "EMPTY": "",
    "FILE": "/hunter2/ca.pem",
    "BEARER": "Bearer hunter2",
    "SPACED": " hunter2 ",
}


def upstream(more: str, url: str = "https://api.openai.com/v1") -> str:
    """The base, whose upstream says this too; what is added begins in column 49."""
    return put("{base_url: https://api.openai.com/v1}", f"{{base_url: {url}, {more}}}")


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
            "api_key: $OPENAI_API_KEY",
            ["3:58 upstreams.openai.api_key: would be sent as it is written; ${OPENAI_API_KEY} stands for the value of a variable"],
            id="a-variable-as-in-a-shell",
        ),
        pytest.param(
            "api_keys: [os.environ/AZURE_KEY, $hunter2]",
            [
                "3:60 upstreams.openai.api_keys[0]: would be sent as it is written; ${AZURE_KEY} stands for the value of a variable",
                "3:82 upstreams.openai.api_keys[1]: would be sent as it is written; ${NAME} stands for the value of a variable",
            ],
            id="variables-as-elsewhere",
        ),
        pytest.param(
            "api_key: '${BEARER}'",
            ["3:58 upstreams.openai.api_key: is the key alone; leave out 'Bearer', which is put before it where it belongs"],
            id="more-than-the-key",
        ),
        pytest.param(
            "api_keys: [Bearer, 'Bearer ${EMPTY}']",
            [
                "3:60 upstreams.openai.api_keys[0]: is the key alone; leave out 'Bearer', which is put before it where it belongs",
                "3:68 upstreams.openai.api_keys[1]: is the key alone; leave out 'Bearer', which is put before it where it belongs",
            ],
            id="less-than-the-key",
        ),
        pytest.param(
            "api_keys: [' sk-abc', '${SPACED}', '$KEY ']",
            [
                "3:60 upstreams.openai.api_keys[0]: begins or ends with white space, which would be sent with the key; leave it out",
                "3:71 upstreams.openai.api_keys[1]: begins or ends with white space, which would be sent with the key; leave it out",
                "3:84 upstreams.openai.api_keys[2]: would be sent as it is written; ${KEY} stands for the value of a variable",
            ],
            id="white-space-around-a-key",
        ),
        pytest.param("api_key: sk-$NAME", [], id="a-key-with-a-dollar"),
        pytest.param(
            "headers: {x-api-key: $ANTHROPIC_KEY, authorization: Bearer $hunter2}, query: {key: os.environ/KEY}",
            [
                "3:70 upstreams.openai.headers.x-api-key: would be sent as it is written; ${ANTHROPIC_KEY} stands for the value of a variable",
                "3:101 upstreams.openai.headers.authorization: would be sent as it is written; ${NAME} stands for the value of a variable",
                "3:132 upstreams.openai.query.key: would be sent as it is written; ${KEY} stands for the value of a variable",
            ],
            id="variables-as-elsewhere-in-headers-and-the-query",
        ),
        pytest.param(
            "headers: {authorization: 'Bearer ${FILLED}', x-a: sk-$NAME}, query: {a: a $NAME}", [], id="values-with-a-dollar"
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
                "3:121 upstreams.openai.headers.proxy-authorization: 'proxy-authorization' cannot be set: the name and password of a proxy belong in 'proxy'",
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
        pytest.param("tls: {}", ["3:54 upstreams.openai.tls: needs 'ca', 'certificate' or both"], id="no-tls"),
        pytest.param(
            "tls: {ca: '', key: '${FILE}'}",
            [
                "3:59 upstreams.openai.tls.ca: expected a path, found nothing; leave the key out for none",
                "3:63 upstreams.openai.tls.key: needs 'certificate' beside it",
            ],
            id="a-key-without-its-certificate",
        ),
        pytest.param(
            "tls: {verify: false}",
            [
                "3:54 upstreams.openai.tls: needs 'ca', 'certificate' or both",
                "3:55 upstreams.openai.tls.verify: unknown key; expected 'ca', 'certificate' or 'key'",
            ],
            id="verification-stays",
        ),
        pytest.param(
            "socket: /run/vllm.sock",
            ["3:49 upstreams.openai.socket: a socket is spoken to in plain HTTP; write http in 'base_url'"],
            id="tls-over-a-socket",
        ),
    ],
)  # fmt: skip
def test_over_https(more: str, lines: list[str]) -> None:
    told = problems(upstream(more), SECRETS)
    assert told == lines
    assert "hunter2" not in str(told)


@pytest.mark.parametrize(
    ("more", "lines"),
    [
        pytest.param(
            "tls: {ca: ca.pem}",
            ["3:38 upstreams.openai.tls: has no effect on an http URL; write https in 'base_url', or leave it out"],
            id="tls",
        ),
        pytest.param(
            "socket: /run/vllm.sock, proxy: http://proxy",
            ["3:62 upstreams.openai.proxy: cannot stand beside 'socket'; leave one of them out"],
            id="two-ways",
        ),
        pytest.param("socket: /run/vllm.sock, proxy: '${EMPTY}'", [], id="one-way"),
    ],
)
def test_over_http(more: str, lines: list[str]) -> None:
    assert problems(upstream(more, "http://vllm/v1"), SECRETS) == lines


EXPECTED = "expected the URL of an http proxy such as http://proxy:3128 or http://name:password@proxy:3128"
SIGNS = "; in a name or password other signs than letters and digits are percent-encoded"


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("https://me:hunter2@proxy", EXPECTED + SIGNS),
        ("socks5://me:hunter2@proxy", EXPECTED + SIGNS),
        ("me:hunter2@proxy:3128", EXPECTED + SIGNS),
        ("http://me:hun/ter2@proxy", f"not a URL; {EXPECTED}"),
        ("http://me:hunter2@proxy/path", EXPECTED + SIGNS),
        ("http://me:hunter2@proxy?x", EXPECTED + SIGNS),
        ("http://me:hunter2@", EXPECTED + SIGNS),
        ("http://me:hunter2@proxy:0", EXPECTED + SIGNS),
        ("http://me:hunter2@proxy:x", f"not a URL; {EXPECTED}"),
        ("http://me:hunter2@pro_xy..", f"{EXPECTED}, with the name or the address of a host"),
        ("http://me%3Ax:hunter2@proxy", "a proxy takes no name with a colon, and no name or password with signs beyond Latin-1"),
        ("http://me:hunter2\N{EURO SIGN}@proxy", "a proxy takes no name with a colon, and no name or password with signs beyond Latin-1"),
    ],
)  # fmt: skip
def test_no_proxies(proxy: str, message: str) -> None:
    told = problems(upstream(f"proxy: '{proxy}'"))
    assert told == [f"3:56 upstreams.openai.proxy: {message}"]
    assert problems(upstream("proxy: '${PROXY}'"), {"PROXY": proxy}) == told


@pytest.mark.parametrize(
    "proxy", ["", "http://proxy", "http://proxy:3128/", "http://me@10.0.0.1:8080", "http://me:a%40b@[::1]:1"]
)
def test_proxies(proxy: str) -> None:
    assert problems(upstream(f"proxy: '{proxy}'")) == []


@pytest.mark.parametrize(
    ("cache", "usd"),
    [pytest.param("", 120, id="as-any"), pytest.param("cached_input: 0.5, ", 90, id="half"),
     pytest.param("cached_input: 0, ", 60, id="free"), pytest.param("cache_write: 2, ", 140, id="written-at-more"),
     pytest.param("cache_write: 0, ", 100, id="written-for-nothing")],
)  # fmt: skip
def test_what_a_token_of_a_cache_costs(cache: str, usd: float) -> None:
    text = put("gpt-4o}}", f"gpt-4o}}, price: {{input: 1, {cache}output: 2}}}}")
    price = parse_config(text, source="r.yaml", environ={}).models["large"].price
    assert price is not None
    assert 1e6 * price.cost_usd(prompt=100, cached=60, cache_write=20, completion=10) == pytest.approx(usd)
