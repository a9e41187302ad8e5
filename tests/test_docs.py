"""Documents and examples say what the program does: they are run, or generated and compared."""

from __future__ import annotations

import json
import os
import re
import runpy
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import fields

import routemoa
from routemoa.core import events
from routemoa.core.access.tenants import SpendingLimits, Tenant
from routemoa.core.catalog.providers import load_providers
from routemoa.core.errors import ConfigError
from routemoa.core.learned.cost_dial import Dial
from routemoa.core.learned.tuned_policy import TunedGroup, TunedPlan, TunedPoint, TunedPolicy, encode_tuned_policy
from routemoa.core.models.endpoint import Endpoint
from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.core.tables.batches_table import BatchSettings
from routemoa.core.tables.caps_table import ReplyCaps
from routemoa.core.tables.gateway_table import GatewaySettings
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.tables.scorer_table import ScorerTable
from routemoa.core.tables.server_table import ServerSettings
from routemoa.core.tables.traces_table import TraceSettings
from routemoa.core.types import Limits, ModelSpec
from routemoa.datasets.columns import ALIASES
from routemoa.datasets.questions import Question, parse_question, read_questions
from routemoa.datasets.records import Record, parse_record
from routemoa.gateway.chat_api import requests
from routemoa.gateway.chat_api.option_fields import OPTION_FIELDS
from routemoa.gateway.chat_api.request_limits import LIMIT_HEADERS
from routemoa.gateway.chat_api.tool_fields import TOOL_FIELDS
from routemoa.gateway.messages_api.request import REQUEST_FIELDS as MESSAGES_FIELDS
from routemoa.gateway.responses_api.request import REQUEST_FIELDS as RESPONSES_FIELDS
from routemoa.ledger import Store
from tests.cli.test_ask import endpoint
from tests.doc_blocks import PAGES, ROOT, SNIPPET, Block, find_blocks, page_blocks, read_page, read_prose, read_table

KEYS = {"OPENROUTER_API_KEY": "k", "ACME_KEY": "a"}
TWO_MODELS = "".join(f'\n[[model]]\nname = "{n}"\nendpoint = "http://127.0.0.1:9/v1"\n' for n in ("fast", "strong"))
CONFIGURATION = "docs/reference/configuration.md"
HTTP_API = "docs/reference/http-api.md"
OLD_WORDS = r"who|whom|nobody|somebody|anybody|everybody|anew|dearest|really"
"""Words of the language in which models are people."""


# --- pools


def make_policy(*models: str) -> TunedPolicy:
    point = TunedPoint(cost=1.0, quality=1.0, plans=(0,))
    plan = TunedPlan(order=(models[0],))
    dial = Dial(quality=0.97)
    group = TunedGroup(center={})
    return TunedPolicy(best_single=models[0], dial=dial, costs={}, group=(group,), plan=(plan,), point=(point,))


@pytest.mark.parametrize("block", find_blocks("toml"), ids=str)
def test_every_pool_in_the_documents_is_valid(block: Block, tmp_path: Path) -> None:
    """A block without a model is a part of a pool file, or a policy: it is read beside two models."""
    (tmp_path / "my-scorer").mkdir()
    (tmp_path / "my-scorer" / "manifest.json").touch()
    (tmp_path / "learned").mkdir()
    (tmp_path / "learned" / "20261126T192045Z.toml").touch()
    text = block.text if "[[model]]" in block.text else block.text + TWO_MODELS
    names = [model["name"] for model in tomllib.loads(text)["model"]]
    (tmp_path / "policy.toml").write_text(encode_tuned_policy(make_policy(*names), "for these models"))
    parse_pool(text, block.page, tmp_path, KEYS)


