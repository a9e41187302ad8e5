"""The list of what the image holds, and the look for known vulnerabilities in it."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import routemoa
from tests.deploy.programs import ROOT, TOOLS, find_program, run

LOCK = (ROOT / "requirements.lock").read_text()
AUDIT: dict[str, Any] = runpy.run_path(str(ROOT / ".ci/audit.py"), run_name="audit")


def locked() -> set[tuple[str, str]]:
    return set(re.findall(r"^([\w.-]+)==([^ \\]+)", LOCK, re.MULTILINE))


def test_every_library_of_the_lock_has_hashes_and_the_image_asks_for_them() -> None:
    entries = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked())
    assert all("--hash=sha256:" in entry for entry in entries)
    installs = re.findall(r"^RUN pip install (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert installs == ["--require-hashes -r requirements.lock", "--no-deps --no-build-isolation ."]
    for file in ("requirements-deploy.lock", "requirements-dev.lock"):
        assert "--hash=sha256:" in (ROOT / file).read_text()


def test_the_bill_of_materials_lists_what_the_lock_does(tmp_path: Path) -> None:
    find_program("cyclonedx-py")
    files = [tmp_path / "one/sbom.json", tmp_path / "two/sbom.json"]
    for file in files:
        done = run(TOOLS / "python", ".ci/sbom.py", file)
        assert done.returncode == 0, done.stderr
    assert files[0].read_text() == files[1].read_text(), "the same lock, the same file"
    document = json.loads(files[0].read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert {(c["name"], c["version"]) for c in document["components"]} == locked()
    assert all(c["externalReferences"][0]["hashes"] for c in document["components"])
    project = document["metadata"]["component"]
    assert (project["name"], project["version"]) == ("routemoa", routemoa.__version__)
    assert len(document["dependencies"][0]["dependsOn"]) == len(locked())
    schema = run(
        TOOLS / "python",
        "-c",
        "import sys; from cyclonedx.validation.json import JsonStrictValidator as V; "
        "from cyclonedx.schema import SchemaVersion as S; print(V(S.V1_6).validate_str(open(sys.argv[1]).read()))",
        files[0],
    )
    assert schema.stdout.strip() == "None", schema.stdout + schema.stderr


FOUND = {"name": "a", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
CLEAN = {"name": "b", "version": "2.0", "vulns": []}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("libraries", "code", "said"),
    [
        ([CLEAN], 0, ["no known vulnerability in 1 libraries"]),
        ([CLEAN, UNKNOWN], 0, ["not looked up", ": c\n", "in 1 libraries"]),
        ([FOUND, CLEAN, UNKNOWN], 1, ["a 1.0: PYSEC-1, fixed in 1.1", ": c\n", "1 known vulnerabilities"]),
    ],
    ids=["clean", "partly known", "vulnerable"],
)
def test_the_report_of_pip_audit_is_read(
    libraries: list[dict[str, Any]], code: int, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert AUDIT["tell"](AUDIT["read_report"](libraries), "PyPI", "x.lock") == code
    printed = capsys.readouterr().out
    for text in said:
        assert text in printed


def test_an_audit_tells_what_it_did_or_that_it_was_skipped(tmp_path: Path) -> None:
    """A library that no service knows: pip-audit itself calls that "no known vulnerabilities"."""
    find_program("pip-audit")
    lock = tmp_path / "x.lock"
    lock.write_text(f"routemoa-no-such-library==1.0 --hash=sha256:{'0' * 64}\n")
    done = run(TOOLS / "python", ".ci/audit.py", lock)
    assert done.returncode == 0
    assert done.stdout.startswith("pip-audit skipped: its data cannot be reached (PyPI: ")
    assert "no known vulnerability" not in done.stdout or "OSV" in done.stdout
