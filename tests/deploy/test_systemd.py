"""The unit is one that systemd takes, is shut in, and knows the files that the runbook makes."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from routemoa.testing import FakeEndpoint
from tests.deploy.programs import ROOT, find_program, run
from tests.gateway.lifecycle.test_server import ROUTEMOA, write_pool
from tests.test_doc_examples import accept

UNIT = ROOT / "deploy/systemd/routemoa.service"
NO_SYSTEMD = "install systemd"
MAX_EXPOSURE = 20  # tenths; a plain service has 96
DRAIN_SECONDS = 60


def read_settings() -> dict[str, list[str]]:
    """Return each setting of the unit with its values."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Its program is not installed here: the checkout's own stands in its place."""
    analyze = find_program("systemd-analyze", NO_SYSTEMD)
    program = tmp_path / "routemoa"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, ROUTEMOA))} "$@"\n')
    program.chmod(0o755)
    unit = tmp_path / "routemoa.service"
    unit.write_text(UNIT.read_text().replace("/opt/routemoa/bin/routemoa", str(program)))
    done = run(analyze, "verify", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", "ProtectSystem=strictly"))
    assert "strictly" in run(analyze, "verify", "--man=no", unit).stderr, "a wrong word is noticed"


def test_the_unit_is_shut_in() -> None:
    analyze = find_program("systemd-analyze", NO_SYSTEMD)
    done = run(analyze, "security", "--offline=yes", f"--threshold={MAX_EXPOSURE}", "--no-pager", UNIT)
    assert done.returncode == 0, done.stdout[-300:]


def test_the_unit_starts_the_server_and_lets_answers_end() -> None:
    settings = read_settings()
    program, *arguments = shlex.split(settings["ExecStart"][0])
    assert program == "/opt/routemoa/bin/routemoa"
    accept(arguments)
    assert "-HUP" in settings["ExecReload"][0]
    assert int(settings["TimeoutStopSec"][0]) >= DRAIN_SECONDS
    assert "EPERM" in settings["SystemCallErrorNumber"], "a call that is not allowed is an error, not the end"


def test_the_unit_knows_the_files_that_the_runbook_makes() -> None:
    page = (ROOT / "docs/how-to/runbook.md").read_text()
    text = UNIT.read_text().replace("%S", "/var/lib").replace("%C", "/var/cache")
    for file in ("/etc/routemoa/pool.toml", "/etc/routemoa/keys.env", "/var/lib/routemoa/store.db"):
        assert file in text
        assert file in page
    user = (ROOT / "deploy/systemd/routemoa.sysusers").read_text().splitlines()[-1].split()
    assert user[:2] == ["u", read_settings()["User"][0]]


async def test_the_server_writes_to_its_state_alone(tmp_path: Path) -> None:
    """As under ProtectSystem=strict and a read-only container: all else is read-only, and there is no home."""
    bwrap = find_program("bwrap", "install bubblewrap")
    state, etc = tmp_path / "state", tmp_path / "etc"
    state.mkdir()
    etc.mkdir()
    async with FakeEndpoint("four") as e:
        pool = write_pool(etc, e.url)
        seal = [
            bwrap,
            "--ro-bind",
            "/",
            "/",
            "--dev",
            "/dev",
            "--proc",
            "/proc",
            "--tmpfs",
            "/tmp",
            "--die-with-parent",
        ]
        seal += ["--ro-bind", str(etc), str(etc), "--bind", str(state), str(state), "--chdir", str(state)]
        seal += ["--setenv", "HOME", "/nowhere", "--setenv", "ROUTEMOA_STORE", str(state / "store.db")]
        seal += ["--setenv", "ROUTEMOA_CACHE", str(state / "cache"), "--setenv", "PYTHONDONTWRITEBYTECODE", "1"]
        command = [*seal, *ROUTEMOA, "serve", "--pool", str(pool), "--port", "0", "--log-format", "json"]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        try:
            line = (await process.stderr.readline()).decode()
            if line.startswith("bwrap:"):
                pytest.skip(f"no sandbox can be made here: {line}")
            found = re.search(r"http://127\.0\.0\.1:\d+/v1", line)
            assert found, line + (await process.stderr.read()).decode()
            async with AsyncOpenAI(base_url=found[0], api_key="unused", max_retries=0) as client:
                done = await client.chat.completions.create(
                    model="routemoa", messages=[{"role": "user", "content": "What is 2 + 2?"}]
                )
            assert done.choices[0].message.content == "four"
        finally:
            process.terminate()
            said = (await process.communicate())[1].decode()
    assert "Read-only" not in said
    assert {"store.db", "store-traces.db"} <= {f.name for f in state.iterdir()}
