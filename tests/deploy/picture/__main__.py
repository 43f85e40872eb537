"""
Pictures of the dashboards over a demo's traffic: `python -m tests.deploy.picture OUT`.

Grafana's own components draw the files of deploy/grafana, without its server; heatmaps, state timelines and annotations
are not among them. It needs node, npm with its registry, Chromium and Prometheus, and takes ten minutes. `OUT/work`
keeps the npm packages for the next time, and may be deleted.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from playwright.sync_api import Browser, Route

from tests.deploy.picture.world import watched
from tests.deploy.prometheus import DASHBOARDS, Prometheus
from tests.ui.world import browser

HERE = Path(__file__).parent
SECONDS, SHOWN = 500, 360
WIDTH, CELL = 1400, 38  # px; a row of the grid with its gap
TOPS = {"pointsman": 23, "experiments": 26}
"""How many rows of the grid a picture of the top has."""
FONTS = {"Regular": 400, "Medium": 500}
HTML = """<!doctype html><html lang="en"><link rel="stylesheet" href="page.css"><div id="root"></div>
<script type="module" src="page.js"></script>"""


def bundle(work: Path) -> None:
    """Make page.js there."""
    work.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "page.jsx"):
        shutil.copy(HERE / name, work)
    if not (work / "node_modules").exists():
        quiet = ("--no-package-lock", "--no-audit", "--no-fund", "--legacy-peer-deps")
        subprocess.run(("npm", "install", *quiet), cwd=work, check=True)
    # Of both packages the modules for import lack some names, and those for require do not.
    whole = [f"--alias:@grafana/{name}=./node_modules/@grafana/{name}/dist/cjs/index.cjs" for name in ("ui", "data")]
    subprocess.run(
        ("node_modules/.bin/esbuild", "page.jsx", "--bundle", "--format=esm", "--jsx=automatic", "--outfile=page.js",
         '--define:process.env.NODE_ENV="production"', "--define:global=window", "--loader:.ttf=empty",
         "--log-level=error", *whole),
        cwd=work, check=True,
    )  # fmt: skip


def draw(opened: Browser, work: Path, found: Prometheus, name: str, to: float, out: Path) -> None:
    """Two pictures of a dashboard: all of it, and its top."""
    dashboard: dict[str, Any] = json.loads((DASHBOARDS / f"{name}.json").read_text("utf-8"))
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    height = max(place["y"] + place["h"] for place in places) * CELL + 8
    icons = work / "node_modules/@grafana/ui/dist/public/img/icons"
    fonts = {f"Inter-{style}.woff2": f"inter-latin-{weight}-normal.woff2" for style, weight in FONTS.items()}

    def serve(route: Route) -> None:
        path = route.request.url.partition("/picture/")[2].partition("?")[0]
        if not path:
            route.fulfill(body=HTML, content_type="text/html")
        elif "img/icons/" in path:
            route.fulfill(path=icons / path.partition("img/icons/")[2])
        elif "fonts/" in path:
            font = fonts[path.rpartition("/")[2]]
            route.fulfill(path=work / "node_modules/@fontsource/inter/files" / font)
        else:
            route.fulfill(path=work / path)

    page = opened.new_page(viewport={"width": WIDTH, "height": height}, color_scheme="dark")
    page.on("pageerror", lambda error: print("error", error))
    page.route(f"{found.url}/picture/**", serve)
    told = {"dashboard": dashboard, "seconds": SHOWN, "to": to, "scrape": 5}
    page.add_init_script(f"window.picture = {json.dumps(told)}")
    page.goto(f"{found.url}/picture/")
    page.wait_for_selector("body[data-loaded]", timeout=60_000)
    page.wait_for_timeout(2000)  # for what is drawn once more when its size is known
    page.screenshot(path=out / f"{name}.png")
    page.screenshot(
        path=out / f"{name}-top.png", clip={"x": 0, "y": 0, "width": WIDTH, "height": TOPS[name] * CELL + 8}
    )
    page.close()


@click.command(help=__doc__)
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def main(out: Path) -> None:
    work = out / "work"
    bundle(work)
    with tempfile.TemporaryDirectory() as folder, watched(Path(folder), SECONDS) as found, browser() as opened:
        to = (time.time() - 50) // 60 * 60 + 50  # so that no minute's label lies at the edge
        for path in sorted(DASHBOARDS.glob("*.json")):
            draw(opened, work, found, path.stem, to, out)


if __name__ == "__main__":
    main()
