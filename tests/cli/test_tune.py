"""`routemoa tune` from the command line: the file, the figures, the plots, the errors; and the pool that uses it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from routemoa.cli import cli
from routemoa.cli.tune.plot import draw_text_curve
from routemoa.core.errors import ConfigError, MissingExtra
from routemoa.core.pool_file.pool import Pool
from routemoa.datasets.records import Record
from tests.scoring.test_trained import made


def routemoa(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in args])


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sums and translations; `poet` is ten times as dear as `adder`, and every answer says right or wrong."""
    path = tmp_path_factory.mktemp("tune") / "records.jsonl"
    rows: list[Record] = []
    for r in made(300):
        scores = {m: 1.0 if m == "middling" and s is None else s for m, s in r.scores.items()}
        responses: dict[str, str | None] = {
            m: f"The answer is {'7' if s else 8 + i}." for i, (m, s) in enumerate(scores.items())
        }
        costs: dict[str, float | None] = {"adder": 0.001, "poet": 0.01, "middling": 0.002}
        rows.append(msgspec.structs.replace(r, scores=scores, responses=responses, costs=costs))
    path.write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in rows))
    return path


def pool_of(folder: Path, mixture: str, *names: str) -> Path:
    models = "\n".join(
        f'[[model]]\nname = "{n}"\nendpoint = "http://127.0.0.1:1"\nprior = 0.5\ninput_price = 1\n'
        f"output_price = {i + 1}\n"
        for i, n in enumerate(names)
    )
    path = folder / "pool.toml"
    path.write_text(f"{models}\n[mixture]\n{mixture}\n")
    return path


def test_a_policy_is_written_for_the_pool(records: Path, tmp_path: Path) -> None:
    out, figures = tmp_path / "policy.toml", tmp_path / "curve.json"
    found = routemoa("tune", records, "--quality", "0.98", "--out", out, "--json", figures, "--plot")
    assert found.exit_code == 0, found.output
    read = json.loads(figures.read_text())
    assert set(read) == {
        "best_single_model", "best_single", "best_single_cost", "questions", "models", "asked", "chosen", "groups",
        "curve",
    }  # fmt: skip
    assert read["asked"] == {"quality": 0.98}
    assert read["chosen"]["quality"] == pytest.approx(max(0.98, read["curve"][0]["quality"]), abs=1e-6)
    assert read["chosen"]["cost_ci95"][0] <= read["chosen"]["cost_ci95"][1]
    costs = [p["cost"] for p in read["curve"]]
    assert costs == sorted(costs)
    assert "asked for quality 0.98" in found.output
    assert "X chosen" in found.output
    for columns in (40, 80):
        assert max(map(len, draw_text_curve(read, columns).splitlines())) <= columns
    pool = pool_of(tmp_path, 'policy = "policy.toml"', "adder", "poet", "middling")
    tuned = Pool.load(pool).mixture.tuned
    assert tuned is not None
    assert tuned.best_single == read["best_single_model"]
    shown = routemoa("pool", "show", "--pool", pool)
    assert "tuned policy policy.toml, quality = 0.98" in shown.output
    again = routemoa("tune", records, "--quality", "0.98", "--json", tmp_path / "again.json")
    assert again.exit_code == 0
    assert (tmp_path / "again.json").read_bytes() == figures.read_bytes()


def test_a_cost_is_a_dial_too(records: Path, tmp_path: Path) -> None:
    figures = tmp_path / "curve.json"
    found = routemoa("tune", records, "--cost", "0.6", "--json", figures, "--no-scorer")
    assert found.exit_code == 0, found.output
    read = json.loads(figures.read_text())
    assert read["asked"] == {"cost": 0.6}
    assert read["chosen"]["cost"] <= max(0.6, read["curve"][0]["cost"]) + 1e-6
    assert len(read["groups"]) == 1, "without a scorer all queries are alike"
    assert "--out policy.toml writes the policy" in found.output


def test_records_in_which_nothing_is_right_are_refused(records: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text(re.sub(r'(?<=[":])1\.0(?=[,}])', "0.0", records.read_text()))
    assert "no model is right" in str(routemoa("tune", wrong, "--no-scorer").exception)


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_curve_is_drawn(records: Path, tmp_path: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / f"curve.{ending}"
    assert routemoa("tune", records, "--no-scorer", "--plot", picture).exit_code == 0
    assert picture.stat().st_size > 5_000


def test_prices_of_the_pool_count_where_no_costs_are_recorded(records: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.jsonl"
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    bare.write_text("".join(json.dumps({k: v for k, v in r.items() if k != "costs"}) + "\n" for r in rows))
    refused = routemoa("tune", bare)
    assert "--pool" in str(refused.exception)
    pool = pool_of(tmp_path, 'policy = "policy.toml"', "adder", "poet")  # which is still to be made
    found = routemoa("tune", bare, "--pool", pool, "--no-scorer", "--json", tmp_path / "f.json")
    assert found.exit_code == 0, found.output
    assert set(json.loads((tmp_path / "f.json").read_text())["models"]) <= {"adder", "poet"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--quality", "0.9", "--cost", "0.3"], "exclude each other"),
        (["--quality", "0"], "--quality"),
        (["--quality", "97"], "such as 0.97"),
        (["--cost", "-1"], "--cost"),
        (["--plot", "curve.pdf"], ".png or .svg"),
        (["--pool", "nowhere.toml"], "nowhere.toml"),
        (["--out", "no/such/folder/policy.toml"], "no/such/folder"),
    ],
)
def test_wrong_use_is_one_line(records: Path, options: list[str], said: str) -> None:
    found = routemoa("tune", records, *options)
    assert isinstance(found.exception, ConfigError | MissingExtra)
    assert said in str(found.exception)
    assert "\n" not in str(found.exception)


def test_empty_records_are_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").touch()
    found = routemoa("tune", tmp_path / "none.jsonl", "--quality", "0.9")
    assert "hold no records; make some with  routemoa collect" in str(found.exception)