def test_the_documented_pool_names_every_key() -> None:
    table = tomllib.loads(page_blocks(CONFIGURATION)[0].text)
    assert set().union(*table["model"]) == {f.name for f in fields(ModelSpec) if f.encode_name == f.name}
    placed = next(model for model in table["model"] if "endpoints" in model)
    assert set(placed["endpoints"][0]) == {f.name for f in fields(Endpoint) if f.encode_name == f.name}
    assert set(table["mixture"]) == {f.name for f in fields(Mixture) if f.encode_name == f.name}
    assert set(table["limits"]) == set(Limits.__struct_fields__)
    assert set(table["caps"]) == set(ReplyCaps.__struct_fields__)
    assert set(table["server"]) == set(ServerSettings.__struct_fields__)
    assert set(table["gateway"]) == set(GatewaySettings.__struct_fields__)
    assert set(table["traces"]) == set(TraceSettings.__struct_fields__)
    assert set(table["batches"]) == set(BatchSettings.__struct_fields__)
    assert set(table["scorer"]) == set(ScorerTable.__struct_fields__)
    assert set(table["tenant"][0]) == set(Tenant.__struct_fields__)
    assert set(table["totals"]) == set(SpendingLimits.__struct_fields__)


@pytest.mark.parametrize(
    ("heading", "types"),
    [
        ("`[[model]]`", [ModelSpec]),
        ("`[[model.endpoints]]`", [Endpoint]),
        ("`[mixture]`", [Mixture]),
        ("`[limits]`", [Limits]),
        ("`[caps]`", [ReplyCaps]),
        ("`[server]`", [ServerSettings]),
        ("`[gateway]`", [GatewaySettings]),
        ("`[traces]`", [TraceSettings]),
        ("`[batches]`", [BatchSettings]),
        ("`[scorer]`", [ScorerTable]),
        ("`[[tenant]]` and `[totals]`", [Tenant, SpendingLimits]),
    ],
)
def test_the_tables_of_keys_are_complete_and_their_defaults_right(heading: str, types: list[Any]) -> None:
    rows = read_table(CONFIGURATION, heading)
    documented = [f for type_ in types for f in fields(type_) if f.encode_name == f.name]
    assert set(rows) == {f.name for f in documented}
    for field in documented:
        default = rows[field.name][0]
        assert (default == "required") == field.required, field.name
        if re.fullmatch(r"`[^`]+`", default):
            assert json.loads(default.strip("`")) == field.default, field.name


@pytest.mark.parametrize(
    ("line", "table"),
    [
        (0, "pric = 0.5"),
        (1, '[[model]]\nname = "a"\nendpoint = "local"'),
        (2, "prior = 1.5"),
        (3, 'api_key_env = "SOME_API_KEY"'),
    ],
)
def test_the_errors_of_a_pool_file_read_as_documented(line: int, table: str) -> None:
    shown = next(b.text for b in page_blocks(CONFIGURATION) if b.language == "text").splitlines()
    with pytest.raises(ConfigError) as caught:
        parse_pool(f'[[model]]\nname = "a"\nendpoint = "local"\n{table}\n', "pool.toml", Path("."), {})
    assert str(caught.value) == shown[line]


# --- the HTTP API


def test_every_field_of_a_request_is_documented() -> None:
    rows = read_table(HTTP_API, "Request")
    known = {
        *requests.READ_FIELDS,
        *TOOL_FIELDS,
        *requests.SAMPLING_FIELDS,
        *requests.IGNORED_FIELDS,
        *requests.REFUSED_FIELDS,
        *OPTION_FIELDS,
    }
    assert set(rows) == {*known, *TOOL_FIELDS, "routemoa"}
    for names, treatment in [
        (requests.READ_FIELDS, "read"),
        (TOOL_FIELDS, "read"),
        (requests.SAMPLING_FIELDS, "sampling"),
        (requests.IGNORED_FIELDS, "ignored"),
        (requests.REFUSED_FIELDS, "refused"),
        (OPTION_FIELDS, "sent where known"),
    ]:
        assert all(rows[name][0].startswith(treatment) for name in names)


@pytest.mark.parametrize(("heading", "known"), [("Responses", RESPONSES_FIELDS), ("Messages", MESSAGES_FIELDS)])
def test_every_field_of_the_other_apis_is_documented(heading: str, known: set[str]) -> None:
    section = re.split(rf"^## {heading}$", read_page(HTTP_API), flags=re.MULTILINE)[1]
    table = section.split("| fields | treatment |")[1].split("\n\n")[0]
    named = set(re.findall(r"`([\w.]+)`", "".join(line.split(" | ")[0] for line in table.splitlines())))
    assert named - {"text.verbosity"} == known | {"routemoa"}


