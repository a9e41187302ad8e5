"""Look up known vulnerabilities of what requirements.lock installs; fail where there are any.

    .venv-deploy/bin/python .ci/audit.py [LOCK]

pip-audit asks PyPI, else OSV. It says "no known vulnerabilities" and succeeds also where neither knows a library, as
behind a mirror without this data. So its report is read: a library that was not looked up is named.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
SERVICES = {"pypi": "PyPI", "osv": "OSV"}
SECONDS = 20


class Report(NamedTuple):
    """What one service knows."""

    audited: list[str]
    skipped: list[str]
    found: list[str]
    """A line for each vulnerability."""


def main(lock: str) -> int:
    """Print what was found; return the exit code."""
    reasons = []
    for service, name in SERVICES.items():
        report = ask(service, lock)
        if isinstance(report, str):
            reasons.append(f"{name}: {report}")
        elif not report.audited:
            reasons.append(f"{name}: it knows none of the {len(report.skipped)} libraries")
        else:
            return tell(report, name, lock)
    print(f"pip-audit skipped: its data cannot be reached ({'; '.join(reasons)})")
    return 0


def ask(service: str, lock: str) -> Report | str:
    """Return the report of a service, or why there is none."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", lock, "--require-hashes", "--disable-pip"]
    options = ["--vulnerability-service", service, "--format", "json", "--progress-spinner", "off"]
    options += ["--timeout", str(SECONDS)]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        return read_report(json.loads(done.stdout)["dependencies"])
    except ValueError:
        return (done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"])[-1][:200]


def read_report(libraries: Sequence[dict[str, Any]]) -> Report:
    """Return what the libraries of pip-audit's report say."""
    audited, skipped, found = [], [], []
    for library in libraries:
        if "skip_reason" in library:
            skipped.append(library["name"])
            continue
        audited.append(library["name"])
        for v in library["vulns"]:
            fix = ", ".join(v["fix_versions"]) or "no version yet"
            found.append(f"{library['name']} {library['version']}: {v['id']}, fixed in {fix}")
    return Report(audited, skipped, found)


def tell(report: Report, name: str, lock: str) -> int:
    """Print a report; return the exit code: 1 where there is a vulnerability."""
    for line in report.found:
        print(line)
    if report.skipped:
        print(f"not looked up, {name} does not know them: {', '.join(report.skipped)}")
    count = f"{len(report.found)} known vulnerabilities" if report.found else "no known vulnerability"
    print(f"{count} in {len(report.audited)} libraries of {lock} ({name})")
    return 1 if report.found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "requirements.lock"))
