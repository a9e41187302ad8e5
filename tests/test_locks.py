"""The lock files hold what pyproject.toml asks for, at the same versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
USER, DEVELOPER = "requirements.lock", "requirements-dev.lock"


def read_lock(name: str) -> dict[str, set[str]]:
    """Return library -> its versions."""
    versions: dict[str, set[str]] = {}
    for library, version in re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE):
        versions.setdefault(library, set()).add(version)
    return versions


def library_names(requirements: list[object]) -> set[str]:
    found = {re.split(r"[\[<>=~! ;]", r)[0].lower() for r in requirements if isinstance(r, str)}
    return {re.sub(r"[._]", "-", name) for name in found} - {"routemoa"}


def test_every_dependency_is_locked() -> None:
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    optional = project["optional-dependencies"]
    user = library_names([*project["dependencies"], *optional["local"], *optional["postgres"], *groups["build"]])
    assert user <= set(read_lock(USER)), "run  make lock"
    extras = [r for extra in ("eval", "plot", "prices", "encoder") for r in optional[extra]]
    assert user | library_names([*extras, *groups["dev"]]) <= set(read_lock(DEVELOPER)), "run  make lock"


def test_users_get_the_versions_that_are_tested() -> None:
    user, developer = read_lock(USER), read_lock(DEVELOPER)
    assert {n: v for n, v in user.items() if developer.get(n) != v} == {}, "run  make lock"
