"""The page in a real browser, on a real Pointsman with simulated upstreams."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from urllib.parse import quote

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.ui.world import HOSTILE, LONG, World

CODE = "Why does my binary search never find the last element?"
BODY = {"model": "auto", "messages": [{"role": "user", "content": CODE}]}


def rating_of(world: World, decision: str) -> tuple[float, str | None] | None:
    with closing(sqlite3.connect(world.store)) as connection:
        found: tuple[float, str | None] | None = connection.execute(
            "SELECT rating, comment FROM feedback WHERE decision_id = ?", (decision,)
        ).fetchone()
        return found


def decide(page: Page, text: str, route: str) -> None:
    page.fill("#prompt", text)
    expect(page.locator(".verdict .station").first).to_have_text(route)


def test_what_is_typed_is_decided_as_it_would_be_and_drawn(page: Page, world: World) -> None:
    for model in ("large", "small"):  # so that their latency is known
        httpx.post(f"{world.url}/v1/chat/completions", headers={"x-pointsman-model": model}, json=BODY)
    decide(page, CODE, "code")
    told = httpx.post(
        f"{world.url}/v1/route", json={"model": "auto", "messages": [{"role": "user", "content": CODE}]}
    ).json()
    expect(page.locator(".station.end")).to_have_text(told["model"])
    assert page.locator(".stop").evaluate_all("all => all.map(each => [...each.classList].at(-1))") == [
        "passed", "passed", "taken", "after", "after", "after",
    ]  # fmt: skip
    assert page.locator(".stop-why").all_text_contents() == [rule["why"] for rule in told["rules"]]
    assert page.locator(".bar-name").all_text_contents() == [topic["name"] for topic in told["topics"]]
    mark, fill = page.locator(".bar.holds").evaluate(
        "bar => ['.bar-mark', '.bar-fill'].map((part, place) => {"
        " const box = bar.querySelector(part).getBoundingClientRect(), rail = bar.querySelector('.bar-rail').getBoundingClientRect();"
        " return (place ? box.width : box.x + 1 - rail.x) / rail.width })"
    )
    assert mark == pytest.approx(told["topic"]["threshold"], abs=0.01)
    assert fill == pytest.approx(told["topic"]["score"], abs=0.02)
    expect(page.locator(".target-now .now").first).to_have_text(re.compile(r"\d ms|\d s"))
    decide(page, "Which museum in Vienna has the Klimt paintings?", "everyday")
    assert page.locator("thead th").all_text_contents()[:5] == ["Model", "Quality", "Correction", "Score", "Cost"]


def test_an_answer_streams_in_and_its_rating_is_kept(page: Page, world: World) -> None:
    decide(page, f"{CODE} Streamed.", "code")
    with page.expect_response("**/v1/chat/completions") as answered:
        page.click("#send")
    expect(page.locator("#answer-text")).to_contain_text("This is gpt-4o")
    expect(page.locator("#rating")).to_be_visible()
    facts = dict(
        zip(
            page.locator("#answer-facts dt").all_text_contents(),
            page.locator("#answer-facts dd").all_text_contents(),
            strict=True,
        )
    )
    assert (facts["Route"], facts["Model"], facts["Target"], facts["Attempts"]) == (
        "code",
        "large",
        "openai/gpt-4o",
        "1",
    )
    assert (facts["Ended"], facts["Cost"][0]) == ("stop", "$")
    assert re.fullmatch(r"\d+ in, \d+ out", facts["Tokens"])
    page.fill("#comment", "right")
    page.click("[data-rating=up]")
    expect(page.locator("#rated")).to_contain_text("Kept for code → large: 1")
    decision = answered.value.headers["x-pointsman-id"]
    assert rating_of(world, decision) == (1.0, "right")
    page.click("[data-rating=down]")
    expect(page.locator("#rated")).to_contain_text("in place of the one before")
    assert rating_of(world, decision) == (0.0, "right")


def test_a_stopped_answer_says_so(page: Page) -> None:
    page.set_extra_http_headers({"x-simulate-token-ms": "200"})
    decide(page, f"{CODE} Stopped.", "code")
    page.click("#send")
    expect(page.locator("#answer-text")).not_to_be_empty()
    page.click("#stop")
    expect(page.locator("#answer-error")).to_contain_text("Stopped")
    expect(page.locator("#send")).to_be_enabled()


def test_an_answer_that_breaks_off_says_so_and_keeps_what_came(page: Page) -> None:
    page.set_extra_http_headers({"x-simulate-cut": "6"})
    decide(page, f"{CODE} Broken.", "code")
    page.click("#send")
    expect(page.locator("#answer-error")).to_contain_text("upstream")
    expect(page.locator("#answer-text")).not_to_be_empty()


def test_what_fails_is_told_in_words_and_not_rated(page: Page) -> None:
    page.set_extra_http_headers({"x-simulate-status": "400"})
    decide(page, f"{CODE} Refused.", "code")
    page.click("#send")
    expect(page.locator("#answer-error")).to_be_visible()
    expect(page.locator("#answer-facts")).to_contain_text("Total")
    expect(page.locator("#rating")).to_be_hidden()
    page.evaluate(
        "void (fetch = () => Promise.reject(new TypeError('Failed to fetch')))"
    )  # as of a server that is gone
    page.click("#send")
    expect(page.locator("#answer-error")).to_have_text("This server does not answer. Is it still running?")
    page.click("summary")
    page.fill("#key", "ключ")
    page.click("#send")
    expect(page.locator("#answer-error")).to_have_text("The key has characters that no header can carry.")


def test_an_answer_is_rated_with_the_key_it_was_asked_with(page: Page, world: World) -> None:
    page.click("summary")
    page.fill("#key", " sk-asked ")
    decide(page, f"{CODE} With a key.", "code")
    with page.expect_response("**/v1/chat/completions") as answered:
        page.click("#send")
    assert answered.value.request.headers["authorization"] == "Bearer sk-asked"
    expect(page.locator("#rating")).to_be_visible()
    page.fill("#key", "")
    page.click("[data-rating=up]")
    expect(page.locator("#rated")).to_contain_text("Kept")
    assert rating_of(world, answered.value.headers["x-pointsman-id"]) == (1.0, None)


def test_a_key_may_be_pasted_with_what_is_put_before_it(page: Page) -> None:
    page.click("summary")
    page.fill("#key", " bearer  sk-pasted ")
    with page.expect_request("**/v1/route*") as asked:
        decide(page, f"{CODE} Pasted.", "code")
    assert asked.value.headers["authorization"] == "Bearer sk-pasted"


def test_a_whole_request_goes_as_it_stands(page: Page) -> None:
    body = json.dumps({"model": "reasoner", "seed": 2**63 - 1, "messages": [{"role": "user", "content": "hi"}]})
    with page.expect_request("**/v1/route*") as asked:
        page.fill("#prompt", body)
    assert asked.value.post_data == body
    page.fill("#prompt", '{"model": "auto", "messages": []}')
    expect(page.locator(".refused, .verdict")).to_be_visible()
    page.fill("#prompt", '{"model": "auto", ')
    expect(page.locator("#prompt-note")).to_contain_text("It begins like JSON but is none")
    with page.expect_request("**/v1/chat/completions") as sent:
        page.fill("#prompt", body)
        page.click("#send")
    assert sent.value.post_data == '{"stream":true,"stream_options":{"include_usage":true},' + body[1:]
    expect(page.locator("#rating")).to_be_visible()


def test_each_kind_of_request_is_sent_as_what_it_is(page: Page) -> None:
    kinds: list[tuple[str, dict[str, object]]] = [
        ("responses", {"input": CODE}),
        ("responses", {"input": CODE, "stream": False}),
        ("completions", {"prompt": CODE}),
        ("chat/completions", {"messages": BODY["messages"], "stream": False}),
    ]
    for path, body in kinds:
        decide(page, json.dumps({"model": "auto", **body}), "code")
        with page.expect_request(f"**/v1/{path}"):
            page.click("#send")
        expect(page.locator("#rating")).to_be_visible()
        expect(page.locator("#answer-text")).to_have_text(re.compile(r"^This is gpt-4o.*\.$", re.DOTALL))
        expect(page.locator("#answer-facts")).to_contain_text(
            re.compile(r"Tokens\d+ in, \d+ outCost\$.*Ended(stop|completed)")
        )


def test_hostile_texts_are_text(page: Page) -> None:
    page.set_extra_http_headers({"x-simulate-text": quote(HOSTILE)})
    page.fill("#prompt", HOSTILE)
    expect(page.locator(".verdict")).to_be_visible()
    expect(page.locator(".targets[data-model=reasoner]")).to_contain_text("<script>")
    page.click("#send")
    expect(page.locator("#answer-text")).to_contain_text("<script>")
    expect(page.locator("#rating")).to_be_visible()
    page.fill("#prompt", f"שלום {HOSTILE}")
    expect(page.locator("#prompt")).to_have_attribute("dir", "rtl")
    page.click("#tab-map")
    expect(page.locator(".nearest")).to_contain_text("<script>")
    expect(page.locator(".listed")).to_contain_text("<img src=x")
    page.click("#tab-live")
    expect(page.locator(".targets-list")).to_contain_text("<script>")
    assert page.locator("main img, main script").count() == 0


def test_a_megabyte_of_text_is_decided_on_too(page: Page) -> None:
    page.evaluate(
        "text => { prompt = document.getElementById('prompt'); prompt.value = text; prompt.dispatchEvent(new Event('input')) }",
        "<b>word</b> " * 90_000,
    )
    page.wait_for_selector(".refused")
    assert "No model of route 'long' can serve this request" in page.locator(".refused").inner_text()


def test_the_typed_text_moves_on_the_map(page: Page) -> None:
    page.click("#tab-map")
    page.fill("#map-prompt", CODE)
    here = page.locator(".here")
    expect(here).to_be_visible()
    first = here.get_attribute("data-x")
    page.fill("#map-prompt", "hello, how are you?")
    expect(here).not_to_have_attribute("data-x", first or "")
    expect(page.locator(".nearest-list strong").first).to_have_text("smalltalk")
    page.locator(".point").nth(3).hover()
    expect(page.locator(".tip")).to_contain_text("Fix the off-by-one error in my loop")
    page.locator(".legend").first.click()
    expect(page.locator(".points.t0")).to_be_hidden()
    expect(page.locator(".points.t1")).to_be_visible()
    page.click("#tab-try")
    expect(page.locator("#prompt")).to_have_value("hello, how are you?")


def test_the_map_is_drawn_again_when_the_topics_change(page: Page) -> None:
    """What was drawn is of an old routes.yaml, as after a reload: a place on the new map means nothing on it."""
    answered: list[str] = []

    def aged(route: Route) -> None:
        told = route.fetch().json()
        answered.append(told["revision"])
        route.fulfill(json={**told, "revision": "old"} if len(answered) == 1 else told)

    page.route("**/v1/map", aged)
    page.click("#tab-map")
    page.fill("#map-prompt", CODE)
    expect(page.locator(".here")).to_be_visible()
    expect(page.locator("#map-prompt")).to_be_focused()
    expect(page.locator("#map-prompt")).to_have_value(CODE)
    page.click("#tab-map")
    page.fill("#map-prompt", '{"messages": []}')
    expect(page.locator("#nearest")).to_have_text(re.compile("Not on the map: Missing.*'model'"))
    assert len(answered) == 3


def test_live_shows_a_request_and_nothing_of_its_text(page: Page, world: World) -> None:
    page.click("#tab-live")
    expect(page.locator(".live-status")).to_contain_text("Watching process")
    expect(page.locator(".target.closed")).to_have_count(3)
    body = {"model": "auto", "messages": [{"role": "user", "content": f"{CODE} Secretly."}], "max_tokens": 5}
    answered = httpx.post(f"{world.url}/v1/chat/completions", json=body)
    expect(page.locator(".decisions tbody tr").first).to_contain_text(re.compile("code.*large.*topic.*200"))
    expect(page.locator("#live canvas")).to_have_count(2)
    text = page.locator("#live").inner_text()
    assert "Secretly" not in text
    assert answered.headers["x-pointsman-id"] not in text


def test_live_times_answers_and_not_what_was_turned_away(page: Page) -> None:
    answered = {"time": 1, "route": "code", "model": "large", "status": 200, "seconds": 3.5}
    away = {"time": 1, "status": 503, "seconds": 0.0001, "error": "overloaded"}
    hello = json.dumps({"worker": 1, "last": [answered, away, away, away]})
    told = f"retry: 60000\nevent: hello\ndata: {hello}\n\n"
    page.route("**/v1/live", lambda route: route.fulfill(content_type="text/event-stream", body=told))
    page.click("#tab-live")
    tile = page.locator(".tile", has_text="Answer p50 / p95")
    expect(tile.locator("dd")).to_have_text("3.50 / 3.50 s")
    expect(page.locator(".tile", has_text="Failed").locator("dd")).to_have_text("75%")


def test_models_shows_the_policy(page: Page, world: World) -> None:
    page.click("#tab-models")
    told = httpx.get(f"{world.url}/v1/policy").json()
    expect(page.locator(".heat thead th")).to_have_text(["Region", "small", "large", "reasoner"])
    expect(page.locator(".heat tbody tr")).to_have_count(len(told["regions"]))
    cell = told["regions"][0]["models"][0]
    expect(page.locator(".heat tbody th .note")).to_have_text(
        [
            " · ".join(f"{one['topic']} {one['examples']}" for one in region["topics"][:3])
            + " · …" * (len(region["topics"]) > 3)
            for region in told["regions"]
        ]
    )
    expect(page.locator(".heat-cell").first).to_contain_text(re.compile(f"{cell['quality']:.2f}.*{cell['ratings']}"))


def test_without_topics_and_a_policy_it_says_how_to_get_them(page: Page) -> None:
    page.route("**/v1/map", lambda route: route.fulfill(json={"revision": None, "topics": [], "points": []}))
    page.route("**/readyz", lambda route: route.fulfill(json={"status": "ready", "policy": None}))
    page.click("#tab-map")
    expect(page.locator("#map .welcome")).to_contain_text("There are no topics")
    page.click("#tab-models")
    expect(page.locator("#models .welcome")).to_contain_text("pointsman train --store")


def test_all_of_it_by_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-map")).to_be_focused()
    expect(page.locator("#map-prompt")).to_be_visible()
    page.keyboard.press("Home")
    expect(page.locator("#tab-try")).to_be_focused()
    page.keyboard.press("Tab")
    theme = page.locator("#theme")
    expect(theme).to_be_focused()
    page.keyboard.press("Enter")
    expect(theme).to_have_attribute("aria-label", "Theme: light")
    page.keyboard.press("Tab")
    expect(page.locator("#prompt")).to_be_focused()
    page.keyboard.type("thanks a lot!")
    expect(page.locator(".station.end")).to_have_text("small")
    expect(page.locator("#decision-status")).to_have_text(re.compile("Route simple, model small"))
    page.keyboard.press("Control+Enter")
    expect(page.locator("#rating")).to_be_visible()
    page.locator("[data-rating=up]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#rated")).to_contain_text("Kept")


def test_what_is_announced_is_what_stands_there(page: Page) -> None:
    page.clock.install()
    status = page.locator("#decision-status")
    decide(page, CODE, "code")
    expect(status).to_have_text(re.compile("Route code, model large"))
    page.set_extra_http_headers({"x-pointsman-prefer": "a" * 200})
    page.fill("#prompt", "Which museum in Vienna has the Klimt paintings?")
    expect(page.locator(".refused")).to_contain_text("x-pointsman-prefer")
    expect(status).to_be_empty()
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.set_extra_http_headers({})
    decide(page, CODE, "code")
    page.fill("#prompt", "")
    page.clock.run_for(2000)
    expect(page.locator("#journey .welcome")).to_be_visible()
    expect(status).to_be_empty()


def test_axe_finds_nothing_serious_in_either_theme(page: Page) -> None:
    decide(page, CODE, "code")
    page.click("#send")
    expect(page.locator("#rating")).to_be_visible()
    axe = Axe()
    everything: dict[str, object] = {"resultTypes": ["violations"], "iframes": False}
    colours = {**everything, "runOnly": {"type": "rule", "values": ["color-contrast"]}}
    for view, ready in (
        ("try", ".verdict"),
        ("map", ".here"),
        ("live", ".decisions tbody tr >> nth=0"),
        ("models", ".heat"),
    ):
        page.click(f"#tab-{view}")
        expect(page.locator(ready)).to_be_visible()
        for theme, options in (("light", everything), ("dark", colours)):  # a theme changes nothing else
            page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            assert [
                (each["id"], [node["target"] for node in each["nodes"]])
                for each in axe.run(page, options=options).response["violations"]
                if each["impact"] in ("serious", "critical")
            ] == [], (view, theme)


def test_a_phone_needs_no_sideways_scrolling_and_a_long_name_leaves_room(page: Page) -> None:
    page.set_extra_http_headers({"x-priority": "high"})
    decide(page, CODE, LONG)
    assert page.locator(".stop-why").evaluate_all("all => Math.min(...all.map(each => each.clientWidth))") > 120
    page.set_viewport_size({"width": 320, "height": 640})
    page.click("#send")
    expect(page.locator("#rating")).to_be_visible()
    for view in ("try", "map", "live", "models"):
        page.click(f"#tab-{view}")
        expect(page.locator(f"#{view} > *").first).to_be_visible()
        if view == "live":
            expect(page.locator(".u-legend").first).to_contain_text(LONG)
            expect(page.locator(".chart").first).to_have_attribute("aria-label", re.compile(f"{LONG} \\d"))
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, view


def test_the_bar_at_the_top_never_stands_over_what_has_the_focus(page: Page) -> None:
    page.set_viewport_size({"width": 640, "height": 430})  # a desktop's window at 200%
    decide(page, CODE, "code")
    page.locator(".scroll").focus()
    for _ in range(7):  # back up through the view
        page.keyboard.press("Shift+Tab")
        top, bar = page.evaluate(
            "[document.activeElement, document.querySelector('.top')].map((each, place) => each.getBoundingClientRect()[place ? 'bottom' : 'top'])"
        )
        assert top >= bar
    expect(page.locator("#prompt")).to_be_focused()
