"""Write a software bill of materials (CycloneDX, JSON) of what requirements.lock installs.

    .venv-deploy/bin/python .ci/sbom.py dist/routemoa.cdx.json

cyclonedx-py reads names, versions and hashes; this adds the version of the project and that it needs all of them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCK = "requirements.lock"


def main(target: Path) -> None:
    """Write the file, and say how many libraries it lists."""
    document = complete(json.loads(read_lock()), read_version())
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(f"{target}: {len(document['components'])} libraries of {LOCK}, CycloneDX {document['specVersion']}")


def read_lock() -> str:
    """Return what cyclonedx-py makes of the lock; the same lock gives the same text."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "cyclonedx_py",
        "requirements",
        LOCK,
        "--pyproject",
        "pyproject.toml",
    ]
    options = ["--output-reproducible", "--output-format", "JSON", "--spec-version", "1.6"]
    return subprocess.run([*command, *options], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def read_version() -> str:
    """Return the version of the project."""
    text = (ROOT / "src/routemoa/__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        sys.exit("src/routemoa/__init__.py: there is no __version__")
    return found[1]


def complete(document: dict[str, Any], version: str) -> dict[str, Any]:
    """Return the document with the version of the project, and all libraries as its dependencies."""
    project = document["metadata"]["component"]
    project |= {"version": version, "purl": f"pkg:pypi/{project['name']}@{version}"}
    references = sorted(c["bom-ref"] for c in document["components"])
    for component in document["components"]:
        component.pop("description", None)  # the lines of the lock
    leaves = [{"ref": reference} for reference in references]
    document["dependencies"] = [{"ref": project["bom-ref"], "dependsOn": references}, *leaves]
    return document


if __name__ == "__main__":
    main(Path(sys.argv[1]))
