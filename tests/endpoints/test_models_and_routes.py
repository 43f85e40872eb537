import pytest

from tests.relay.wire import MESSAGES, House


@pytest.mark.parametrize("name", ["auto", "sim", "team/slashed"])
def test_a_model(name: str, house: House) -> None:
    assert house.http.get(f"/v1/models/{name}").json()["id"] == name
    assert name in [model["id"] for model in house.http.get("/v1/models").json()["data"]]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/x", 404),
        ("GET", "/v1/models/x", 404),
    ],
)
def test_nothing_there(method: str, path: str, status: int, house: House) -> None:
    answer = house.http.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("model", "text", "headers", "expected"),
    [
        pytest.param("auto", "a bug in my code", {}, ("code", "topic"), id="topic"),
        pytest.param("auto", "zebra", {"x-priority": "high"}, ("urgent", "rule"), id="rule"),
        pytest.param("auto", "rain and wind today", {}, ("default", "default"), id="default"),
        pytest.param("raw", "zebra", {}, ("pinned", "pinned"), id="pinned"),
    ],
)
def test_route(model: str, text: str, headers: dict[str, str], expected: tuple[str, str], house: House) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    told = house.http.post("/v1/route", json=body, headers=headers).json()
    answer = house.http.post("/v1/chat/completions", json=body, headers=headers | {"x-request-id": "mine"})
    assert (told["route"], told["reason"]) == expected
    assert (answer.headers["x-pointsman-route"], answer.headers["x-pointsman-reason"]) == expected
    assert answer.headers["x-request-id"] == "mine"


def test_signals(house: House) -> None:
    body = {"model": "raw", "messages": MESSAGES}
    assert house.http.post("/v1/route?signals=all", json=body).json()["topic"] is not None
    assert house.http.post("/v1/route", json=body).json()["topic"] is None
    assert house.http.post("/v1/route?signals=x", json=body).status_code == 400
