"""What an operator adds to requests: headers and a query; and where no key of anybody's goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.relay.wire import House, RawUpstream
from tests.relay.wire import house as open_house

CLIENT_KEYS = {"authorization": "Bearer mine", "x-api-key": "mine", "api-key": "mine"}


@contextmanager
def to_raw(upstream: str) -> Iterator[House]:
    """Pointsman with a model `m` at the raw upstream, which is described further like this."""
    text = f"""
version: 1
upstreams: {{u: {{base_url: "${{RAW}}/v1", {upstream}}}}}
models: {{m: {{target: {{upstream: u, name: m}}}}}}
default: m
retry: {{attempts: 1}}
"""
    with open_house(text, environ={"EMPTY": "", "AZURE": "az-operator"}) as house:
        house.raw.script = lambda exchange: exchange.answer(b'{"choices": []}')
        yield house


def test_they_are_sent_in_place_of_the_client_s() -> None:
    with to_raw('headers: {X-Team: blue, accept-encoding: gzip, x-name: "caf\u00e9", x-none: "${EMPTY}"}') as house:
        answer = house.chat("m", headers=CLIENT_KEYS | {"x-team": "red", "X-None": "theirs", "x-other": "theirs"})
        assert answer.status_code == 200
        seen = house.raw.last
    assert seen.values(b"x-team") == [b"blue"]
    assert seen.values(b"accept-encoding") == [b"gzip"]
    assert seen.values(b"x-name") == ["caf\u00e9".encode()]
    assert seen.values(b"x-none") == seen.values(b"x-other") == [b"theirs"]
    assert seen.values(b"authorization") == [b"Bearer mine"], "none of them is a key"


@pytest.mark.parametrize(
    "own",
    [
        pytest.param('headers: {Api-Key: "${AZURE}"}', id="api-key"),
        pytest.param('headers: {authorization: "Basic ${AZURE}"}', id="authorization"),
        pytest.param('headers: {x-goog-api-key: "${AZURE}"}', id="google"),
        pytest.param('query: {key: "${AZURE}"}', id="in-the-query"),
    ],
)
def test_where_one_is_a_key_no_key_of_the_client_s_is_sent(own: str) -> None:
    """And a refusal of it is the operator's business, not the client's."""
    with to_raw(own) as house:
        assert house.chat("m", headers=CLIENT_KEYS).status_code == 200
        seen = house.raw.last
        house.raw.script = lambda exchange: exchange.answer(b"{}", status=b"401 No")
        refused = house.chat("m")
    assert "az-operator" in str(seen.headers) + str(seen.line)
    assert "mine" not in str(seen.headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_unauthorized")
    assert "az-operator" not in refused.text


def test_an_empty_key_is_none() -> None:
    with to_raw('headers: {api-key: "${EMPTY}"}, query: {key: "${EMPTY}"}') as house:
        assert house.chat("m", headers=CLIENT_KEYS).status_code == 200
        seen = house.raw.last
    assert [seen.values(name.encode()) for name in CLIENT_KEYS] == [[value.encode()] for value in CLIENT_KEYS.values()]
    assert seen.line == b"POST /v1/chat/completions HTTP/1.1"


def test_a_host_of_one_s_own() -> None:
    with to_raw("headers: {Host: virtual.example}") as house:
        assert house.chat("m").status_code == 200
        assert house.raw.last.values(b"host") == [b"virtual.example"]


def test_the_query_is_encoded_once() -> None:
    with to_raw('query: {api-version: 2024-10-21, "a b": "c&d=e/f?g#h+i%41%", "\u00e9": "${EMPTY}x"}') as house:
        assert house.chat("m").status_code == 200
        line = house.raw.last.line
    assert line == (
        b"POST /v1/chat/completions?api-version=2024-10-21&a%20b=c%26d%3De%2Ff%3Fg%23h%2Bi%2541%25&%C3%A9=x HTTP/1.1"
    )


CLIENT_QUERY = "key=mine&limit=2&API-Key=mine&access%5Ftoken=mine&after=a%20b&&api_key=mine&x=1=2&ver=theirs"


@pytest.mark.parametrize(
    ("own", "arrives"),
    [
        pytest.param('query: {ver: "1"}', "key=mine&limit=2&API-Key=mine&access%5Ftoken=mine&after=a%20b&&api_key=mine&x=1=2&ver=1", id="no-key"),
        pytest.param('query: {key: "${AZURE}"}', "limit=2&after=a%20b&&x=1=2&ver=theirs&key=az-operator", id="in-the-query"),
        pytest.param('api_key: "${AZURE}"', "limit=2&after=a%20b&&x=1=2&ver=theirs", id="in-a-header"),
        pytest.param('query: {none: "${EMPTY}"}', CLIENT_QUERY, id="nothing"),
    ],
)  # fmt: skip
def test_of_the_client_s_query_no_key_is_sent_beside_ours(own: str, arrives: str) -> None:
    with to_raw(own) as house:
        assert house.http.get(f"{house.url}/v1/files?{CLIENT_QUERY}").status_code == 200
        assert house.raw.last.line == f"GET /v1/files?{arrives} HTTP/1.1".encode()


@pytest.mark.parametrize(
    ("name", "sent", "arrives"),
    [
        pytest.param("location", "/v1/files/?key=az-operator", "/v1/files/", id="alone"),
        pytest.param("location", "https://a/v1/files?limit=2&key=az-operator#f", "https://a/v1/files?limit=2#f", id="last"),
        pytest.param("content-location", "/f?KEY=1&key=az%2Doperator&limit=2", "/f?KEY=1&limit=2", id="spelt-otherwise"),
        pytest.param("link", "</f?key=az-operator&p=2>; rel=next, </f?key=az-operator>; rel=first", "</f?p=2>; rel=next, </f>; rel=first", id="links"),
        pytest.param("location", "https://elsewhere/?key=theirs&sig=%2B", "https://elsewhere/?key=theirs&sig=%2B", id="another"),
        pytest.param("location", "/f?x=b+c%2Fd%2Be&y", "/f?y", id="plus-and-slash"),
    ],
)  # fmt: skip
def test_our_query_does_not_come_back(name: str, sent: str, arrives: str) -> None:
    """Where an upstream sends its client elsewhere it often repeats the URL, in a page too."""
    with to_raw('query: {key: "${AZURE}", x: b c/d+e}') as house:
        page = f'<a href="{sent}">moved</a>'.encode()
        house.raw.script = lambda exchange: exchange.answer(page, f"{name}: {sent}".encode(), status=b"307 Moved")
        answer = house.http.get("/v1/files")
    assert (answer.status_code, answer.headers[name]) == (307, arrives)
    assert answer.content == (page if sent == arrives else b"")


@pytest.mark.parametrize("status", [b"201 Created", b"404 Not Found"])
def test_what_is_no_redirect_keeps_its_body(status: bytes) -> None:
    with to_raw('query: {key: "${AZURE}"}') as house:
        house.raw.script = lambda exchange: exchange.answer(b"{}", b"location: /f?key=az-operator", status=status)
        answer = house.http.get("/v1/files")
    assert (answer.content, answer.headers["location"]) == (b"{}", "/f")


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"307 Temporary", b"308 Permanent"])
def test_a_redirect_is_not_followed(status: bytes) -> None:
    """It passes as it came; the other host gets no request, and so no key."""
    other = RawUpstream()
    try:
        with to_raw('api_key: "${KEY}"') as house:
            where = f"http://127.0.0.1:{other.port}/v1/chat/completions".encode()
            house.raw.script = lambda exchange: exchange.answer(b"moved", b"location: " + where, status=status)
            answer = house.chat("m")
            assert (answer.status_code, answer.content) == (int(status[:3]), b"moved")
            assert answer.headers["location"] == where.decode()
            assert len(house.raw.exchanges) == 1
        assert other.exchanges == []
        assert len(other._connections) == 0
    finally:
        other.close()
