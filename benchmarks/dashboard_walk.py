"""Records the walk through the dashboard that the README shows, and the pictures of docs/how-to/dashboard.md.

    .venv/bin/python benchmarks/dashboard_walk.py

It needs Chromium and Pillow (which matplotlib brings). One question is asked while the members stream recorded answers
at about 60 tokens a second; before it stands the traffic of dashboard_traffic.py. Everything else is what
`routemoa serve` does.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from dashboard_traffic import (
    BUDGET,
    QUESTIONS,
    RECORDS,
    ROOT,
    Endpoints,
    answer_for_two_weeks,
    ask_all,
    read_rows,
    save_small,
    serving,
)
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, it finds tests/

from tests.browser import Tab, open_browser
from tests.gateway.ui.driving import click, fill

QUESTION = "math-l5-157"
ALL = 1_000
SECONDS_PER_PIECE = 0.017
FRAME_SECONDS = 0.25
WIDTH, HEIGHT = 1100, 760
WORSE = "document.querySelector('.finding + .finding')"
LOADING = "Loading|reading "
LINKS = "document.querySelectorAll('nav a')"
DONE = "document.querySelector('.costs .taken') !== null && document.querySelector('.groups li') !== null"


class Film:
    """Pictures of a tab, as they would be seen: one for each quarter of a second."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self.frames: list[Image.Image] = []

    async def record_until(self, expression: str) -> None:
        """Take pictures until an expression is true of the page."""
        while not await self._tab.evaluate(expression):
            began = asyncio.get_running_loop().time()
            await self.take()
            await asyncio.sleep(max(0.0, began + FRAME_SECONDS - asyncio.get_running_loop().time()))

    async def take(self, times: int = 1) -> None:
        """Take one picture, which stays for so many frames."""
        data = await self._tab.picture()
        self.frames += [Image.open(io.BytesIO(data)).convert("RGB")] * times

    def save(self, file: Path) -> None:
        """Write an animation."""
        first, *rest = [frame.resize((WIDTH * 7 // 10, HEIGHT * 7 // 10)) for frame in self.frames]
        first.save(
            file,
            save_all=True,
            append_images=rest,
            duration=int(1000 * FRAME_SECONDS),
            loop=0,
            quality=60,
            kmax=6,
            method=6,
        )


async def walk(tab: Tab, url: str, question: str, others: list[dict[str, Any]], out: Path) -> None:
    """Ask, watch, judge again, and look at the other pages while `others` are asked."""
    await tab.set_size(WIDTH, HEIGHT)
    await tab.set_scheme("light")
    await tab.open(url)
    await tab.wait_until("document.querySelector('main h1') !== null")
    film = Film(tab)
    await film.take(4)
    await fill(tab, ".turns textarea", question)
    await film.take(4)
    await click(tab, "Ask")
    await film.record_until("document.querySelector('.layer') !== null")
    await tab.evaluate("document.querySelector('.columns').scrollIntoView()")
    await film.record_until(DONE)
    await film.take(8)
    await take_pictures(tab, out)
    await tab.set_size(WIDTH, HEIGHT)
    await tab.evaluate("document.querySelector('.again-panel summary').click()")
    await tab.evaluate("document.querySelector('.columns').scrollIntoView()")
    await film.take(4)
    for weight in (0.6, 0.3, 0.0, 1.5, 3.0):
        await fill(tab, ".slider:nth-of-type(3) input", str(weight))
        await asyncio.sleep(0.6)
        await film.take(3)
    asking = asyncio.create_task(ask_all(url, others, says=False))
    await asyncio.sleep(10.0)
    for place in range(1, await tab.evaluate(f"{LINKS}.length")):
        await show_page(tab, place)
        await film.take(8)
        if await tab.evaluate(f"{WORSE} !== null"):
            await tab.evaluate(f"{WORSE}.scrollIntoView()")
            await film.take(8)
    asking.cancel()
    film.save(out / "dashboard-walk.webp")


async def show_page(tab: Tab, place: int) -> None:
    """Open the page at a place of the navigation."""
    await tab.evaluate(f"window.scrollTo(0, 0); {LINKS}[{place}].click()")
    await tab.wait_until(f"!/{LOADING}/.test(document.querySelector('main').innerText)", 30)
    await asyncio.sleep(1.0)


async def take_pictures(tab: Tab, out: Path) -> None:
    """Write the pictures of the page in both schemes and on a phone."""
    for name, width, scheme in (("playground", 1280, "light"), ("playground-dark", 1280, "dark")):
        await tab.set_size(width, 1000)
        await tab.set_scheme(scheme)
        await asyncio.sleep(0.4)
        save_small(await tab.picture(), out / f"dashboard-{name}.webp", 960)
    await tab.set_size(380, 800)
    await tab.evaluate("document.querySelector('.final').scrollIntoView()")
    save_small(await tab.picture(), out / "dashboard-phone.webp", 380)
    await tab.set_scheme("light")


async def main() -> None:
    """Record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    rows = read_rows(options.records, count=ALL)
    endpoints = Endpoints(rows)
    (asked,) = (row["query"] for row in rows if row["id"] == QUESTION)
    before = [row for row in rows if row["id"] != QUESTION][:QUESTIONS]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await answer_for_two_weeks(endpoints, before, folder)
        async with (
            endpoints.open(SECONDS_PER_PIECE, first=0.4) as tables,
            serving(tables + BUDGET, folder) as url,
            open_browser() as tab,
        ):
            await walk(tab, url, asked, before[:60], options.out)


if __name__ == "__main__":
    asyncio.run(main())
