"""The ways to an upstream: TLS with certificates of one's own, a proxy, a unix socket."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from proxy.relay.connecting import aiohttp_transports
from tests.certificates import Authority, self_signed, serving_with
from tests.relay.forward_proxy import ForwardProxy
from tests.relay.wire import MESSAGES, SSE, Exchange, House, RawUpstream, config_of, dead_port
from tests.relay.wire import house as open_house

ANSWER = b'{"choices": []}'


class Certificates(NamedTuple):
    authority: Authority
    good: tuple[Path, Path]
    misnamed: tuple[Path, Path]
    expired: tuple[Path, Path]
    alone: tuple[Path, Path]
    client: tuple[Path, Path]
    folder: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder)
    return Certificates(
        authority,
        authority.sign("good"),
        authority.sign("misnamed", "subjectAltName=DNS:elsewhere.example"),
        authority.sign("expired", days=-1),
        self_signed(folder),
        authority.sign("client", "extendedKeyUsage=clientAuth"),
        folder,
    )


@contextmanager
def upstream(raw: RawUpstream) -> Iterator[RawUpstream]:
    raw.script = lambda exchange: exchange.answer(ANSWER)
    try:
        yield raw
    finally:
        raw.close()


@contextmanager
def in_front_of(*upstreams: str, **environ: str) -> Iterator[House]:
    """Pointsman with a model `m` that has a target at each of these upstreams, the first by far preferred."""
    lines = "\n".join(f"  u{number}: {{{upstream}}}" for number, upstream in enumerate(upstreams))
    targets = ", ".join(
        f"{{upstream: u{number}, name: m, weight: {1e-6 if number else 1e6}}}" for number, _ in enumerate(upstreams)
    )
    text = f"version: 1\nupstreams:\n{lines}\nmodels: {{m: {{targets: [{targets}]}}}}\ndefault: m\nretry: {{attempts: 2}}\n"
    with open_house(text, environ=environ) as house:
        yield house


def https(port: int) -> str:
    return f"https://127.0.0.1:{port}"


def test_a_private_authority_is_trusted_where_it_is_named(certificates: Certificates) -> None:
    with (
        upstream(RawUpstream(tls=serving_with(certificates.good))) as raw,
        in_front_of(
            'base_url: "${TLS}/v1", tls: {ca: "${CA}"}', TLS=https(raw.port), CA=str(certificates.authority.certificate)
        ) as house,
    ):
        for _ in range(2):
            assert house.chat("m").content == ANSWER
        assert raw.last.line == b"POST /v1/chat/completions HTTP/1.1"
        assert raw.last.values(b"host") == [b"127.0.0.1:%d" % raw.port]


def test_a_self_signed_certificate_is_its_own_authority(certificates: Certificates) -> None:
    with (
        upstream(RawUpstream(tls=serving_with(certificates.alone))) as raw,
        in_front_of(
            'base_url: "${TLS}/v1", tls: {ca: "${CA}"}', TLS=https(raw.port), CA=str(certificates.alone[0])
        ) as house,
    ):
        assert house.chat("m").content == ANSWER


@pytest.mark.parametrize(
    ("shown", "trusted", "why"),
    [
        pytest.param("good", None, "self-signed certificate in certificate chain|unable to get local issuer", id="unknown-authority"),
        pytest.param("misnamed", "authority", "IP address mismatch", id="wrong-name"),
        pytest.param("expired", "authority", "certificate has expired", id="expired"),
        pytest.param("alone", "authority", "self-signed certificate", id="self-signed"),
    ],
)  # fmt: skip
def test_one_that_cannot_be_trusted_is_asked_nothing(
    shown: str, trusted: str | None, why: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """Another target answers; without one it is a 502 that tells the client no reason, as the log does."""
    tls = f', tls: {{ca: "{certificates.authority.certificate}"}}' if trusted else ""
    first = f'base_url: "${{TLS}}/v1", api_key: sk-operator{tls}'
    context = serving_with(getattr(certificates, shown))
    with upstream(RawUpstream(tls=context)) as bad, upstream(RawUpstream()) as well:
        environ = {"TLS": https(bad.port), "WELL": f"http://127.0.0.1:{well.port}"}
        with in_front_of(first, 'base_url: "${WELL}/v1"', **environ) as house:
            answer = house.chat("m")
            assert (answer.content, answer.headers["x-pointsman-target"]) == (ANSWER, "u1/m")
            assert house.metric('pointsman_attempts_total{outcome="unreachable",target="u0/m"}') == 1
        with in_front_of(first, **environ) as house:
            answer = house.chat("m")
        assert bad.exchanges == []
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unavailable")
    assert answer.json()["error"]["message"] == "The upstream 'u0' gave no answer. Try again later."
    told = [record.__dict__["error"] for record in caplog.records if record.getMessage() == "upstream unavailable"]
    assert len(told) == 3
    for line in told:
        assert any(reason in line for reason in why.split("|")), line
        assert "sk-operator" not in line


def test_a_server_that_does_not_shake_hands_is_left_in_time() -> None:
    """One without TLS waits for the rest of what is no request to it."""
    with (
        upstream(RawUpstream()) as raw,
        in_front_of(f'base_url: "{https(raw.port)}", timeouts: {{connect: 150ms}}') as house,
    ):
        answer = house.chat("m")
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "connect_timeout")


def test_a_proxy_that_opens_no_tunnel_is_left_in_time() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as deaf,
        in_front_of(
            'base_url: "https://nowhere.example/v1", proxy: "${PROXY}", timeouts: {connect: 150ms, first_token: 5s}',
            PROXY=f"http://127.0.0.1:{deaf.getsockname()[1]}",
        ) as house,
    ):
        answer = house.chat("m")
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "connect_timeout")
        assert house.metric('pointsman_attempts_total{outcome="connect",target="u0/m"}') == 1


def test_cookies_do_not_travel_between_clients() -> None:
    """Both cookies of an answer arrive, and the next client's request has none; of an address, no jar would keep any."""
    with upstream(RawUpstream()) as raw, in_front_of(f'base_url: "http://localhost:{raw.port}"') as house:
        raw.script = lambda exchange: exchange.answer(
            ANSWER, b"Set-Cookie: session=alice; Path=/", b"Set-Cookie: other=1"
        )
        for _ in range(2):
            answer = house.chat("m")
            assert answer.headers.get_list("set-cookie") == ["session=alice; Path=/", "other=1"]
            assert raw.last.values(b"cookie") == []
            house.http.cookies.clear()


