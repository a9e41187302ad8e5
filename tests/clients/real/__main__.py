"""Runs the real clients and writes their results and the page: `python -m tests.clients.real [CLIENT ...]`.

It is `make test-clients` after the installation. The exit status is 1 if a cell fails that is not a known fault.

`--quick` is `make test-clients-quick`, which CI runs: the official SDKs that this environment has anyway, and those of
Node, beside one another; nothing is written.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from tests.clients.real.install import ENVIRONMENTS, PLUGIN, make_environments, program
from tests.clients.real.page import RESULTS, write_page
from tests.clients.real.registry import CASES, CLIENTS, HERE, TARGETS, Client
from tests.clients.real.servers import Target, run_servers

KNOWN = HERE / "known_faults.json"
CLIENT_SECONDS = 300.0
OUTCOMES = ("ok", "refused", "unsupported", "skipped", "FAIL")
AT_ONCE = 3
"""Clients of a quick run that run beside one another: they mostly wait."""
OWN_PACKAGES = {"openai", "anthropic"}
"""Packages of clients that the project's own environment has: its tests use them."""


def run_client(client: Client, targets: list[Target], folder: Path, interpreter: Path | None = None) -> dict[str, Any]:
    """Run one client's cases in a process of its environment: its version and cells, or why it was skipped."""
    interpreter = interpreter or program(client.environment)
    if not interpreter.exists():
        return {"skipped": f"there is no {interpreter.relative_to(ENVIRONMENTS.parent)}"}
    given = folder / "targets.json"
    given.write_bytes(msgspec.json.encode(targets))
    script = "node/harness.mjs" if client.environment == "node" else "cases/harness.py"
    if client.environment == "node":  # modules are found from the file's own folder upwards
        script = str(ENVIRONMENTS / "node" / "harness.mjs")
    command = [str(interpreter), str(HERE / script), client.name, str(given), client.package]
    log = folder / f"{client.name}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=_environment(interpreter, folder),
            cwd=folder,
            start_new_session=True,  # so that what a client starts ends with it
        )
        try:
            output, _ = process.communicate(timeout=CLIENT_SECONDS)
            end = f"its process ended with status {process.returncode}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            end = f"it ran for more than {CLIENT_SECONDS:.0f} s"
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return _read_lines(output, f"{end}: {log.read_text()[-300:]}")


def _environment(interpreter: Path, folder: Path) -> dict[str, str]:
    """Return a process's variables: nothing of the user's settings, keys or caches."""
    path = os.pathsep.join([str(interpreter.parent), os.environ.get("PATH", "")])
    quiet = {"DO_NOT_TRACK": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "AI_SDK_LOG_WARNINGS": "false"}
    quiet["SETUP_FOLDER"] = str(HERE / "setup")
    return {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "", **quiet}


def _read_lines(output: str, end: str) -> dict[str, Any]:
    """Read what a process printed; cells that it did not come to have failed."""
    result: dict[str, Any] = {"cells": {case: {} for case in CASES}}
    for line in output.splitlines():
        data = json.loads(line)
        if "cell" in data:
            outcome = f"{data['cell']}: {data['detail']}" if data["cell"] != "ok" else "ok"
            result["cells"][data["case"]][data["target"]] = outcome
        else:
            result |= data
    if "skipped" not in result:
        for case in CASES:
            for target in TARGETS:
                result["cells"][case].setdefault(target, f"FAIL: {end}")
    return result


def apply_known(name: str, result: dict[str, Any], known: dict[str, str]) -> tuple[list[str], list[str]]:
    """Put the reasons of known faults into the cells that fail; return what fails otherwise, and what is right now."""
    failed, mended = [], []
    for case, outcomes in result["cells"].items():
        for target, outcome in outcomes.items():
            key = f"{name}/{case}/{target}"
            if outcome.startswith("FAIL") and key in known:
                outcomes[target] = f"FAIL: {known[key]}"
            elif outcome.startswith("FAIL"):
                failed.append(f"{key}: {outcome}")
            elif key in known:
                mended.append(key)
    return failed, mended


def check_plugin() -> list[str]:
    """Run the tests of the plug-in for llm; return what fails."""
    interpreter = program("python")
    if not interpreter.exists():
        print("llm-routemoa    its tests are skipped: there is no environment")
        return []
    command = [str(interpreter), "-m", "pytest", "-q", "-c", str(PLUGIN / "pyproject.toml"), str(PLUGIN / "tests")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_SECONDS, check=False)
    print(f"llm-routemoa    its tests: {(done.stdout.splitlines() or [''])[-1]}", flush=True)
    return [f"llm-routemoa: {done.stdout[-1500:]}{done.stderr[-300:]}"] if done.returncode else []


class Report:
    """Shows each client's result in a line, and counts."""

    def __init__(self, failed: list[str]) -> None:
        self._known: dict[str, str] = json.loads(KNOWN.read_text())
        self._failed = failed
        self._count = {"passed": 0, "failed": len(failed), "skipped": 0}

    def add(self, client: Client, result: dict[str, Any], seconds: float) -> bool:
        """Show a result; return False where the client was skipped."""
        if "skipped" in result:
            self._count["skipped"] += 1
            print(f"{client.name:16} skipped: {result['skipped']}", flush=True)
            return False
        wrong, mended = apply_known(client.name, result, self._known)
        self._failed += wrong
        cells = [o.split(":")[0] for outcomes in result["cells"].values() for o in outcomes.values()]
        self._count["passed"] += cells.count("ok")
        self._count["failed"] += len(wrong)
        found = ", ".join(f"{cells.count(c)} {c}" for c in OUTCOMES if c in cells)
        print(f"{client.name:16} {seconds:5.1f} s  {found}", flush=True)
        for key in mended:
            print(f"  right now: take {key} out of {KNOWN.name}")
        return True

    def end(self) -> int:
        """Show what failed and the counts; return the exit status."""
        for line in self._failed:
            print(f"FAIL {line}")
        print(", ".join(f"{n} {what}" for what, n in self._count.items()))
        return bool(self._failed)


def run_quick() -> int:
    """Run the clients that need no environment of Python of their own, each before servers of its own."""

    def run(client: Client) -> tuple[dict[str, Any], float]:
        began = monotonic()
        own = Path(sys.executable) if client.environment == "python" else None
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, run_servers(Path(folder)) as targets:
            return run_client(client, targets, Path(folder), own), monotonic() - began

    make_environments({"node"})
    clients = [c for c in CLIENTS if c.environment == "node" or c.package in OWN_PACKAGES]
    report = Report([])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for client, (result, seconds) in zip(clients, pool.map(run, clients), strict=True):
            report.add(client, result, seconds)
    return report.end()


def main(names: list[str]) -> int:
    """Run the clients, show each result in a line, and write the results."""
    if names == ["--quick"]:
        return run_quick()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    report = Report([] if names else check_plugin())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, run_servers(Path(folder)) as targets:
        for client in CLIENTS:
            if names and client.name not in names:
                continue
            began = monotonic()
            result = run_client(client, targets, Path(folder))
            if report.add(client, result, monotonic() - began):
                results[client.name] = result
    ordered = {c.name: results[c.name] for c in CLIENTS if c.name in results}
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")
    write_page()
    return report.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
