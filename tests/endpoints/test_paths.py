"""Every path, by every method."""

from __future__ import annotations

import pytest

from tests.relay.wire import House

POSTED = ["/v1/route"]
GOTTEN = ["/v1/models", "/v1/models/sim", "/v1/models/team/slashed", "/healthz", "/readyz", "/metrics"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *[
            (method, path)
            for path in POSTED
            for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
        ],
        *[(method, path) for path in GOTTEN for method in ("POST", "PUT", "PATCH", "OPTIONS", "TRACE")],
        *[("DELETE", path) for path in GOTTEN if not path.startswith("/v1/models/")],
    ],
)
def test_a_wrong_method_is_told_the_right_one(house: House, method: str, path: str) -> None:
    answer = house.http.request(method, path)
    assert answer.status_code == 405
    allowed = set(answer.headers["allow"].split(", "))
    assert allowed == ({"POST"} if path in POSTED else {"GET", "HEAD"})
    if method == "HEAD":
        assert answer.content == b""
        return
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "method_not_allowed")
    assert method in error["message"]
    assert all(name in error["message"] for name in (path, *allowed))


@pytest.mark.parametrize(
    "path",
    [
        "/", "/v1", "/v1/", "/V1/models", "/V1/files", "/v1/targets/x", "/metrics/x",
        "/v1//models", "/v1/files/..%2f..", "/v1/files/%2e%2e/x", "/v1/a\\..\\b", "/v1/files/", "//healthz", "/%E2%82%AC", "/%ff%fe", "/a%00b", "/" + "x" * 8_000, "/v1/route%2fx", "/.env",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_an_unknown_path_is_a_404_in_the_envelope(house: House, method: str, path: str) -> None:
    answer = house.http.request(method, house.url + path)
    assert answer.status_code == 404
    if method == "HEAD":
        assert answer.content == b""
    else:
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "unknown_url")
        assert method in error["message"]
    assert house.http.get("/healthz").status_code == 200


def test_a_base_url_without_v1_is_told_so(house: House) -> None:
    told = house.http.post(house.url + "/chat/completions").json()["error"]["message"]
    assert "below /v1, with which a client's base_url ends" in told
    assert "below" not in house.http.post(house.url + "/v1/route/x").json()["error"]["message"]


@pytest.mark.parametrize("path", GOTTEN)
def test_head_is_get_without_the_body(house: House, path: str) -> None:
    gotten, headed = house.http.get(path), house.http.head(path)
    assert (headed.status_code, headed.content) == (200, b"")
    assert headed.headers["content-type"] == gotten.headers["content-type"]
    assert "content-length" in headed.headers


@pytest.mark.parametrize("path", [*POSTED, *GOTTEN])
def test_a_trailing_slash_never_does_another_thing(house: House, path: str) -> None:
    """It leads to the path without it, with the method and the body, or to nothing."""
    method = "POST" if path in POSTED else "GET"
    answer = house.http.request(method, path + "/", json={"model": "sim", "messages": []} if method == "POST" else None)
    if answer.status_code == 404:
        assert answer.json()["error"]["message"]
    else:
        assert (answer.status_code, answer.headers["location"]) == (307, house.url + path)
    assert house.simulator.log.entries() == []


@pytest.mark.parametrize("name", ["nobody", "", "sim/", "SIM", "auto/x", "team%2Fslashe", "%F0%9F%98%80"])
def test_a_model_that_is_not_there(house: House, name: str) -> None:
    answer = house.http.get(f"/v1/models/{name}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("query", ["?", "?a=b", "?signals=none", "?%ff=%00"])
def test_a_query_that_means_nothing_changes_nothing(house: House, query: str) -> None:
    assert house.http.get("/v1/models" + query).json() == house.http.get("/v1/models").json()
    body = {"model": "sim", "messages": [{"role": "user", "content": "hi"}]}
    assert house.http.post("/v1/chat/completions" + query, json=body).status_code == 200
