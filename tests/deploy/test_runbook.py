"""The commands of the runbook: those of files and stores run, those of services and clusters are checked."""

from __future__ import annotations

import re
import shlex
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from routemoa.core.access.tenants import Tenant, Tenants
from routemoa.core.protocols import CallStart
from routemoa.ledger import Store
from routemoa.ledger.keys import create_key, read_keys
from routemoa.ledger.sums.queries import read_calls
from tests.deploy.programs import ROOT, find_program, run
from tests.doc_blocks import Block, Command, find_commands, page_blocks, split_commands
from tests.test_doc_examples import OF_OPERATORS, accept

PAGE = "docs/how-to/runbook.md"
UNIT = ROOT / "deploy/systemd/routemoa.service"
VERBS = {"daemon-reload", "enable", "start", "stop", "restart", "reload"}


def of_page(program: str) -> list[Command]:
    return [c for c in find_commands(program) if c.block.page == PAGE]


def test_the_programs_of_operators_are_used() -> None:
    assert {p for p in OF_OPERATORS if of_page(p)} == OF_OPERATORS


@pytest.mark.parametrize("command", of_page("systemctl"), ids=str)
def test_services_are_ours(command: Command) -> None:
    verb, *names = [w for w in command.words[1:] if w != "--now"]
    assert verb in VERBS
    assert names == ([] if verb == "daemon-reload" else [UNIT.stem])
    if verb == "reload":
        assert "ExecReload=" in UNIT.read_text()
    if verb == "enable":
        assert "WantedBy=" in UNIT.read_text()


@pytest.mark.parametrize("command", of_page("journalctl"), ids=str)
def test_logs_are_read_with_options_that_there_are(command: Command) -> None:
    said = run(find_program("journalctl", "install systemd"), "--help").stdout
    for option in [w for w in command.words if w.startswith("--")]:
        assert re.search(rf"{option}\b", said)
    if "--unit" in command.words:
        assert command.words[command.words.index("--unit") + 1] == UNIT.stem


def rendered() -> dict[str, str]:
    """Return what the chart makes under the name of the page: kind -> name."""
    done = run(find_program("helm"), "template", "routemoa", "deploy/helm/routemoa", "--set", "pool=x")
    return {d["kind"]: d["metadata"]["name"] for d in yaml.safe_load_all(done.stdout)}


@pytest.mark.parametrize("command", of_page("helm"), ids=str)
def test_helm_takes_its_lines(command: Command, tmp_path: Path) -> None:
    helm = find_program("helm")
    match command.words[1:]:
        case ("rollback", "routemoa"):
            assert run(helm, "rollback", "--help").returncode == 0
        case ("install" | "upgrade" as verb, "routemoa", chart, *options):
            said = run(helm, verb, "--help").stdout
            assert all(option in said for option in options if option.startswith("--"))
            pool = tmp_path / "pool.toml"
            pool.write_text("[[model]]\n")
            kept = ["--set", "pool=x"] if "--reuse-values" in options else []
            words = [w.replace("pool.toml", str(pool)) for w in options if w != "--reuse-values"]
            done = run(helm, "template", "routemoa", chart, *words, *kept)
            assert done.returncode == 0, done.stderr
        case other:
            pytest.fail(f"unchecked: helm {' '.join(other)}")


@pytest.mark.parametrize("command", of_page("kubectl"), ids=str)
def test_clusters_are_told_of_what_the_chart_makes(command: Command) -> None:
    workload = rendered()["StatefulSet"]
    match command.words[1:]:
        case ("create", "secret", "generic", name, *entries):
            values = yaml.safe_load((ROOT / "deploy/helm/routemoa/values.yaml").read_text())
            assert name == values["secretName"]
            assert all(re.match(r"--from-literal=[A-Z_]+=", entry) for entry in entries)
        case ("exec", pod, "--", "routemoa", *arguments):
            assert pod == f"{workload}-0"
            accept(list(arguments))
        case ("rollout", "restart", what):
            assert what == f"statefulset/{workload}"
        case other:
            pytest.fail(f"unchecked: kubectl {' '.join(other)}")


@pytest.mark.parametrize("command", [c for p in ("cp", "install") for c in of_page(p)], ids=str)
def test_files_that_are_copied_exist(command: Command) -> None:
    files = [w for w in command.words[1:] if "/" in w]
    if command.words[0] == "cp":
        assert (ROOT / files[0]).is_file()
    assert files[-1].startswith(("/etc/", "/var/lib/routemoa/", "/var/backups/routemoa"))


@pytest.mark.parametrize("command", [c for p in ("rm", "chown") for c in of_page(p)], ids=str)
def test_what_is_removed_or_given_away_is_the_servers(command: Command) -> None:
    files = [w for w in command.words[1:] if w.startswith("/")]
    assert files
    assert all(re.fullmatch(r"/var/lib/routemoa(/store\.db(-wal|-shm)?)?", file) for file in files)


