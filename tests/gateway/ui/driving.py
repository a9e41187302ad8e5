"""How the tests use the page: as a person does, by its names."""

from __future__ import annotations

import json
from pathlib import Path

from tests.browser import Tab

__all__ = ["OVERFLOW", "check_readable", "check_whole", "click", "fill"]

AXE = Path(__file__).parents[3] / "ui" / "node_modules" / "axe-core" / "axe.min.js"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SHIFTED = """[...document.querySelectorAll('table')].flatMap(table => {
  const seen = row => [...row.cells].filter(c => getComputedStyle(c).display !== 'none')
    .reduce((sum, cell) => sum + cell.colSpan, 0);
  const heads = table.tHead === null ? [] : [...table.tHead.rows].slice(-1);
  const rows = [...table.rows].filter(r => r.parentElement !== table.tHead
    && getComputedStyle(r).display === 'table-row');
  return heads.flatMap(head => rows.filter(r => seen(r) !== seen(head)).map(r => r.innerText.slice(0, 80))); })"""
"""The rows of which more or fewer cells are shown than columns have a head: their figures stand under wrong heads."""
FAULTS = """axe.run(document, {resultTypes: ['violations']}).then(found => found.violations
  .filter(v => ['serious', 'critical'].includes(v.impact))
  .map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 120)).join(' | ')))"""

WIDTHS = {3840: (), 380: ("light",), 1280: ("light", "dark")}
"""Pixels -> the schemes in which axe looks: colours do not depend on the width."""
FILL = """((selector, text) => {{ const field = document.querySelector(selector);
  Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), 'value').set.call(field, text);
  field.dispatchEvent(new Event('input', {{bubbles: true}}));
  field.dispatchEvent(new Event('change', {{bubbles: true}})); }})({}, {})"""


async def fill(tab: Tab, selector: str, text: str) -> None:
    await tab.evaluate(FILL.format(json.dumps(selector), json.dumps(text)))


async def click(tab: Tab, name: str) -> None:
    """Click the button, the link or the summary that is called so."""
    found = (
        f"[...document.querySelectorAll('button, a, summary')].find(e => e.textContent.trim() === {json.dumps(name)})"
    )
    await tab.wait_until(f"{found} !== undefined")
    await tab.evaluate(f"{found}.click()")


async def check_whole(tab: Tab, name: str) -> None:
    """Check an open page from a phone to 4K: nothing is cut off, and all can read it, in light and dark."""
    for width, schemes in WIDTHS.items():
        await tab.set_size(width)
        assert await tab.evaluate(OVERFLOW) <= 0, f"{name} at {width} px: the page itself scrolls sideways"
        assert await tab.evaluate(SHIFTED) == [], f"{name} at {width} px: cells stand under the heads of others"
        for scheme in schemes:
            await tab.set_scheme(scheme)
            await check_readable(tab)


async def check_readable(tab: Tab) -> None:
    """Check that axe finds no serious fault, where it is installed."""
    if AXE.exists():
        if await tab.evaluate("window.axe === undefined"):
            await tab.evaluate(AXE.read_text() + "; 0")
        assert await tab.evaluate(FAULTS) == []
