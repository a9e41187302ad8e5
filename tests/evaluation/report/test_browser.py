"""The report in a real browser: nothing logged, nothing fetched, nothing cut off, in light, in dark and on paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from routemoa.evaluation.outcomes import Outcome, Run
from routemoa.evaluation.report.figures import build_report
from routemoa.evaluation.report.page import render
from routemoa.evaluation.statistics import summarize
from tests.browser import needs_browser, open_browser
from tests.evaluation.report.test_figures import HOSTILE, replay_run, unfinished_run

pytest.importorskip("matplotlib", reason="the charts need the extra plot")
pytest.importorskip("jinja2", reason="the page needs the extra plot")
pytestmark = needs_browser


OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
IDS = "[...document.querySelectorAll('[id]')].map(e => e.id)"
LINKS = (
    "[...document.querySelectorAll('use, [clip-path], a[href]')].map(e => e.getAttribute('href') || "
    "(e.getAttribute('clip-path') || '').slice(4, -1)).filter(h => h.startsWith('#')).map(h => h.slice(1))"
)
CONTRAST = """(() => {
  const rgb = c => c.match(/[\\d.]+/g).map(Number);
  const shine = c => c.slice(0, 3).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
  const low = [];
  const all = 'p, th, td, dt, dd, small, summary, caption, li, a, h1, h2, h3, pre, svg text';
  for (const e of document.querySelectorAll(all)) {
    const style = getComputedStyle(e), color = e.closest('svg') ? style.fill : style.color;
    const [a, b] = [shine(rgb(color)), shine(ground(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.push(e.textContent.slice(0, 40) + ' ' + color);
  }
  return low;
})()"""


@pytest.fixture(params=["replayed", "partial"])
def report_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    run, outcomes = replay_run() if request.param == "replayed" else unfinished_run()
    file = tmp_path / "report.html"
    file.write_text(render(build_report(run, outcomes, summarize(outcomes, 0))))
    return file


async def test_a_browser_shows_it_without_a_problem(report_file: Path, tmp_path: Path) -> None:
    async with open_browser() as tab:
        await tab.open(report_file.as_uri())
        ids = await tab.evaluate(IDS)
        assert len(ids) == len(set(ids))
        assert set(await tab.evaluate(LINKS)) <= set(ids)
        assert await tab.evaluate("document.querySelectorAll('script, img, iframe, object, embed').length") == 0
        assert await tab.evaluate("document.querySelectorAll('svg').length") >= 4
        assert await tab.evaluate("[...document.querySelectorAll('svg')].every(s => s.getBBox().width > 100)")
        for width in (1280, 380):
            await tab.set_size(width)
            for scheme in ("light", "dark"):
                await tab.set_scheme(scheme)
                assert await tab.evaluate(OVERFLOW) <= 0, f"{width} px: the page itself scrolls sideways"
                assert await tab.evaluate(CONTRAST) == [], f"{scheme}: contrast below 4.5"
                await tab.take_screenshot(tmp_path / f"{width}-{scheme}.png")
        grounds = []
        for scheme in ("light", "dark"):
            await tab.set_scheme(scheme)
            grounds.append(await tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert grounds[0] != grounds[1]
        assert not tab.problems()


LABELS_ON_BARS = """(() => {
  const found = [];
  // in maps (chosen) the cells hold figures
  for (const svg of document.querySelectorAll('svg:not([aria-labelledby^=chosen])')) {
    const bars = [...svg.querySelectorAll('[id*=LineCollection] path, [id*=-patch_] path')]
      .filter(e => e.closest('[id*=LineCollection]') || getComputedStyle(e).fill !== 'none')
      .map(e => e.getBoundingClientRect()).filter(r => r.width > 0 || r.height > 0);
    for (const text of svg.querySelectorAll('[id*=-text_]')) {
      if (text.closest('[id*=axis_], [id*=legend]')) continue;
      const t = text.getBoundingClientRect(), slack = 3;  // the box of a text is higher than its letters
      const covers = r => r.left < t.right - 1 && r.right > t.left + 1 && r.top < t.bottom - slack
        && r.bottom > t.top + slack;
      if (bars.some(covers))
        found.push(svg.querySelector('title').textContent + ': ' + text.textContent.trim());
    }
  }
  return found;
})()"""


@pytest.mark.parametrize("run", [replay_run, unfinished_run, lambda: replay_run(seeds=1, questions=40)])
async def test_no_label_sits_on_a_bar(run: Callable[[], tuple[Run, list[Outcome]]], tmp_path: Path) -> None:
    one, outcomes = run()
    file = tmp_path / "report.html"
    file.write_text(render(build_report(one, outcomes, summarize(outcomes, 0))))
    async with open_browser() as tab:
        await tab.open(file.as_uri())
        await tab.set_size(1280)
        assert await tab.evaluate("document.querySelectorAll('svg [id*=LineCollection] path').length") > 5
        assert await tab.evaluate("document.querySelectorAll('svg [id*=-patch_] path').length") > 5
        assert await tab.evaluate("document.querySelectorAll('svg [id*=-text_]').length") > 20
        assert await tab.evaluate(LABELS_ON_BARS) == []


async def test_it_prints_with_everything_open_on_white(report_file: Path) -> None:
    async with open_browser() as tab:
        await tab.open(report_file.as_uri())
        await tab.set_scheme("dark", "print")
        assert await tab.evaluate("getComputedStyle(document.body).backgroundColor") in ("rgb(255, 255, 255)",)
        await tab.set_size(690)  # of A4, between the margins
        assert await tab.evaluate(OVERFLOW) <= 0, "what is wider than the paper is cut off"
        assert await tab.evaluate("document.querySelector('figure details table').getBoundingClientRect().height") > 0
        paper = await tab.print_pdf()
        assert paper.startswith(b"%PDF-")
        assert not tab.problems()


async def test_hostile_names_and_texts_stay_text(tmp_path: Path) -> None:
    run, outcomes = replay_run(hostile=True)
    file = tmp_path / "hostile.html"
    file.write_text(render(build_report(run, outcomes, summarize(outcomes, 0))))
    async with open_browser() as tab:
        await tab.open(file.as_uri())
        assert (
            await tab.evaluate("document.querySelectorAll('script, img, iframe, svg svg, [onerror], [onload]').length")
            == 0
        )
        assert await tab.evaluate("window.taken") is None
        assert HOSTILE[0] in await tab.evaluate("document.body.textContent")
        assert not tab.problems()


async def test_a_script_or_a_picture_from_elsewhere_would_be_noticed(tmp_path: Path) -> None:
    run, outcomes = unfinished_run()
    whole = render(build_report(run, outcomes, summarize(outcomes, 0)))
    file = tmp_path / "spoilt.html"
    file.write_text(whole.replace("</main>", "<script>window.taken=1</script><img src='http://127.0.0.1:9/x'></main>"))
    async with open_browser() as tab:
        await tab.open(file.as_uri())
        assert await tab.evaluate("window.taken") is None
        assert len(tab.problems()) >= 2
