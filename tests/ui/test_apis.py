"""The page where models speak Anthropic's API, alone or beside OpenAI's."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.relay.wire import house

ANTHROPIC = """
version: 1
upstreams:
  anthropic: {base_url: "${SIM}/anthropic/v1", protocol: anthropic}
models:
  haiku: {target: {upstream: anthropic, name: claude-haiku}, price: {input: 1, output: 5}}
  opus: {target: {upstream: anthropic, name: claude-opus}, price: {input: 5, output: 25}}
default: haiku
routes: [{name: proofs, when: {text: {contains: [prove]}}, use: opus}]
store: none
"""
BOTH = ANTHROPIC.replace(
    "models:\n",
    '  openai: {base_url: "${SIM}/openai/v1"}\nmodels:\n  gpt: {target: {upstream: openai, name: gpt-4o}}\n',
)
TOOL = {"name": "look_up", "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}}}


@pytest.mark.parametrize("is_streamed", [True, False])
def test_where_all_models_speak_anthropics_api_the_page_is_a_client_of_it(tab: Page, is_streamed: bool) -> None:
    body = {"model": "auto", "max_tokens": 4096, "stream": False, "messages": [{"role": "user", "content": "prove it"}]}
    with house(ANTHROPIC) as served:
        tab.goto(f"{served.url}/ui")
        expect(tab.locator("#protocol")).to_be_hidden()
        tab.click("summary")
        tab.fill("#key", "sk-ant")
        tab.fill("#prompt", "prove it" if is_streamed else json.dumps(body))
        expect(tab.locator(".verdict .station")).to_have_text(["proofs", "opus"])
        with tab.expect_request("**/v1/messages") as sent:
            tab.click("#send")
        assert sent.value.headers["x-api-key"] == "sk-ant"
        assert "authorization" not in sent.value.headers
        assert json.loads(sent.value.post_data or "")["max_tokens"] == 4096
        expect(tab.locator("#answer-text")).to_have_text(re.compile(r"^This is claude-opus.*\.$", re.DOTALL))
        expect(tab.locator("#answer-facts")).to_contain_text(
            re.compile(r"Tokens[1-9]\d* in, [1-9]\d+ outCost\$.*Ended(end_turn|max_tokens)")
        )
        expect(tab.locator("#answer-error")).to_be_hidden()


def test_what_a_cache_has_to_do_with_costs_its_own_price(tab: Page) -> None:
    prices = "{input: 1, cached_input: 0.1, cache_write: 1.25, output: 5}"
    usage = {"input_tokens": 1_000, "cache_read_input_tokens": 10_000, "cache_creation_input_tokens": 20_000}
    answer = {"type": "message", "content": [], "usage": {**usage, "output_tokens": 400}}
    with house(ANTHROPIC.replace("{input: 1, output: 5}", prices)) as served:
        tab.route("**/v1/messages", lambda route: route.fulfill(json=answer, headers={"x-pointsman-model": "haiku"}))
        tab.goto(f"{served.url}/ui")
        tab.fill("#prompt", "hi")
        expect(tab.locator(".verdict .station").last).to_have_text("haiku")
        tab.click("#send")
        # 1,000 at 1, 10,000 at 0.1, 20,000 at 1.25 and 400 at 5 USD per million
        expect(tab.locator("#answer-facts")).to_contain_text("Tokens31,000 in, 400 outCost$0.029")


def test_a_tools_call_is_shown(tab: Page) -> None:
    with house(ANTHROPIC) as served:
        tab.goto(f"{served.url}/ui")
        for stream in (True, False):
            body = {
                "model": "auto", "max_tokens": 50, "stream": stream, "tools": [TOOL],
                "tool_choice": {"type": "any"}, "messages": [{"role": "user", "content": "hi"}],
            }  # fmt: skip
            tab.fill("#prompt", json.dumps(body))
            tab.click("#send")
            expect(tab.locator("#answer-facts")).to_contain_text("Endedtool_use")
            expect(tab.locator("#answer-text")).to_contain_text("look_up")
            expect(tab.locator("#send")).to_be_enabled()


def test_where_models_of_both_are_there_either_may_be_asked_for(tab: Page) -> None:
    with house(BOTH) as served:
        tab.goto(f"{served.url}/ui")
        tab.fill("#prompt", "hello")
        expect(tab.locator(".station.end")).to_have_text("gpt")
        tab.locator("#protocol").select_option("Anthropic's")
        expect(tab.locator(".station.end")).to_have_text("haiku")
        with tab.expect_request("**/v1/messages"):
            tab.click("#send")
        expect(tab.locator("#answer-text")).to_contain_text("This is claude-haiku")
        expect(tab.locator("#send")).to_be_enabled()
        tab.locator("#protocol").select_option("OpenAI's")
        expect(tab.locator(".station.end")).to_have_text("gpt")
        with tab.expect_request("**/v1/chat/completions"):
            tab.click("#send")
        expect(tab.locator("#answer-text")).to_contain_text("This is gpt-4o")
