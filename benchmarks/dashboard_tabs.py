"""What ten tabs on the page Live cost the gateway: a pass-through with them and without, in turn.

    apt-get install nginx-light wrk chromium
    .venv/bin/python benchmarks/dashboard_tabs.py [--rounds 5] [--json benchmarks/results/dashboard_tabs.json]

The server is that of benchmarks/gateway.py with all features: nginx is its endpoint, wrk its caller. Each tab is a
browser of its own (one browser holds at most six streams to a server, and lets go of those of hidden tabs), signed in
with the admin key, which sees the most. Browsers, wrk and nginx share the machine's processors with the server, so the
bar is on the server's processor time of a request; the load average stands beside it. Exits with 1 when it is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

from bars import finish
from gateway import run_wrk, write_script
from gateway_servers import nginx, routemoa

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, it finds tests/

from tests.browser import Tab, open_browser
from tests.gateway.ui.driving import fill

ADMIN_KEY = "an-admin-key-of-the-benchmark"
MOST_TIMES = 1.1
"""The processor time of a request with tabs, by that without."""
CONNECTED = "document.querySelector('.link.open') !== null"
MODES = ("without", "with")


async def sign_in(tab: Tab, url: str) -> None:
    """Give the tab the admin key, which it keeps until it is closed."""
    await tab.open(f"{url}#/live")
    await tab.wait_until("document.querySelector('#key-admin') !== null")
    await fill(tab, "#key-admin", ADMIN_KEY)
    await tab.evaluate("document.querySelector('#key-admin').form.requestSubmit()")
    await tab.wait_until(CONNECTED, 30)


async def show(tabs: Sequence[Tab], url: str | None) -> None:
    """Open the page Live in all tabs, or an empty page."""
    for tab in tabs:
        await tab.open("about:blank")  # loading the same address again would load nothing
        if url:
            await tab.open(f"{url}#/live")
    for tab in tabs if url else ():
        await tab.wait_until(CONNECTED, 30)


async def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the runs of each kind of response: with tabs and without."""
    runs: dict[str, Any] = {}
    async with AsyncExitStack() as browsers:
        tabs = [await browsers.enter_async_context(open_browser()) for _ in range(args.tabs)]
        with ExitStack() as servers:
            upstreams = servers.enter_context(nginx(folder))
            for kind, upstream in zip(("whole", "streamed"), upstreams, strict=True):
                script = write_script(folder / f"{kind}.lua", stream=kind == "streamed")
                port, process = servers.enter_context(routemoa(folder, upstream, features=True))
                url = f"http://127.0.0.1:{port}/"
                for tab in tabs:
                    await sign_in(tab, url)
                found: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
                await asyncio.to_thread(run_wrk, port, args.connections, 2, script)  # warm
                for number in range(args.rounds):
                    for mode in MODES if number % 2 else reversed(MODES):
                        await show(tabs, url if mode == "with" else None)
                        await asyncio.sleep(1.0)
                        run = await asyncio.to_thread(run_wrk, port, args.connections, args.seconds, script, process)
                        found[mode].append(run)
                        print(f"{kind} {mode}: {run['cpu_ms']:.3f} ms, load {run['load']:.1f}", file=sys.stderr)
                runs[kind] = found
    return runs


def summarize(runs: dict[str, Any]) -> dict[str, Any]:
    """Return medians, and by how much a request takes more of the processor with tabs."""
    out: dict[str, Any] = {}
    for kind, found in runs.items():
        medians = {
            mode: {key: statistics.median(r[key] for r in found[mode]) for key in found[mode][0]} for mode in found
        }
        out[kind] = {**medians, "times": round(medians["with"]["cpu_ms"] / medians["without"]["cpu_ms"], 3)}
    return out


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tabs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["ROUTEMOA_ADMIN_KEY"] = ADMIN_KEY
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory() as folder:
        found = summarize(asyncio.run(measure(args, Path(folder))))
    for kind, of in found.items():
        for mode in MODES:
            r = of[mode]
            print(f"{kind:9}{mode:8} {args.tabs} tabs: {r['cpu_ms']:.3f} ms of the processor a request, "
                  f"{r['per_second']:.0f} requests/s, p50 {r['p50_ms']:.2f} ms, load {r['load']:.1f}")  # fmt: skip
        print(f"{kind:9}times   {of['times']:.3f}")
    missed = [
        f"{kind}: {of['times']} times, not at most {MOST_TIMES}"
        for kind, of in found.items()
        if of["times"] > MOST_TIMES
    ]
    missed += [
        f"{kind}: requests failed" for kind, of in found.items() if of["with"]["failed"] or of["without"]["failed"]
    ]
    finish({"tabs": args.tabs, "rounds": args.rounds, "figures": found, "missed": missed}, args.json)


if __name__ == "__main__":
    main()
