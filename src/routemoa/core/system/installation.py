"""How this package was installed, and the command that adds one of its extras.

A hint names what works on this machine today: the folder, wheel or repository that the package came from, else the
libraries of the extra. It never names a package index, which may not have this package.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct

__all__ = ["Installation", "find_installation", "install_command"]

NAME = "routemoa"
Tool = Literal["pip", "uv pip", "uv tool", "pipx"]
EXTRA_MARKER = re.compile(r"""^(?P<library>[^;]*[^;\s])\s*+;\s*+extra\s*+==\s*+['"](?P<extra>[\w-]+)['"]\s*$""")
OWN_EXTRAS = re.compile(rf"^{NAME}\[(?P<extras>[\w, -]+)\]$")


class Installation(Struct, frozen=True):
    """Where the running package came from and what installed it."""

    tool: Tool = "pip"
    source: str | None = None
    """A folder, a wheel, or `name @ URL`; None where it is unknown or gone."""
    editable: bool = False
    extras: tuple[str, ...] = ()
    """Installed with the package, as far as its tool wrote them down; a new installation has to name them, too."""
    requirements: tuple[str, ...] = ()
    """The package's own `Requires-Dist`."""
    python: str = "python"
    """The environment's interpreter."""
    is_active: bool = False
    """Whether `pip` and `uv pip` install into this environment without being told so."""


def install_command(extra: str, installation: Installation | None = None) -> str:
    """Return the shell command that adds `extra` to an installation, by default to the running one."""
    found = find_installation() if installation is None else installation
    if found.source is None:
        libraries = [shlex.quote(r) for r in _list_libraries(extra, found.requirements)]
        return " ".join([f"pipx inject {NAME}" if found.tool == "pipx" else _install_into(found), *libraries])
    extras = ",".join(sorted({*found.extras, extra}))
    name, at, url = found.source.partition(" @ ")
    spec = shlex.quote(f"{name}[{extras}]{at}{url}")
    editable = "-e " if found.editable else ""
    match found.tool:
        case "uv tool":
            return f"uv tool install --force {editable}{spec}"
        case "pipx":
            return f"pipx install --force {editable}{spec}"
    return f"{_install_into(found)} {editable}{spec}"


def find_installation() -> Installation:
    """Return how the running package was installed, by what its installer wrote beside it."""
    python, is_active = _show_path(Path(sys.executable)), os.environ.get("VIRTUAL_ENV") == sys.prefix
    try:
        distribution = metadata.distribution(NAME)
    except metadata.PackageNotFoundError:  # its source folder is on the path, without an installation
        return Installation(source=_find_checkout(), python=python, is_active=is_active)
    source, editable = _read_source(distribution.read_text("direct_url.json"))
    tool, extras = _find_tool(Path(sys.prefix), (distribution.read_text("INSTALLER") or "").strip())
    requirements = tuple(distribution.requires or ())
    return Installation(tool, source, editable, extras, requirements, python, is_active)


def _install_into(installation: Installation) -> str:
    """Return the command that installs libraries into an environment, without their names."""
    python = shlex.quote(installation.python)
    if installation.tool in ("uv pip", "uv tool"):
        return "uv pip install" if installation.is_active else f"uv pip install --python {python}"
    return "pip install" if installation.is_active else f"{python} -m pip install"


def _list_libraries(extra: str, requirements: tuple[str, ...]) -> list[str]:
    """Return the libraries of an extra, those of the extras that it consists of included."""
    libraries: dict[str, None] = {}
    waiting, seen = [extra], set[str]()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for requirement in requirements:
            found = EXTRA_MARKER.match(requirement)
            if found is None or found["extra"] != current:
                continue
            if own := OWN_EXTRAS.match(found["library"]):
                waiting += [e.strip() for e in own["extras"].split(",")]
            else:
                libraries[found["library"].replace(" ", "")] = None
    return sorted(libraries)


def _read_source(direct_url: str | None) -> tuple[str | None, bool]:
    """Return the source in a `direct_url.json` (PEP 610) if it can still be had, and whether it is editable."""
    table = _read_table(json.loads, direct_url)
    url = urlsplit(str(table.get("url", "")))
    if "vcs_info" in table:
        vcs, commit = table["vcs_info"].get("vcs", "git"), table["vcs_info"].get("commit_id")
        return f"{NAME} @ {vcs}+{table['url']}" + (f"@{commit}" if commit else ""), False
    if url.scheme != "file":
        return (f"{NAME} @ {table['url']}", False) if url.scheme in ("http", "https") else (None, False)
    path = Path(unquote(url.path))
    if not path.exists():
        return None, False
    return _show_source(path), bool(table.get("dir_info", {}).get("editable"))


def _find_tool(prefix: Path, installer: str) -> tuple[Tool, tuple[str, ...]]:
    """Return what installed the package, and the extras that this tool noted down."""
    if (receipt := prefix / "uv-receipt.toml").is_file():
        requirements = _read_table(tomllib.loads, receipt.read_text("utf-8")).get("tool", {}).get("requirements", [])
        own: dict[str, Any] = next((r for r in requirements if r.get("name") == NAME), {})
        return "uv tool", tuple(own.get("extras", ()))
    if (receipt := prefix / "pipx_metadata.json").is_file():
        package = _read_table(json.loads, receipt.read_text("utf-8")).get("main_package", {})
        named = re.search(r"\[([\w, -]+)\]", str(package.get("package_or_url", "")))
        return "pipx", tuple(e.strip() for e in named[1].split(",")) if named else ()
    return "uv pip" if installer == "uv" else "pip", ()


def _read_table(parse: Any, text: str | None) -> dict[str, Any]:
    """Return the table in a file of another tool; an empty one where it cannot be read: a hint is no reason to fail."""
    try:
        table = parse(text) if text else {}
    except ValueError:
        return {}
    return table if isinstance(table, dict) else {}


def _find_checkout() -> str | None:
    """Return the checkout that this file belongs to."""
    root = Path(__file__).parents[4]
    return _show_source(root) if (root / "pyproject.toml").is_file() else None


def _show_source(path: Path) -> str:
    """Return a path that no installer takes for the name of a package."""
    shown = _show_path(path)
    return shown if shown.startswith((".", "/")) else f"./{shown}"


def _show_path(path: Path) -> str:
    """Return a path as a person would type it: relative where it is in the current folder."""
    current = Path.cwd()
    return str(path.relative_to(current)) if path.is_relative_to(current) else str(path)
