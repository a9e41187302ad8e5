"""Takes the pictures of Live, Traces, Money and Quality in docs/how-to/dashboard.md.

    .venv/bin/python benchmarks/dashboard_pages.py

It needs Chromium and Pillow (which matplotlib brings). What is shown is the traffic of dashboard_traffic.py.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

from dashboard_traffic import (
    BUDGET,
    RECORDS,
    ROOT,
    Endpoints,
    answer_for_two_weeks,
    ask_all,
    read_rows,
    save_small,
    serving,
)

from tests.browser import Tab, open_browser

HEIGHTS = {"live": 900, "traces": 900, "money": 900, "quality": 1300}
SHOWN = "document.querySelector('.figures, .v-box a, .finding') !== null"


async def take_pictures(tab: Tab, url: str, rows: list[dict[str, Any]], out: Path) -> None:
    """Write a picture of each page; questions are being answered meanwhile."""
    asking = asyncio.create_task(ask_all(url, rows, says=False))
    await asyncio.sleep(12.0)
    await tab.set_scheme("light")
    for page, height in HEIGHTS.items():
        await tab.set_size(1280, height)
        await tab.open(f"{url}?{page}#/{page}")
        await tab.wait_until(SHOWN, 30)
        await tab.wait_until("!document.querySelector('main').innerText.includes('reading ')", 30)
        await asyncio.sleep(2.0)
        save_small(await tab.picture(), out / f"dashboard-{page}.webp", 960)
    asking.cancel()


async def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    rows = read_rows(options.records)
    endpoints = Endpoints(rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await answer_for_two_weeks(endpoints, rows, folder)
        async with endpoints.open(0.01) as tables, serving(tables + BUDGET, folder) as url, open_browser() as tab:
            await take_pictures(tab, url, rows[:60], options.out)


if __name__ == "__main__":
    asyncio.run(main())