def test_every_limit_and_its_header_is_documented() -> None:
    rows = read_table(HTTP_API, "Limits")
    assert {key: cells[0].strip("`") for key, cells in rows.items()} == LIMIT_HEADERS


def test_every_event_is_documented() -> None:
    tags = {str(event.__struct_config__.tag) for event in get_args(events.AnyEvent)}
    assert set(read_table(HTTP_API, "Events")) == tags


def test_every_error_code_is_documented() -> None:
    starts = {"errors.py": "RETRY_SOON_SECONDS = ", "failures.py": "logger = "}  # after the lists of public names
    files = {name: (ROOT / "src/routemoa/gateway" / name).read_text() for name in starts}
    source = "".join(files[name].split(start)[1] for name, start in starts.items())
    codes = set(re.findall(r'"([a-z]+_[a-z_]+)"', source))
    codes -= {"rate_limit_error", "invalid_request_error", "server_error"}  # types of errors
    section = read_page(HTTP_API).split("## Errors")[1]
    assert {code for code in re.findall(r"`([a-z_]+)`", section) if "_" in code} == codes


# --- other tables and data


def test_every_public_name_is_documented() -> None:
    page = read_page("docs/reference/python-api.md")
    assert set(re.findall(r"`(\w+)`", page.split("## ")[0])) - {"routemoa"} == set(routemoa.__all__)
    for name in routemoa.__all__:
        module = getattr(routemoa, name).__module__
        assert re.search(rf"^::: {re.escape(module)}(\.{name})?$", page, re.MULTILINE), name


def test_the_table_of_providers_is_complete() -> None:
    rows = read_table(CONFIGURATION, "Providers")
    providers = load_providers({})
    assert set(rows) == set(providers)
    for name, (keys, dialect) in rows.items():
        assert tuple(re.findall(r"`(\w+)`", keys)) == providers[name].keys
        named = set(re.findall(r"`(\w+)`", dialect))
        assert named & {*providers[name].rename, *providers[name].omit} or not providers[name].rename
        assert bool(providers[name].omit) == ("without" in dialect)


def test_the_map_names_every_package() -> None:
    packages = {init.parent.name for init in (ROOT / "src/routemoa").glob("*/__init__.py")}
    assert set(read_table("docs/concepts.md", "The packages")) == packages


def test_files_named_on_the_concepts_page_exist() -> None:
    names = re.findall(r"`(?:src/routemoa/)?((?:\w+/)+\w+\.py)`", read_page("docs/concepts.md"))
    assert len(names) > 10
    for name in names:
        assert (ROOT / "src/routemoa" / name).exists() or (ROOT / name).exists(), name


@pytest.mark.parametrize("block", [b for b in find_blocks("json") if '"query"' in b.text], ids=str)
def test_lines_of_questions_and_records_are_read(block: Block) -> None:
    lines = [block.text.replace("\n", " ")] if block.text.startswith("{\n") else block.text.splitlines()
    for number, line in enumerate(lines, 1):
        parsed = parse_record(line) if '"scores"' in line else parse_question(line, "task", number)[0]
        assert isinstance(parsed, Record | Question), parsed


@pytest.mark.parametrize("block", find_blocks("csv"), ids=str)
def test_tables_of_questions_are_read(block: Block, tmp_path: Path) -> None:
    """They hold the same questions as the lines of JSON on their page."""
    lines = next(b.text for b in page_blocks(block.page) if b.language == "json" and '"query"' in b.text)
    files = {"q.csv": block.text, "q.jsonl": lines}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    said: list[str] = []
    csv, jsonl = (list(read_questions(tmp_path / name, said.append)) for name in files)
    assert csv == jsonl
    assert said == []


def test_every_other_name_of_a_column_is_documented() -> None:
    page = read_page("docs/how-to/scorer.md")
    for field in ("query", "reference"):
        missing = {alias for alias in ALIASES[field] if f"`{alias}`" not in page}
        assert not missing, field


def test_the_table_of_records_names_every_field() -> None:
    assert set(read_table("docs/how-to/scorer.md", "Records")) == set(Record.__struct_fields__)


