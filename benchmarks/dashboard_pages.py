"""Takes the pictures of Live, Traces, Money, Quality and Pool in docs/how-to/dashboard.md.

    .venv/bin/python benchmarks/dashboard_pages.py

It needs Chromium and Pillow (which matplotlib brings). What is shown is the traffic of dashboard_traffic.py.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
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

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, it finds tests/

from tests.browser import Tab, open_browser
from tests.gateway.ui.driving import fill

HEIGHTS = {"live": 900, "traces": 900, "money": 900, "quality": 1300}
ADMIN_KEY = "an-admin-key-for-a-picture"
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


async def take_pool_picture(tab: Tab, url: str, out: Path) -> None:
    """Write a picture of the page Pool with the admin key, while the file is edited."""
    script = f"sessionStorage.setItem('routemoa.admin-key', '{ADMIN_KEY}')"
    await tab.send("Page.addScriptToEvaluateOnNewDocument", source=script)
    await tab.set_size(1280, 1300)
    await tab.open(f"{url}?pool#/pool")
    await tab.wait_until("document.querySelector('#pool-text') !== null", 30)
    text = await tab.evaluate("document.querySelector('#pool-text').value")
    await fill(tab, "#pool-text", text.replace('prefer = "quality"', 'prefer = "balanced"\ntarget = 0.8'))
    await tab.wait_until("document.querySelector('.pool-check.good') !== null", 30)
    save_small(await tab.picture(), out / "dashboard-pool.webp", 960)


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
        async with (
            endpoints.open(0.01) as tables,
            serving(tables + BUDGET, folder, ROUTEMOA_ADMIN_KEY=ADMIN_KEY) as url,
            open_browser() as tab,
        ):
            await take_pool_picture(tab, url, options.out)


if __name__ == "__main__":
    asyncio.run(main())