@pytest.mark.parametrize("has_socket", [False, True], ids=["tcp", "socket"])
def test_as_many_requests_are_under_way_as_come(has_socket: bool, tmp_path: Path) -> None:
    """One after the other, behind connections that are busy, would be a queue that nobody can see or bound."""
    many, path, arrived = 101, str(tmp_path / "s"), 0

    async def run() -> None:
        all_are_there = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal arrived
            await reader.readuntil(b"\r\n\r\n")
            arrived += 1
            if arrived == many:
                all_are_there.set()
            await all_are_there.wait()
            writer.write(b"HTTP/1.1 204 Here\r\nconnection: close\r\n\r\n")
            writer.close()

        if has_socket:
            server = await asyncio.start_unix_server(answer, path)
            written = f'base_url: "http://u", socket: "{path}"'
        else:
            server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=many)
            written = f'base_url: "http://127.0.0.1:{server.sockets[0].getsockname()[1]}"'
        text = f"version: 1\nupstreams: {{u: {{{written}}}}}\nmodels: {{m: {{target: {{upstream: u, name: m}}}}}}\ndefault: m\n"
        config = config_of(text)
        url = config.upstreams["u"].base_url
        async with aiohttp_transports()(config.upstreams["u"]) as transport, server, asyncio.timeout(10):
            requests = (httpx.Request("GET", url) for _ in range(many))
            answers = await asyncio.gather(*map(transport.handle_async_request, requests))
            for found in answers:
                await found.aclose()
        assert [found.status_code for found in answers] == [204] * many

    asyncio.run(run())


def test_what_an_upstream_says_unasked_is_nobodys_answer() -> None:
    with upstream(RawUpstream()) as raw, in_front_of(f'base_url: "http://127.0.0.1:{raw.port}"') as house:
        for _ in range(2):
            assert house.chat("m").content == ANSWER
        assert len(raw._connections) == 1, "kept"
        raw.last.answer(b'{"choices": ["of somebody else"]}')
        raw.last.wait_until_read()
        assert house.chat("m").content == ANSWER


