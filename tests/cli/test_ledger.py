"""`routemoa ledger`: calls, their sums, exact CSV and JSON, plots, and what it says of an empty ledger."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from routemoa.cli import cli
from routemoa.cli.ledger.tables import make_call_table, make_summary_table
from routemoa.core.errors import ConfigError, MissingExtra, RouteMoAError
from routemoa.core.protocols import CallResult, CallStart
from routemoa.core.types import Purpose
from routemoa.core.usage import Usage
from routemoa.ledger import Store, default_path, read_calls
from routemoa.ledger.sums.aggregates import group_calls, summarize_calls

DAY = 86_400
NOON = 1_795_608_000.0  # 2026-11-25 12:00 UTC
CALLS: list[tuple[float, str | None, str, Purpose, CallResult]] = [
    (NOON - DAY, "acme", "fast", "proposal", CallResult(Usage(100, 10, 0), 0.1, 0.1, 1.0, "ok")),
    (NOON, "acme", "strong", "aggregator", CallResult(Usage(1000, 7, 300), 0.2, 0.2, 3.0, "ok")),
    (NOON, None, "strong", "hedge", CallResult(Usage(), None, 0.25, 0.5, "cut")),
    (NOON + 1, None, "fast", "retry", CallResult(Usage(None, None), None, None, 0.25, "Refused")),
]


@pytest.fixture
def kept() -> Path:
    """The default store with four calls, and one that is under way no more: its process has ended."""
    store = default_path()
    assert isinstance(store, Path)
    fill(store)
    return store


def fill(path: Path) -> None:
    now = NOON
    store = Store(path, clock=lambda: now)

    async def run() -> None:
        nonlocal now
        for now, key, model, purpose, closing in CALLS:  # noqa: B007
            tab = store.recorder(key, "routemoa")
            tab.finish(await tab.start(CallStart(model, purpose, 0.3)), closing)
        await store.aclose()

    asyncio.run(run())


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["ledger", *arguments])


def error(*arguments: str) -> RouteMoAError:
    result = run(*arguments)
    assert isinstance(result.exception, RouteMoAError), result.output
    assert "\n" not in str(result.exception)
    return result.exception


def test_calls_are_listed_latest_last(kept: Path) -> None:
    lines = run().stdout.splitlines()
    assert lines[0].split()[:4] == ["id", "time", "(UTC)", "key"]
    assert lines[1].split() == ["1", "2026-11-24", "12:00:00", "acme", "routemoa", "proposal", "fast", "100", "0",
                                "10", "$0.10", "$0.10", "1.00", "ok"]  # fmt: skip
    assert lines[4].split() == ["4", "2026-11-25", "12:00:01", "-", "routemoa", "retry", "fast", "-", "-", "-", "-",
                                "-", "0.25", "Refused"]  # fmt: skip
    assert [line.split()[-1] for line in run("--limit", "2").stdout.splitlines()] == ["outcome", "cut", "Refused"]


def test_sums_hold_known_figures_and_count_unknown_ones(kept: Path) -> None:
    fast, strong = sorted(group_calls(read_calls(kept), "model"), key=lambda s: s.group)
    assert (fast.calls, fast.failed, fast.cut, fast.uncounted, fast.unpriced) == (2, 1, 0, 1, 1)
    assert (strong.calls, strong.failed, strong.cut, strong.prompt_tokens, strong.cached_tokens) == (2, 0, 1, 1000, 300)
    assert (strong.cost, strong.charged, strong.seconds) == (0.2, 0.45, 1.75)
    (nothing,) = [s for s in group_calls(read_calls(kept), "purpose") if s.group == "retry"]
    assert (nothing.prompt_tokens, nothing.cost, nothing.charged) == (None, None, None)
    assert [s.group for s in group_calls(read_calls(kept), "day")] == ["2026-11-24", "2026-11-25"]
    assert [s.group for s in group_calls(read_calls(kept), "key")] == ["acme", "-"]


def test_the_table_of_sums_ends_in_a_total(kept: Path) -> None:
    lines = run("--by", "key").stdout.splitlines()
    assert lines[0].split()[0] == "key"
    assert lines[-1].split() == ["total", "4", "1", "1", "1,100", "300", "17", "2", "$0.30", "2", "$0.55", "0.75"]


@pytest.mark.parametrize(("wide", "width"), [(True, 140), (False, 80)])
def test_a_terminal_shows_bars_and_what_fits(kept: Path, wide: bool, width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    sums, without = make_summary_table(list(read_calls(kept)), "model", width, bar_width=14)
    console.print(sums)
    console.print(make_call_table(list(read_calls(kept)), width)[0])
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert shown.count("█") >= 14
    assert "…" not in shown
    assert ("cached" in shown) == wide
    assert ("cached" in without) != wide


def test_json_is_exact_and_whole(kept: Path) -> None:
    found = json.loads(run("--json").stdout)["calls"]
    assert len(found) == 4
    assert (found[1]["cost"], found[1]["began"], found[1]["cached_tokens"]) == (0.2, NOON, 300)
    assert found[3]["prompt_tokens"] is found[3]["charged"] is None
    sums = json.loads(run("--json", "--by", "model").stdout)
    assert sums["by"] == "model"
    assert sums["total"]["completion_tokens"] == 17
    assert sums["total"]["cost"] == sum(g["cost"] for g in sums["groups"])


def test_csv_is_exact_and_whole(kept: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("--csv").stdout)))
    assert [r["cost"] for r in rows] == ["0.1", "0.2", "", ""]
    assert rows[0].keys() == json.loads(run("--json").stdout)["calls"][0].keys()
    sums = list(csv.DictReader(io.StringIO(run("--csv", "--by", "day").stdout)))
    assert [(r["day"], r["calls"], r["prompt_tokens"]) for r in sums] == [
        ("2026-11-24", "1", "100"),
        ("2026-11-25", "3", "1000"),
    ]


def test_since_is_a_day_or_a_time_ago(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOON + 2)
    for when, count in (("2026-11-25", 3), ("2026-11-24", 4), ("24h", 3), ("2d", 4), ("1h", 3)):
        assert len(json.loads(run("--json", "--since", when).stdout)["calls"]) == count
    for wrong in ("yesterday", "7", "2026-13-01", "-1d", "9999999d"):
        assert "2026-11-25, 24h or 7d" in str(error("--since", wrong))


def test_without_calls_it_explains_what_to_do(kept: Path, tmp_path: Path) -> None:
    later = run("--since", "2030-01-01")
    assert (later.exit_code, later.stdout) == (0, "")
    assert "no call since 2030-01-01; the last one was on 2026-11-25 12:00:01 UTC" in later.stderr
    kept.unlink()
    empty = run("--json")
    assert json.loads(empty.stdout) == {"calls": []}
    assert "the ledger is empty" in empty.stderr
    assert "routemoa ask" in empty.stderr
    assert json.loads(run("--json", "--by", "key").stdout)["total"]["calls"] == 0
    assert run("--csv").stdout.startswith("id,request,")
    assert "no such file" in str(error("--store", str(tmp_path / "none.db")))


def test_another_store_is_read(tmp_path: Path) -> None:
    fill(tmp_path / "other.db")
    assert len(json.loads(run("--store", str(tmp_path / "other.db"), "--json").stdout)["calls"]) == 4


def test_names_are_data_and_not_markup(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db")

    async def one() -> None:
        tab = store.recorder("[red]x[/red]", "m")
        await tab.start(CallStart("[bold]m", "direct", 0.1))
        await store.aclose()

    asyncio.run(one())
    shown = run("--store", str(tmp_path / "s.db")).stdout
    assert "[red]x[/red]" in shown
    assert "[bold]m" in shown
    assert "lost" in shown


@pytest.mark.parametrize("by", [None, "day", "model", "key"])
def test_a_plot_stands_alone(kept: Path, tmp_path: Path, by: str | None) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "plot.svg"
    assert run("--plot", str(file), *(("--by", by) if by else ())).exit_code == 0
    text = file.read_text()
    assert text.startswith("<?xml")
    assert "var(--" not in text
    assert "Dollars" in text
    assert ("Nov 24" if by in (None, "day") else "acme" if by == "key" else "strong") in text


def test_a_plot_without_dollars_shows_tokens_and_many_models_share_a_colour(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    store = Store(tmp_path / "s.db")

    async def fill() -> None:
        tab = store.recorder(None, "m")
        for i in range(9):
            number = await tab.start(CallStart(f"model-{i} $x$ <b>", "direct", None))
            tab.finish(number, CallResult(Usage(10, 5 * i), None, None, 1.0, "ok"))
        await store.aclose()

    asyncio.run(fill())
    assert run("--store", str(tmp_path / "s.db"), "--plot", str(tmp_path / "p.svg")).exit_code == 0
    text = (tmp_path / "p.svg").read_text()
    assert "Tokens (no dollars are known) a day" in text
    assert "4 others" in text
    assert run("--store", str(tmp_path / "s.db"), "--by", "model", "--plot", str(tmp_path / "p.png")).exit_code == 0
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


def test_a_plot_that_cannot_be_drawn_fails_before_the_work(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ".svg or .png" in str(error("--plot", "plot.pdf"))
    assert isinstance(error("--plot", str(tmp_path / "none" / "p.svg")), ConfigError)
    assert "choose one" in str(error("--csv", "--json"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    e = error("--plot", str(tmp_path / "p.svg"))
    assert isinstance(e, MissingExtra)
    assert e.extra == "plot"


def test_sums_of_no_calls_are_unknown() -> None:
    total = summarize_calls("total", [])
    assert (total.calls, total.prompt_tokens, total.cost, total.seconds) == (0, None, None, None)