@pytest.mark.parametrize("command", of_page("ln"), ids=str)
def test_the_program_of_the_unit_is_a_link_to_an_environment_that_is_made(command: Command) -> None:
    options, environment, link = command.words[1:]
    assert options == "-sfn"
    assert f"ExecStart={link}/bin/routemoa " in UNIT.read_text()
    assert environment in {c.words[3] for c in of_page("python3") if c.words[1:3] == ("-m", "venv")}


# --- backup and restore, as they stand on the page

SHELL = """set -eu
sudo() { if [ "$1" = -u ]; then shift 2; fi; "$@"; }
systemctl() { echo "systemctl $*"; }
install() { local args=(); while [ $# -gt 0 ]; do if [ "$1" = -o ]; then shift 2; else args+=("$1"); shift; fi; done
  command install "${args[@]}"; }
"""


def find_block(text: str) -> Block:
    (block,) = [b for b in page_blocks(PAGE) if b.language == "sh" and text in b.text]
    return block


def run_block(block: Block, folder: Path) -> str:
    """Run a block where /var is in a folder of ours and no service is; return its output."""
    script = SHELL + block.text.replace("/var/", f"{folder}/var/")
    program = shlex.join([sys.executable, "-c", "from routemoa.cli import main; main()"])
    script = script.replace("/opt/routemoa/bin/routemoa", program)
    done = run("bash", "-c", script, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_store_is_backed_up_while_it_is_written_and_restored(tmp_path: Path) -> None:
    home = tmp_path / "var/lib/routemoa"
    home.mkdir(parents=True)
    store_file, traces_file = home / "store.db", home / "store-traces.db"
    create_key(store_file, Tenant("alice", ""), time.time())
    with closing(sqlite3.connect(traces_file)) as traces:
        traces.execute("PRAGMA journal_mode = WAL")
        traces.execute("CREATE TABLE traces (id TEXT)")
        traces.execute("INSERT INTO traces VALUES ('t')")
        traces.commit()
        store = Store(store_file, Tenants())
        await store.recorder("alice", "routemoa").start(CallStart("before", "proposal", None))
        await store.flush()
        assert store_file.with_name("store.db-wal").stat().st_size > 0, "what is copied is in the log, not the file"
        run_block(find_block("VACUUM INTO"), tmp_path)
        await store.recorder("alice", "routemoa").start(CallStart("after", "proposal", None))
        await store.aclose()
    backups = tmp_path / "var/backups/routemoa"
    assert [c.model for c in read_calls(backups / "store.db")] == ["before"]
    with closing(sqlite3.connect(backups / "store-traces.db")) as traces:
        assert traces.execute("SELECT id FROM traces").fetchall() == [("t",)]

    said = run_block(find_block("rm -f"), tmp_path)
    assert said.index("systemctl stop routemoa") < said.index("systemctl start routemoa")
    assert [c.model for c in read_calls(store_file)] == ["before"]
    assert [k.tenant.name for k in read_keys(store_file)] == ["alice"]
    assert store_file.stat().st_mode & 0o077 == 0


def test_a_backup_does_not_replace_another(tmp_path: Path) -> None:
    (tmp_path / "var/lib/routemoa").mkdir(parents=True)
    for name in ("store.db", "store-traces.db"):
        with closing(sqlite3.connect(tmp_path / "var/lib/routemoa" / name)) as database:
            database.execute("CREATE TABLE t (x)")
    run_block(find_block("VACUUM INTO"), tmp_path)
    with pytest.raises(AssertionError, match="already exists"):
        run_block(find_block("VACUUM INTO"), tmp_path)


def test_the_backup_is_one_command_for_both_files() -> None:
    texts = {c.words[2] for c in split_commands(find_block("VACUUM INTO")) if c.words[0] == "python3"}
    assert len(texts) == 1


# --- what the page says of the server


def test_every_alert_leads_to_an_incident_and_metrics_and_codes_exist() -> None:
    page = (ROOT / PAGE).read_text()
    operate = (ROOT / "docs/how-to/operate.md").read_text()
    for metric in re.findall(r"routemoa_[a-z_]+", page):
        if metric != "routemoa_" and f"`{metric}`" not in operate:
            pytest.fail(f"no metric {metric}")
    api = (ROOT / "docs/reference/http-api.md").read_text()
    for code in re.findall(r"Callers get \d+, `(\w+)`", page):
        assert f"`{code}`" in api
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
    for alert in alerts:
        assert f"`{alert['alert']}`" in page, f"no incident for {alert['alert']}"


def test_the_figures_of_its_sizes_were_measured() -> None:
    sizes = (ROOT / PAGE).read_text().partition("## Size it")[2].partition("| traces |")[0]
    rows = re.findall(r"^\| .+? \| (.+) \|$", sizes, re.MULTILINE)[2:]
    measured = "".join(
        (ROOT / f"docs/{p}.md").read_text() for p in ("research/performance", "how-to/tenants-and-ledger")
    )
    figures = [figure for row in rows for figure in re.findall(r"\d[\d.,]*\d", row)]
    assert len(figures) > 8
    for figure in figures:
        assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d])", measured), f"{figure} is nowhere measured"