def test_an_upstream_is_shown_the_certificate_that_it_asks_for(certificates: Certificates) -> None:
    ca = certificates.authority.certificate
    both = certificates.folder / "both.pem"
    both.write_bytes(certificates.client[0].read_bytes() + certificates.client[1].read_bytes())
    environ = {"CA": str(ca), "CERTIFICATE": str(certificates.client[0]), "KEY_FILE": str(certificates.client[1])}
    with upstream(RawUpstream(tls=serving_with(certificates.good, asks_for=ca))) as raw:
        environ["TLS"] = https(raw.port)
        with in_front_of('base_url: "${TLS}/v1", tls: {ca: "${CA}"}', **environ) as house:
            assert house.chat("m").status_code == 502
        pair = 'ca: "${CA}", certificate: "${CERTIFICATE}", key: "${KEY_FILE}"'
        with in_front_of(f'base_url: "${{TLS}}/v1", tls: {{{pair}}}', **environ) as house:
            assert house.chat("m").content == ANSWER
        with in_front_of(f'base_url: "${{TLS}}/v1", tls: {{ca: "${{CA}}", certificate: {both}}}', **environ) as house:
            assert house.chat("m").content == ANSWER


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_client_that_leaves_frees_an_upstream_behind_tls(is_stream: bool, certificates: Certificates) -> None:
    arrived, left = threading.Event(), threading.Event()
    times: list[float] = []

    def script(exchange: Exchange) -> None:
        exchange.send(SSE if is_stream else b"")
        arrived.set()
        times.append(exchange.wait_until_left())
        left.set()

    with (
        upstream(RawUpstream(tls=serving_with(certificates.good))) as raw,
        in_front_of(
            'base_url: "${TLS}/v1", tls: {ca: "${CA}"}', TLS=https(raw.port), CA=str(certificates.authority.certificate)
        ) as house,
    ):
        raw.script = script
        body = {"model": "m", "messages": MESSAGES, "stream": is_stream}
        client = threading.Thread(target=_hang_up_after, args=(house, body, arrived))
        client.start()
        client.join(5)
        began = time.monotonic()
        assert left.wait(3)
        assert times[0] - began < 1.0
        raw._threads[-1].join(3)
        assert house.http.get("/healthz").status_code == 200, "its loop has seen the end of the connection too"


def _hang_up_after(house: House, body: object, arrived: threading.Event) -> None:
    content = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", house.port), timeout=3) as connection:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\ncontent-length: %d\r\n\r\n" % len(content)
        connection.sendall(head + content)
        assert arrived.wait(3)


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    proxy = ForwardProxy(credentials="me:p@ss w\xf6rd")
    yield proxy
    proxy.close()


WITH_CREDENTIALS = "http://me:p%40ss%20w%C3%B6rd@127.0.0.1"


def test_https_goes_through_a_tunnel(proxy: ForwardProxy, certificates: Certificates) -> None:
    """The proxy sees where to, its own credentials, and not a byte of the request."""
    with (
        upstream(RawUpstream(tls=serving_with(certificates.good))) as raw,
        in_front_of(
            'base_url: "${TLS}/v1", api_key: sk-operator, tls: {ca: "${CA}"}, proxy: "${PROXY}"',
            TLS=https(raw.port),
            CA=str(certificates.authority.certificate),
            PROXY=f"{WITH_CREDENTIALS}:{proxy.port}",
        ) as house,
    ):
        for _ in range(3):
            assert house.chat("m").content == ANSWER
        assert proxy.lines == [f"CONNECT 127.0.0.1:{raw.port} HTTP/1.1"], "one tunnel, kept"
        assert "sk-operator" not in str(proxy.heads)
        assert raw.last.values(b"authorization") == [b"Bearer sk-operator"]
        assert raw.last.values(b"proxy-authorization") == []