def test_the_ledgers_page_holds_true(tmp_path: Path) -> None:
    """Its tables of tenants are read, and its queries run."""
    page = "docs/how-to/tenants-and-ledger.md"
    tenants = next(b.text for b in page_blocks(page) if b.language == "toml")
    model = '[[model]]\nname = "a"\nendpoint = "http://127.0.0.1:9/v1"\n'
    assert parse_pool(f"{model}{tenants}", page, Path("."), KEYS).tenants.totals
    Store(tmp_path / "store.db").close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as c:
        c.executescript(next(b.text for b in page_blocks(page) if b.language == "sql"))
        columns = {row[1] for row in c.execute("PRAGMA table_info(calls)")} - {"owner"}
    assert set(read_table(page, "What is recorded")) >= columns


# --- examples


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
    plug_ins = {f"custom_{name}" for name in ("client", "scorer", "policy", "method", "recorder")}
    assert {f.stem for f in (ROOT / "examples").glob("custom_*.py")} == plug_ins
    included = {Path(name).stem for name in SNIPPET.findall(read_page("docs/how-to/extend.md"))}
    assert included >= plug_ins


def test_examples_are_short() -> None:
    for file in (ROOT / "examples").glob("*.py"):
        assert len(file.read_text().splitlines()) < 30, file


# --- pages


def test_the_command_line_reference_is_up_to_date() -> None:
    render = runpy.run_path(str(ROOT / "docs" / "generate_cli.py"))["render"]
    assert read_page("docs/reference/cli.md") == render(), "run  make docs"


def test_links_between_documents_lead_somewhere() -> None:
    for file in PAGES:
        text = "\n".join(line for _, line in read_prose(file))
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", text):
            page = file.parent / target if target else file
            assert page.exists(), f"{file.name}: {target}"
            if anchor and page.suffix == ".md":
                headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
                assert anchor in map(_anchor, headings), f"{file.name}: {target}#{anchor}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")


def test_documents_named_in_code_exist() -> None:
    folders = ("src", "tests", "benchmarks", "examples")
    files = [f for folder in folders for f in (ROOT / folder).rglob("*") if f.suffix in (".py", ".toml", ".md")]
    for file in [*files, *PAGES, ROOT / "Makefile", ROOT / "pyproject.toml"]:
        if file == Path(__file__):
            continue
        for name in re.findall(r"\bdocs/[\w./-]+\.(?:md|svg|png|py)", file.read_text()):
            assert (ROOT / name).exists(), f"{file.relative_to(ROOT)} names {name}"


def test_every_page_is_in_the_navigation() -> None:
    config = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert f": {page.relative_to(ROOT / 'docs')}\n" in config, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_wraps_and_speaks_of_models_as_things(page: Path) -> None:
    for number, line in read_prose(page):
        long_line = len(line) > 100 and not line.startswith(("|", "!["))
        assert not long_line, f"{page.name}:{number} is {len(line)} characters long"
        old = re.search(rf"\b({OLD_WORDS})\b", line, re.IGNORECASE)
        assert old is None, f"{page.name}:{number}: {old and old[0]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_wrapped_line_begins_like_an_item_of_a_list(page: Path) -> None:
    """A sentence's number at the beginning of a line, such as the 0 of "never 0.", becomes an item."""
    last, before = 0, ""
    for number, line in read_prose(page):
        if found := re.match(r" *(\d+)\. ", line):
            begins_a_list = int(found[1]) == 1 and not before.strip()
            assert begins_a_list or int(found[1]) == last + 1, f"{page.name}:{number}: {line}"
            last = int(found[1])
        elif line and not line.startswith(" ") and not before.strip():
            last = 0  # a new paragraph ends the list
        before = line


def test_the_readme_is_short() -> None:
    assert len(read_page("README.md").splitlines()) <= 150


def test_the_site_builds_and_loads_nothing_from_other_hosts(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md")))
    for page in pages:
        loaded = re.findall(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="(https?:[^"]+)', page.read_text())
        assert not loaded, page


def test_benchmarks_open_with_their_command() -> None:
    for file in (ROOT / "benchmarks").glob("*.py"):
        assert f"benchmarks/{file.name}" in file.read_text().split('"""')[1]


def test_the_embedded_pool_ships_with_the_package() -> None:
    assert [m.name for m in Pool.embedded()] == ["smollm2-135m", "coder-0.5b", "coder-1.5b"]
    assert "OPENROUTER_API_KEY" not in os.environ
