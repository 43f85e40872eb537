"""GET /ui, /v1/map and /v1/live, without a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.app import build_app
from proxy.reload.source import ConfigSource
from proxy.telemetry.watchers import KEPT, MOST, Watcher
from tests.relay.wire import MESSAGES, ROUTES, House, word_model
from tests.relay.wire import house as open_house
from tests.serving import serving

TOPICAL = "a bug in my code"


@contextmanager
def watching(house: House) -> Iterator[Iterator[dict[str, Any]]]:
    """What /v1/live tells, each event's data; the first one is the greeting."""
    with httpx.stream("GET", f"{house.http.base_url}/v1/live".replace("//v1", "/v1"), timeout=20) as live:
        assert live.status_code == 200, live.read()
        assert live.headers["content-type"] == "text/event-stream"
        yield (json.loads(line[6:]) for line in live.iter_lines() if line.startswith("data: "))


def test_the_page_comes_with_headers_that_keep_it_to_itself(house: House) -> None:
    page = house.http.get("/ui")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'",
        "img-src": "'self'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
    }  # fmt: skip
    assert (page.headers["x-content-type-options"], page.headers["referrer-policy"]) == ("nosniff", "no-referrer")
    again = house.http.get("/ui", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert house.http.get("/ui/main.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert house.http.get("/ui/vendor/uplot.css").status_code == 200
    assert (moved := house.http.get("/ui/")).status_code == 308
    assert moved.headers["location"] == "../ui"


@pytest.mark.parametrize(
    "path", ["/ui/nothing.js", "/ui/../app.py", "/ui/%2e%2e/app.py", "/ui/vendor", "/ui//etc/passwd"]
)
def test_nothing_else_is_served(house: House, path: str) -> None:
    told = house.http.get(path)
    assert (told.status_code, told.json()["error"]["code"]) == (404, "unknown_url")


def test_the_map_has_each_example_and_finds_it_again(house: House) -> None:
    told = house.http.get("/v1/map").json()
    assert told == house.http.get("/v1/map").json()
    names = [topic["name"] for topic in told["topics"]]
    assert len(told["points"]) == sum(topic["examples"] for topic in told["topics"]) > 0
    for point in told["points"]:
        body = {"model": "auto", "messages": [{"role": "user", "content": point["text"]}]}
        place = house.http.post("/v1/route?signals=all&map=1", json=body).json()["map"]
        assert (place["x"], place["y"]) == (pytest.approx(point["x"], abs=1e-3), pytest.approx(point["y"], abs=1e-3))
        assert (place["nearest"][0]["text"], place["nearest"][0]["topic"]) == (point["text"], names[point["topic"]])
    assert house.http.post("/v1/route?map=yes", json={"messages": MESSAGES}).status_code == 400
    assert "map" not in house.http.post("/v1/route", json={"model": "auto", "messages": MESSAGES}).json()


def test_live_tells_a_request_but_neither_its_text_nor_what_could_rate_it(house: House) -> None:
    with watching(house) as events:
        hello = next(events)
        assert set(hello) == {"worker", "last"}
        secret = f"{TOPICAL} and a secret"
        body = {"model": "auto", "messages": [{"role": "user", "content": secret}], "user": "whoever"}
        answered = house.http.post("/v1/chat/completions", json=body, headers={"x-request-id": "mine"})
        seen = next(event for event in events if event.get("route") == answered.headers["x-pointsman-route"])
    assert (seen["model"], seen["status"], seen["topic"]) == (answered.headers["x-pointsman-model"], 200, "code")
    for hidden in ("secret", "whoever", "mine", answered.headers["x-pointsman-id"]):
        assert hidden not in json.dumps(seen)
    assert not seen.keys() & {"id", "request_id", "path", "requested"}, "a path may have the name of a stored answer"
    with watching(house) as events:
        assert next(events)["last"][-1] == seen


def test_watchers_are_bounded_and_their_places_come_free(house: House) -> None:
    with ExitStack() as stack:
        watchers = [stack.enter_context(watching(house)) for _ in range(MOST)]
        assert all("worker" in next(events) for events in watchers)
        refused = house.http.get("/v1/live")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    for _ in range(200):
        try:
            with watching(house) as events:
                next(events)
            return
        except AssertionError:
            continue
    raise AssertionError("no place came free")


def test_a_watcher_that_takes_nothing_is_let_go_and_holds_no_more_than_it_may() -> None:
    watcher, seen = Watcher(), object()
    for _ in range(KEPT):
        watcher.tell(seen)  # type: ignore[arg-type]
    assert not watcher.is_behind
    watcher.tell(seen)  # type: ignore[arg-type]
    assert watcher.is_behind
    assert len(watcher._news) == KEPT


def test_the_stream_of_such_a_watcher_ends_in_order(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.telemetry.watchers.KEPT", 0)
    with httpx.stream("GET", f"{house.url}/v1/live", timeout=5) as live:
        lines = live.iter_lines()
        assert next(lines) == "retry: 1000"
        assert house.chat().status_code == 200
        list(lines)


def test_who_watches_keeps_no_old_configuration(tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"

    def write(text: str) -> None:
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(routes)

    text = 'version: 1\nupstreams: {up: {base_url: "http://127.0.0.1:9/v1"}}\nmodels: {m: {target: {upstream: up, name: m}, price: {input: 1, output: 2}}}\n'
    write(text + "default: m\n")
    source = ConfigSource(routes, {})
    app = build_app(source.load(), load_model=word_model, source=source, poll_s=0.01)
    with serving(app) as served, httpx.stream("GET", f"{served.url}/v1/live", timeout=10) as live:
        lines = live.iter_lines()
        assert next(lines) == "retry: 1000"
        write(text + "default: m\nbaseline: m\n")
        list(lines)  # to its orderly end


def test_ui_false_leaves_nothing_of_it() -> None:
    with open_house(ROUTES + "ui: false\n") as house:
        for path in ("/ui", "/ui/main.js", "/v1/map", "/v1/live"):
            told = house.http.get(path)
            assert (told.status_code, told.json()["error"]["code"]) == (404, "unknown_url")
        body = {"model": "auto", "messages": MESSAGES}
        assert house.http.post("/v1/route?map=1", json=body).status_code == 404
        assert house.http.post("/v1/route", json=body).status_code == 200
