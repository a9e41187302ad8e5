"""Documents and examples say what the program does: they are run, or generated and compared."""

from __future__ import annotations

import asyncio
import os
import re
import runpy
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields

from routemoa.core.mixture_table import Mixture
from routemoa.core.pool import Pool, parse_pool
from routemoa.core.tenants import SpendingLimits, Tenant
from routemoa.core.types import ModelSpec
from routemoa.ledger import Store
from tests.cli.test_ask import endpoint

ROOT = Path(__file__).parent.parent
KEYS = {"OPENROUTER_API_KEY": "k", "ACME_KEY": "a"}


def blocks(file: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)


@pytest.mark.parametrize("file", ["README.md", "docs/configuration.md"])
def test_every_pool_in_the_documents_is_valid(file: str) -> None:
    found = blocks(file, "toml")
    assert found
    for text in found:
        parse_pool(text, file, Path("."), KEYS)


def test_the_documented_pool_names_every_key() -> None:
    table = tomllib.loads(blocks("docs/configuration.md", "toml")[0])
    assert set().union(*table["model"]) == {f.name for f in fields(ModelSpec) if f.encode_name == f.name}
    assert set(table["mixture"]) == set(Mixture.__struct_fields__)
    assert set(table["tenant"][0]) == set(Tenant.__struct_fields__)
    assert set(table["totals"]) == set(SpendingLimits.__struct_fields__)


def test_the_ledgers_page_holds_true(tmp_path: Path) -> None:
    """Its tables of tenants are read, and its queries run."""
    page = (ROOT / "docs" / "ledger.md").read_text()
    tenants = page.split("```\n[[tenant]]")[1].split("```")[0]
    model = '[[model]]\nname = "a"\nendpoint = "http://127.0.0.1:9/v1"\n'
    assert parse_pool(f"{model}[[tenant]]{tenants}", "ledger.md", Path("."), KEYS).tenants.totals
    Store(tmp_path / "store.db").close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as c:
        c.executescript(blocks("docs/ledger.md", "sql")[0])
        columns = {row[1] for row in c.execute("PRAGMA table_info(calls)")} - {"owner"}
    assert all(f"`{name}`" in page for name in columns)


def test_the_readmes_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with endpoint("It scatters blue light.") as e:
        (tmp_path / "pool.toml").write_text(f'[[model]]\nname = "a"\nendpoint = "{e.url}"\nprior = 0.9\n')
        monkeypatch.chdir(tmp_path)
        code = blocks("README.md", "python")[0]
        first, loop = code.split("\n\nasync for")
        names: dict[str, Any] = {}
        exec(first, names)
        body = "async def main():\n    async for" + loop.replace("\n", "\n    ")
        exec(body, names)
        asyncio.run(names["main"]())
        asyncio.run(names["mixture"].client.close())
    out = capsys.readouterr().out
    assert out.startswith("It scatters blue light.\n")
    assert "Done(" in out


@pytest.mark.parametrize("example", ["ask.py", "events.py"])
def test_examples_run(example: str, tmp_path: Path) -> None:
    with endpoint("It scatters blue light.") as e:
        pool = tmp_path / "pool.toml"
        pool.write_text(f'[[model]]\nname = "a"\nendpoint = "{e.url}"\nprior = 0.9\n')
        command = [sys.executable, str(ROOT / "examples" / example), str(pool), "Why?"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "It scatters blue light." in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("example", "output"),
    [
        ("custom_client.py", "echo read "),
        ("custom_scorer.py", "print('hello')\ncalled: ['code']\n"),
        ("custom_policy.py", "It is 4. ('b', 'c') two models were called\n"),
        ("custom_method.py", "4: 2 of 3 agree\n"),
        ("custom_recorder.py", "calling a as proposal, at most "),
    ],
)
def test_examples_of_plug_ins_run(example: str, output: str) -> None:
    command = [sys.executable, str(ROOT / "examples" / example)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(output)
    assert done.stderr == ""


def test_there_is_an_example_of_every_plug_in_point() -> None:
    assert {f.stem for f in (ROOT / "examples").glob("custom_*.py")} == {
        f"custom_{name}" for name in ("client", "scorer", "policy", "method", "recorder")
    }


def test_examples_are_short() -> None:
    for file in (ROOT / "examples").glob("*.py"):
        assert len(file.read_text().splitlines()) < 30, file


def test_the_command_line_reference_is_up_to_date() -> None:
    render = runpy.run_path(str(ROOT / "docs" / "generate_cli.py"))["render"]
    assert (ROOT / "docs" / "cli.md").read_text() == render(), "run  make docs"


def test_links_between_documents_lead_somewhere() -> None:
    for file in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


def test_benchmarks_open_with_their_command() -> None:
    for file in (ROOT / "benchmarks").glob("*.py"):
        assert f"benchmarks/{file.name}" in file.read_text().split('"""')[1]


def test_the_embedded_pool_ships_with_the_package() -> None:
    assert [m.name for m in Pool.embedded()] == ["smollm2-135m", "coder-0.5b", "coder-1.5b"]
    assert "OPENROUTER_API_KEY" not in os.environ
