import pytest

from tests.relay.wire import MESSAGES, ROUTES, House, config_of
from tests.relay.wire import house as open_house


@pytest.mark.parametrize("name", ["auto", "sim", "team/slashed"])
def test_a_model(name: str, house: House) -> None:
    entry = {"id": name, "object": "model", "created": 0, "owned_by": "pointsman"}
    assert house.http.get(f"/v1/models/{name}").json() == entry
    assert entry in house.http.get("/v1/models").json()["data"]


def test_the_list_is_auto_and_the_models_in_the_files_order(house: House) -> None:
    listed = house.http.get("/v1/models").json()
    assert listed["object"] == "list"
    names = [model["id"] for model in listed["data"]]
    assert names == ["auto", *config_of(ROUTES, SIM=house.url, RAW=house.url, DEAD=house.url, DEAF=house.url).models]


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
    assert (house.simulator.log.entries(), house.raw.exchanges) == ([], []), "nothing is sent on"
    answer = house.http.post("/v1/chat/completions", json=body, headers=headers | {"x-request-id": "mine"})
    assert (told["route"], told["reason"]) == expected
    assert (answer.headers["x-pointsman-route"], answer.headers["x-pointsman-reason"]) == expected
    assert answer.headers["x-request-id"] == "mine"


def test_a_model_that_is_named_and_cannot_is_passed_over_for_its_fallback(house: House) -> None:
    body = {"model": "narrow", "messages": [{"role": "user", "content": "x" * 8000}]}
    told = house.http.post("/v1/route", json=body).json()
    assert (told["model"], told["reason"]) == ("roomy", "pinned")
    excluded = {each["model"]: each["excluded"] for each in told["candidates"]}
    assert excluded["narrow"] == "context: 2,004 tokens needed, 1,000 available"
    answer = house.http.post("/v1/chat/completions", json=body)
    assert [answer.headers[f"x-pointsman-{name}"] for name in ("model", "reason", "attempts")] == [
        "roomy",
        "pinned",
        "1",
    ]


def test_the_route_of_a_prompt_that_the_upstream_keeps(house: House) -> None:
    body = {"model": "raw", "prompt": {"id": "pmpt_1"}}
    assert house.http.post("/v1/responses", json=body).headers["x-pointsman-route"] == "pinned"
    assert house.http.post("/v1/route", json=body).json()["route"] == "pinned"


def test_a_prompt_that_the_upstream_keeps_names_no_model_where_it_is_routed(house: House) -> None:
    sent = b'{ "prompt": {"id": "pmpt_1", "variables": {"model": "T"}} }'
    kind = {"content-type": "application/json", "x-pointsman-model": "raw"}
    told = house.http.post("/v1/route", content=sent, headers=kind | {"x-priority": "high"}).json()
    assert (told["route"], told["model"]) == ("pinned", "raw")
    assert house.http.post("/v1/responses", content=sent, headers=kind).headers["x-pointsman-model"] == "raw"
    assert house.raw.last.body == b'{"model":"raw-model", "prompt": {"id": "pmpt_1", "variables": {"model": "T"}} }'
    del kind["x-pointsman-model"]
    told = house.http.post("/v1/route", content=sent, headers=kind | {"x-priority": "high"}).json()
    assert (told["route"], told["model"]) == ("urgent", "other")


@pytest.mark.parametrize("value", ["Zürich".encode(), "Zürich".encode("latin-1")], ids=["utf-8", "latin-1"])
def test_a_headers_value_matches_however_it_is_encoded_and_comes_back_as_it_was(value: bytes) -> None:
    with open_house(ROUTES.replace("x-priority: high", 'x-priority: "Zür*"')) as house:
        answer = house.chat("auto", headers={"x-priority": value, "x-request-id": value})
        told = [each for name, each in answer.headers.raw if name.lower() == b"x-request-id"]
        assert (answer.headers["x-pointsman-route"], told) == ("urgent", [value])


def test_signals(house: House) -> None:
    body = {"model": "raw", "messages": MESSAGES}
    assert house.http.post("/v1/route?signals=all", json=body).json()["topic"] is not None
    assert house.http.post("/v1/route", json=body).json()["topic"] is None
    assert house.http.post("/v1/route?signals=x", json=body).status_code == 400


def test_what_an_explanation_has(house: House) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "a bug in my code"}]}
    told = house.http.post("/v1/route", json=body).json()
    assert set(told) == {
        "id", "route", "model", "reason", "arm", "topic", "topics", "complexity", "note", "block", "tokens", "candidates", "rules",
        "timings_ms",
    }  # fmt: skip
    assert told["topic"]["name"] == "code"
    assert told["topic"]["score"] >= told["topic"]["threshold"]
    assert {topic["name"] for topic in told["topics"]} == {"code", "weather"}
    assert all(topic["threshold"] == told["topic"]["threshold"] for topic in told["topics"])
    assert [(rule["route"], rule["matched"], rule["models"]) for rule in told["rules"]] == [
        ("urgent", False, ["other"]),
        ("code", True, ["team/slashed"]),
    ]
    assert told["candidates"][0] == {
        "model": "team/slashed",
        "excluded": None,
        "quality": None,
        "correction": None,
        "cost_usd": None,
        "score": None,
        "price": None,
        "targets": ["open/o3-mini"],
    }
    assert set(told["timings_ms"]) == {"embed", "decide", "explain"}
    assert all(ms >= 0 for ms in told["timings_ms"].values())
