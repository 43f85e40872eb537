"""Pictures of every view, in both themes and at two widths: `python -m tests.ui.screenshots OUT`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import httpx
from playwright.sync_api import Page, expect

from proxy.config import parse_config
from proxy.shipped import shipped
from tests.ui.world import browser, pointsman

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
PROMPT = "Why does my binary search never find the last element?"


def traffic(url: str) -> None:
    """So that Live has something to show."""
    config = parse_config(shipped("routes.yaml").read_text(encoding="utf-8"), source="routes.yaml", environ={})
    texts = [text for topic in config.topics.values() for text in topic.examples[:6]]
    with httpx.Client(base_url=url, timeout=30) as http:
        for text in texts:
            body = {"model": "auto", "messages": [{"role": "user", "content": f"{text} please"}], "max_tokens": 40}
            http.post("/v1/chat/completions", json=body)


def take(page: Page, url: str, out: Path, name: str) -> None:
    """All views of one page."""
    page.goto(f"{url}/ui")
    page.wait_for_selector(".welcome")
    page.screenshot(path=out / f"{name}-empty.png")
    page.fill("#prompt", PROMPT)
    page.wait_for_selector(".verdict")
    page.wait_for_timeout(400)
    page.screenshot(path=out / f"{name}-decided.png")
    page.click("#send")
    expect(page.locator("#rating")).to_be_visible(timeout=20_000)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(400)
    page.screenshot(path=out / f"{name}-try.png", full_page=True)
    page.fill("#prompt", "Which museum in Vienna has the Klimt paintings?")
    expect(page.locator(".verdict")).to_contain_text("everyday")
    page.wait_for_timeout(400)
    page.screenshot(path=out / f"{name}-learned.png", full_page=True)
    page.fill("#prompt", PROMPT)
    for view, ready in (("map", ".here"), ("live", ".decisions tbody tr"), ("models", ".heat, .steps")):
        page.click(f"#tab-{view}")
        page.wait_for_selector(ready, state="attached")
        page.wait_for_timeout(1200)
        page.screenshot(path=out / f"{name}-{view}.png", full_page=True)
        page.screenshot(path=out / f"{name}-{view}-top.png")


@click.command(help=__doc__)
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        pointsman(Path(folder), is_plain=True, pace=0.05) as world,
        browser() as opened,
    ):
        traffic(world.url)
        for size, (width, height) in SIZES.items():
            for theme in ("light", "dark"):
                page = opened.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
                page.on("console", lambda message: print(message.type, message.text))
                page.on("pageerror", lambda error: print("error", error))
                take(page, world.url, out, f"{size}-{theme}")
                page.close()


if __name__ == "__main__":
    main()
