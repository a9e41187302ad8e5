"""Thousands of traces scroll and are searched without delay; the page Live goes on after the server was away."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from routemoa.core.tables.traces_table import TraceSettings
from routemoa.core.trace import Answer, Layer, Proposal, Trace
from routemoa.core.types import Message, Query
from routemoa.core.usage import Usage
from routemoa.ledger.trace_store.traces import TraceStore
from routemoa.testing import FakeEndpoint
from tests.browser import Tab, needs_browser
from tests.gateway.ui.conftest import HOSTILE, PageServer
from tests.gateway.ui.driving import check_whole, click, fill
from tests.gateway.ui.test_browser import ask, open_page

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]

TRACES = 10_000
FOUND = "document.querySelector('[role=status]').innerText"
SCROLL = """(async () => { const box = document.querySelector('.v-box'); const began = performance.now();
  let frames = 0, most = 0;
  while (performance.now() - began < 1500) { await new Promise(requestAnimationFrame); frames++; box.scrollTop += 120;
    most = Math.max(most, document.querySelectorAll('.v-box .v-row').length); }
  return {frames: frames / 1.5, most, top: box.scrollTop}; })()"""
SCROLL_SECONDS = 1.5
SELECT = """(async (label, value) => { const field = [...document.querySelectorAll('.filters label')]
    .find(each => each.innerText.startsWith(label)).querySelector('select');
  const before = {found}; field.value = value; const began = performance.now();
  field.dispatchEvent(new Event('change', {bubbles: true}));
  while ({found} === before && performance.now() - began < 3000) await new Promise(requestAnimationFrame);
  return performance.now() - began; })""".replace("{found}", FOUND)
LIVE = "/ui/api/live"
SET_HIDDEN = """(hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
  document.dispatchEvent(new Event('visibilitychange')); })"""


def fill_store(path: Path) -> None:
    """Write many traces, of which every third differs."""
    TraceStore(path, TraceSettings()).close()

    def pack(other: str) -> bytes:
        texts = ("The answer is 4.", other)
        proposals = tuple(Proposal(n, t, Usage(9, 9), 1.0, 0.001) for n, t in zip(("fast", "odd"), texts, strict=True))
        query = Query((Message("user", "What is 2 + 2, all in all?"),))
        trace = Trace(query, "routemoa", layers=(Layer(proposals=proposals),), choice="fast", calls=2, cost=0.002)
        return zlib.compress(msgspec.json.encode(Answer("4", trace)))

    packed = [pack("The answer is 4."), pack("4"), pack("The answer is 5.")]
    rows = [(f"{i:032x}", 1.79e9 + i, "routemoa", packed[i % 3]) for i in range(TRACES)]
    with sqlite3.connect(path) as connection:
        columns = "(id, at, method, choice, calls, cost, bytes, answer)"
        connection.executemany(f"INSERT INTO traces {columns} VALUES (?,?,?,'fast',2,0.002,9,?)", rows)
    connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def full(tmp_path_factory: Any) -> AsyncIterator[PageServer]:
    """A server with many traces."""
    folder = tmp_path_factory.mktemp("full")
    fill_store(folder / "store-traces.db")
    upstream = FakeEndpoint("never asked")
    upstream.url = "http://127.0.0.1:9/v1"
    server = PageServer(folder, upstream)
    await asyncio.to_thread(server.start)
    yield server
    server.stop()


@pytest.mark.alone
async def test_ten_thousand_traces_scroll_and_are_filtered_at_once(tab: Tab, full: PageServer) -> None:
    await tab.set_size(1280)
    await open_page(tab, full, "traces")
    await tab.wait_until(f"{FOUND} === '10,000'", 60)
    await tab.send("Performance.enable")
    before = await read_processor_seconds(tab)
    scrolled = await tab.evaluate(SCROLL)
    spent = await read_processor_seconds(tab) - before
    # A machine that does other work shows fewer frames; the processor time of one does not depend on it.
    assert scrolled["frames"] >= 50 or spent / (SCROLL_SECONDS * scrolled["frames"]) < 1 / 50
    assert scrolled["most"] < 60, "only the rows in view exist"
    assert scrolled["top"] > 1_000
    waits = [await tab.evaluate(f"{SELECT}('Panel', {json.dumps(value)})") for value in ("differed", "agreed", "")]
    assert min(waits) < 100, waits
    await tab.evaluate(f"{SELECT}('Panel', 'differed')")
    assert await tab.evaluate(FOUND) == "3,333 of 10,000"
    assert not tab.problems(full.origin)


async def test_a_trace_is_found_opened_and_compared(tab: Tab, page: PageServer) -> None:
    await tab.set_size(1280)
    for question in ("Be hostile: what is 2 + 2?", "What is 2 + 2 in Rome, hostile one?"):
        await ask(tab, page, question)
    await open_page(tab, page, "traces")
    await fill(tab, ".filters input[type=search]", "in rome")
    await tab.wait_until("document.querySelectorAll('.v-box .v-row').length === 1")
    await click(tab, "What is 2 + 2 in Rome, hostile one?")
    await tab.wait_until("document.querySelector('.similar tbody tr') !== null")
    assert "Be hostile" in await tab.evaluate("document.querySelector('.similar').innerText")
    assert HOSTILE.partition(" \x1b")[0] in await tab.evaluate("document.querySelector('.final').innerText")
    assert await tab.evaluate("window.taken") is None
    assert not tab.problems(page.origin)


async def test_pages_with_something_to_show_are_whole_as_well(tab: Tab, page: PageServer) -> None:
    await ask(tab, page, "What is 2 + 2?")
    for name, shown in (("traces", ".v-box a"), ("money", "table.ledger"), ("live", "table.ledger")):
        await open_page(tab, page, name)
        await tab.wait_until(f"document.querySelector({json.dumps(shown)}) !== null")
        await check_whole(tab, name)
    assert not tab.problems(page.origin)


async def test_live_rests_while_hidden_and_goes_on_after_the_server_was_away(tab: Tab, page: PageServer) -> None:
    await open_page(tab, page, "live")
    await tab.wait_until("document.querySelector('.link.open') !== null")
    assert count_streams(tab) == (1, 0)
    await tab.evaluate(f"{SET_HIDDEN}(true)")
    while count_streams(tab) != (1, 1):
        await tab.wait_until("true")  # it takes what the browser tells meanwhile
    await tab.evaluate(f"{SET_HIDDEN}(false)")
    await tab.wait_until("document.querySelector('.link.open') !== null")
    page.stop()
    await tab.wait_until("document.querySelector('.link.waiting') !== null", 20)
    for name in ("traces", "live"):
        await tab.evaluate(f"location.hash = '#/{name}'")
        await tab.wait_until("document.querySelector('main').innerText.includes('cannot be reached')", 20)
    assert await tab.evaluate("document.querySelector('.link.open')") is None, "a server that is away is not live"
    await asyncio.to_thread(page.start)
    await tab.wait_until("document.querySelector('.link.open') !== null", 20)
    begun, ended = count_streams(tab)
    assert begun - ended == 1, "one stream at a time"
    tab.events.clear()  # the browser logs that the server was away


async def read_processor_seconds(tab: Tab) -> float:
    """Return what the page's process has used of a processor so far."""
    metrics = (await tab.send("Performance.getMetrics"))["metrics"]
    return float(next(m["value"] for m in metrics if m["name"] == "ProcessTime"))


def count_streams(tab: Tab) -> tuple[int, int]:
    """Return how many streams were opened since the page was loaded, and how many of them have ended."""
    asked = [m["params"] for m in tab.events if m.get("method") == "Network.requestWillBeSent"]
    opened = {p["requestId"] for p in asked if p["request"]["url"].endswith(LIVE)}
    ends = ("Network.loadingFailed", "Network.loadingFinished")
    ended = {m["params"]["requestId"] for m in tab.events if m.get("method") in ends}
    return len(opened), len(opened & ended)
