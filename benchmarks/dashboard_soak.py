"""A day in a tab, faster: the page Live is told more often than it ever is, and its memory must not grow.

    apt-get install chromium
    .venv/bin/python benchmarks/dashboard_soak.py [--times 20] [--minutes 5] [--json FILE]

The server is `routemoa serve` with the clock of its page sped up: it looks `times` as often, and ends each stream after
so much shorter a time, so that the page opens it again as often. Questions are asked all the while, so each moment is
a new one. After a quarter of the time as warm-up, what the page holds after a collection of garbage is taken ten times;
the bar is on the last three by the first three. Exits with 1 when it is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from bars import finish
from dashboard_traffic import serving

from routemoa.testing import FakeEndpoint, Fault

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, it finds tests/

from tests.browser import Tab, open_browser

PROGRAM = """
import routemoa.gateway.ui.live as live
live.TICK /= {times}
live.STREAM_SECONDS /= {times}
from routemoa.cli import main
main()
"""
MODEL = '[[model]]\nname = "{}"\nendpoint = "{}"\nprior = 0.6\ninput_price = 1.0\noutput_price = 1.0\n'
SAMPLES = 10
MOST_TIMES = 1.1
"""What the page holds at the end, by what it held after the warm-up."""
COUNT = """(() => { const fetched = window.fetch; window.opened = 0;
  window.fetch = (...all) => { if (String(all[0]).includes('ui/api/live')) window.opened++; return fetched(...all); };
  window.changes = 0; new MutationObserver(() => window.changes++)
    .observe(document.querySelector('main'), {subtree: true, childList: true, characterData: true}); })()"""


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[None]:
    """Ask one question after the other."""

    async def ask() -> None:
        body = {"model": "routemoa", "messages": [{"role": "user", "content": "What is 2 + 2?"}], "stream": True}
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.post(f"{url}v1/chat/completions", json=body) as reply:
                    await reply.read()
                await asyncio.sleep(0.05)

    task = asyncio.create_task(ask())
    try:
        yield
    finally:
        task.cancel()


async def weigh(tab: Tab) -> dict[str, float]:
    """Return what the page holds: bytes of JavaScript, nodes, listeners; how often it has changed and connected."""
    await tab.send("HeapProfiler.collectGarbage")
    metrics = {m["name"]: m["value"] for m in (await tab.send("Performance.getMetrics"))["metrics"]}
    counted = await tab.evaluate("[window.changes, window.opened]")
    tab.events.clear()
    return {
        "megabytes": round(metrics["JSHeapUsedSize"] / 1e6, 3),
        "nodes": metrics["Nodes"],
        "listeners": metrics["JSEventListeners"],
        "changes": counted[0],
        "opened": counted[1],
    }


async def soak(times: float, seconds: float, folder: Path) -> list[dict[str, float]]:
    """Return what the page holds, from the warm-up to the end."""
    async with FakeEndpoint("The answer is 4.", Fault(between=0.01)) as member, open_browser() as tab:
        tables = "".join(MODEL.format(name, member.url) for name in ("a", "b", "c"))
        async with serving(tables, folder, PROGRAM.format(times=times)) as url, asking(url):
            await tab.set_size(1280)
            await tab.open(f"{url}#/live")
            await tab.wait_until("document.querySelector('.link.open') !== null", 60)
            await tab.send("Performance.enable")
            await tab.evaluate(COUNT)
            await asyncio.sleep(seconds / 4)
            found = [await weigh(tab)]
            for _ in range(SAMPLES - 1):
                await asyncio.sleep(0.75 * seconds / (SAMPLES - 1))
                found.append(await weigh(tab))
                print(found[-1], f"load {os.getloadavg()[0]:.1f}", flush=True)
            return found


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=float, default=20.0)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(soak(args.times, 60.0 * args.minutes, Path(folder)))
    grown = {
        name: round(statistics.median(f[name] for f in found[-3:]) / statistics.median(f[name] for f in found[:3]), 3)
        for name in ("megabytes", "nodes", "listeners")
    }
    print(f"{found[-1]['opened']:.0f} streams in {args.minutes:g} minutes; at the end, times what it held: {grown}")
    missed = [f"{name}: {times} times, not at most {MOST_TIMES}" for name, times in grown.items() if times > MOST_TIMES]
    known: dict[str, Any] = {"times": args.times, "minutes": args.minutes, "samples": found, "grown": grown}
    finish({**known, "missed": missed}, args.json)


if __name__ == "__main__":
    main()
