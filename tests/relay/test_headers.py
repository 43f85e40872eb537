import pytest

from proxy.relay.headers import Headers, OwnHeaders, request_headers, response_headers
from tests.relay.wire import House

HOP_BY_HOP = ["keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "upgrade", "proxy-authenticate"]
KEY: Headers = [(b"authorization", b"Bearer sk-operator")]
CLIENT_KEYS: Headers = [
    (b"authorization", b"Bearer mine"), (b"x-api-key", b"mine"), (b"api-key", b"mine"), (b"cookie", b"session=mine"),
]  # fmt: skip
ACCOUNT: Headers = [(b"openai-organization", b"org-1"), (b"openai-project", b"proj-1"), (b"x-goog-user-project", b"p")]


@pytest.mark.parametrize(
    ("sent", "own", "arrives"),
    [
        pytest.param([(b"x-a", b"1"), (b"x-a", b"2")], [], [(b"x-a", b"1"), (b"x-a", b"2")], id="twice"),
        pytest.param(CLIENT_KEYS, [], CLIENT_KEYS, id="client's-keys-where-there-is-none"),
        pytest.param([*CLIENT_KEYS, (b"x-a", b"1")], KEY, [*KEY, (b"x-a", b"1")], id="key-in-their-place"),
        pytest.param([(b"connection", b"close, X-Secret"), (b"x-secret", b"1")], [], [], id="named-by-connection"),
        pytest.param([(b"x-secret", b"1"), (b"connection", b"x-secret")], [], [], id="named-afterwards"),
        pytest.param([(b"x-pointsman-model", b"m"), (b"x-pointsman-any", b"m")], [], [], id="ours"),
        pytest.param([(b"accept-encoding", b"gzip"), (b"host", b"a"), (b"expect", b"100-continue")], [], [], id="anew"),
        pytest.param([(b"openai-beta", b"o")], KEY, [*KEY, (b"openai-beta", b"o")], id="others"),
        pytest.param(ACCOUNT, KEY, KEY, id="not-their-account-beside-our-key"),
        pytest.param(ACCOUNT, [*KEY, *ACCOUNT[:1]], [*KEY, *ACCOUNT[:1]], id="but-our-account"),
        pytest.param(ACCOUNT, ACCOUNT[:1], ACCOUNT, id="an-account-is-no-key"),
    ],
)
def test_request_headers(sent: Headers, own: Headers, arrives: Headers) -> None:
    assert request_headers(sent, OwnHeaders(own)) == [(b"accept-encoding", b"identity"), *arrives]


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        pytest.param([(b"Set-Cookie", b"a"), (b"set-cookie", b"b")], [(b"set-cookie", b"a"), (b"set-cookie", b"b")], id="twice"),
        pytest.param([(b"Connection", b"X-Hop"), (b"X-Hop", b"1"), (b"x-end", b"2")], [(b"x-end", b"2")], id="named"),
        pytest.param([(b"transfer-encoding", b"chunked"), (b"Keep-Alive", b"timeout=5")], [], id="hop-by-hop"),
        pytest.param([(b"X-Pointsman-Route", b"theirs")], [], id="ours"),
        pytest.param([(b"connection", b"content-length"), (b"content-length", b"2")], [(b"content-length", b"2")], id="length"),
    ],
)  # fmt: skip
def test_response_headers(sent: Headers, arrives: Headers) -> None:
    assert response_headers(sent) == arrives


@pytest.mark.parametrize("name", HOP_BY_HOP)
def test_hop_by_hop_headers_stay(name: str, house: House) -> None:
    """What speaks of one connection crosses in neither direction."""
    house.raw.script = lambda exchange: exchange.answer(b"{}", name.encode() + b": theirs")
    answer = house.chat("raw", headers={name: "mine"} if name != "upgrade" else None)
    assert answer.status_code == 200
    assert name not in answer.headers
    assert house.raw.last.values(name.encode()) == []


def test_what_the_upstream_sees(house: House) -> None:
    headers = {"authorization": "Bearer mine", "x-pointsman-anything": "1", "accept-encoding": "gzip, br", "x-b": "b"}
    assert house.chat("raw", headers=headers | {"connection": "keep-alive, x-hop", "x-hop": "1"}).status_code == 200
    seen = house.raw.last
    assert seen.line == b"POST /v1/chat/completions HTTP/1.1"
    assert seen.values(b"authorization") == [b"Bearer mine"]
    assert seen.values(b"accept-encoding") == [b"identity"]
    assert seen.values(b"content-type") == [b"application/json"]
    assert seen.values(b"content-length") == [b"%d" % len(seen.body)]
    assert seen.values(b"host") == [b"127.0.0.1:%d" % house.raw.port]
    assert seen.values(b"x-hop") == []
    assert not [name for name, _ in seen.headers if name.startswith(b"x-pointsman-")]
    assert len({name for name, _ in seen.headers}) == len(seen.headers)


def test_a_header_in_utf_8_arrives_as_its_bytes(house: House) -> None:
    raw_headers = [(b"content-type", b"application/json"), (b"x-name", b"caf\xc3\xa9")]
    body = b'{"model":"raw","messages":[]}'
    answer = house.http.post("/v1/chat/completions", content=body, headers=raw_headers)
    assert answer.status_code == 200
    assert house.raw.last.values(b"x-name") == [b"caf\xc3\xa9"]


def test_the_operator_s_key_takes_the_place_of_the_client_s(house: House) -> None:
    keys = {"authorization": "Bearer mine", "x-api-key": "mine", "api-key": "mine"}
    assert house.chat("rawkeyed", headers=keys).status_code == 200
    seen = house.raw.last
    assert seen.values(b"authorization") == [b"Bearer sk-operator"]
    assert seen.values(b"x-api-key") == seen.values(b"api-key") == []