def test_a_tunnel_does_not_make_a_wrong_name_right(proxy: ForwardProxy, certificates: Certificates) -> None:
    with (
        upstream(RawUpstream(tls=serving_with(certificates.misnamed))) as raw,
        in_front_of(
            'base_url: "${TLS}/v1", tls: {ca: "${CA}"}, proxy: "${PROXY}"',
            TLS=https(raw.port),
            CA=str(certificates.authority.certificate),
            PROXY=f"{WITH_CREDENTIALS}:{proxy.port}",
        ) as house,
    ):
        assert house.chat("m").json()["error"]["code"] == "upstream_unavailable"
        assert raw.exchanges == []


def test_http_is_asked_of_the_proxy(proxy: ForwardProxy) -> None:
    with (
        upstream(RawUpstream()) as raw,
        in_front_of(
            'base_url: "${RAW_TOO}/v1", query: {a: "1"}, proxy: "${PROXY}"',
            RAW_TOO=f"http://127.0.0.1:{raw.port}",
            PROXY=f"{WITH_CREDENTIALS}:{proxy.port}",
        ) as house,
    ):
        assert house.chat("m").content == ANSWER
        assert proxy.lines == [f"POST http://127.0.0.1:{raw.port}/v1/chat/completions?a=1 HTTP/1.1"]
        assert raw.last.line == b"POST /v1/chat/completions?a=1 HTTP/1.1"
        assert raw.last.values(b"host") == [b"127.0.0.1:%d" % raw.port]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("trouble", ["refused", "dead"])
def test_a_proxy_that_does_not_help_is_an_upstream_out_of_reach(
    scheme: str, trouble: str, proxy: ForwardProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is not asked for the password of the operator's proxy, nor is it or a key in the log."""
    caplog.set_level(logging.DEBUG)
    with upstream(RawUpstream()) as raw, dead_port() as dead:
        port = proxy.port if trouble == "refused" else dead
        with in_front_of(
            f'base_url: "{scheme}://127.0.0.1:{raw.port}/v1", query: {{key: sk-operator}}, proxy: "http://me:hunter2@127.0.0.1:{port}"'
        ) as house:
            answer = house.chat("m")
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unavailable")
        assert "proxy" not in answer.text.replace("proxy-", "")
        assert raw.exchanges == []
    told = [record.__dict__["error"] for record in caplog.records if record.getMessage() == "upstream unavailable"]
    assert told
    assert all("407" in line if trouble == "refused" else "Connect" in line for line in told)
    everything = "\n".join(str(record.__dict__) for record in caplog.records)
    assert "hunter2" not in everything
    assert "sk-operator" not in everything


def test_an_empty_proxy_is_none() -> None:
    with (
        upstream(RawUpstream()) as raw,
        in_front_of(f'base_url: "http://127.0.0.1:{raw.port}", proxy: "${{NONE:-}}"') as house,
    ):
        assert house.chat("m").content == ANSWER


def test_a_unix_socket(tmp_path: Path) -> None:
    """`base_url` gives the path and the name of the host; nobody is looked up."""
    path = tmp_path / "vllm.sock"
    with (
        upstream(RawUpstream(path=str(path))) as raw,
        in_front_of(f'base_url: "http://vllm.invalid/v1", api_key: "${{KEY}}", socket: "{path}"') as house,
    ):
        for _ in range(2):
            assert house.chat("m").content == ANSWER
        assert raw.last.line == b"POST /v1/chat/completions HTTP/1.1"
        assert raw.last.values(b"host") == [b"vllm.invalid"]
        assert raw.last.values(b"authorization") == [b"Bearer sk-operator"]
        assert len(raw._connections) == 1, "kept"


def test_a_unix_socket_that_nobody_listens_at(tmp_path: Path) -> None:
    with in_front_of(f'base_url: "http://vllm/v1", socket: "{tmp_path / "none.sock"}"') as house:
        answer = house.chat("m")
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unavailable")
        assert str(tmp_path) not in answer.text


def test_printing_a_config_shows_no_credentials() -> None:
    config = config_of(
        'version: 1\nupstreams: {a: {base_url: "https://x", headers: {api-key: hunter2}, query: {key: hunter2},'
        ' api_keys: [hunter2, hunter2b], proxy: "http://me:hunter2@proxy"}}\n'
        "models: {m: {target: {upstream: a, name: m}}}\ndefault: m\n"
    )
    assert "hunter2" not in repr(config) + str(config)
