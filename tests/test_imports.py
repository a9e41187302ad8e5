"""Imports go down only: a package may use the levels below its own; heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

SRC = Path(__file__).parent.parent / "src" / "routemoa"
LEVELS = [
    ["core"],
    ["clients", "scoring", "judging", "ledger", "testing"],
    ["routing", "datasets"],
    ["mixture"],
    ["gateway", "training", "evaluation"],
    ["cli"],
]
LARGE = {"cli": 19, "cli/terminal": 15, "datasets": 17, "evaluation/report": 15, "gateway/ui": 15}
"""Packages of more files than a stranger sees at a glance: they may not grow."""
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 60
"""A function without its decorators."""
LEVEL = {name: i for i, names in enumerate(LEVELS) for name in names}
ONLY_IN = {
    "aiohappyeyeballs": {"clients"},
    "aiohttp": {"testing"},
    "xllamacpp": {"clients"},
    "starlette": {"gateway"},
    "uvicorn": {"gateway", "cli"},
    "httptools": {"clients", "gateway"},
    "json_repair": {"mixture"},
    "mcp": {"gateway"},
    "opentelemetry": {"gateway"},
    "prometheus_client": {"gateway"},
    "psycopg": {"ledger"},
    "redis": {"ledger"},
    "pydantic": {"gateway"},
    "jsonschema_rs": {"mixture"},
    "numpy": {"scoring", "training", "evaluation", "cli"},
    "onnxruntime": {"scoring", "training"},
    "tokenizers": {"scoring", "training"},
    "torch": {"training"},
    "transformers": {"training"},
    "jinja2": {"evaluation"},
    "matplotlib": {"evaluation", "cli"},
    "math_verify": {"datasets"},
    "pyarrow": {"datasets"},
    "fsspec": {"datasets"},
    "ray": {"gateway", "cli"},
    "genai_prices": {"core"},
    "rich": {"cli"},
    "prompt_toolkit": {"cli"},
    "tomlkit": {"cli"},
    "click": {"cli"},
}


class Module(NamedTuple):
    """What a file holds."""

    imports: set[str]
    """Every module that it imports at run time, wherever in the file it does."""
    functions: dict[str, int]
    """Where each function begins -> its lines."""


@cache
def read_module(path: Path) -> Module:
    found = Module(set(), {})
    tree = ast.parse(path.read_text())
    guarded = {
        id(n)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for n in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.functions[f"{path}:{node.lineno} {node.name}"] = (node.end_lineno or 0) - node.lineno + 1
        elif id(node) in guarded:
            continue
        elif isinstance(node, ast.Import):
            found.imports.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.imports.update(f"{node.module}.{a.name}" for a in node.names)
    return found


def imports(path: Path) -> set[str]:
    return read_module(path).imports


def package(path: Path) -> str:
    return path.relative_to(SRC).parts[0]


FILES = sorted(p for p in SRC.rglob("*.py") if p.parent != SRC)


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(SRC)) for p in FILES])
def test_imports_go_down_only(path: Path) -> None:
    mine = package(path)
    assert mine in LEVEL, f"{mine} has no level: give it one in LEVELS"
    for name in imports(path):
        if name.startswith("routemoa.") and not name.endswith("__version__"):
            other = name.split(".")[1]
            assert other == mine or LEVEL[other] < LEVEL[mine], f"{mine} must not import {other}"
        library = name.split(".")[0]
        assert mine in ONLY_IN.get(library, {mine}), f"{library} belongs in {ONLY_IN[library]}, not in {mine}"


def test_the_source_folder_holds_the_packages_and_nothing_else() -> None:
    entries = {p.name for p in SRC.iterdir() if p.name != "__pycache__"}
    assert entries == {*LEVEL, "__init__.py", "__main__.py", "py.typed"}
    assert len(entries) <= 16  # __main__.py beside thirteen packages


PACKAGES = sorted(init.parent for init in SRC.rglob("__init__.py"))


def test_parts_of_a_package_do_not_need_one_another_in_a_circle() -> None:
    """The parts of a package are its modules and sub-packages. Imports within functions count."""
    needed = {path: imports(path) for path in SRC.rglob("*.py")}
    for package in PACKAGES:
        name = ".".join(("routemoa", *package.relative_to(SRC).parts))
        parts = {path.stem for path in package.iterdir()}
        graph: dict[str, set[str]] = {}
        for path in package.rglob("*.py"):
            part = path.relative_to(package).parts[0].removesuffix(".py")
            found = {other.removeprefix(f"{name}.").split(".")[0] for other in needed[path] if f"{name}." in other}
            graph.setdefault(part, set()).update(found & parts - {part})
        assert find_circle(graph) is None, name


def test_modules_do_not_need_one_another_in_a_circle() -> None:
    """Also where a module needs what the package that it is in says itself."""
    names = {".".join(("routemoa", *path.relative_to(SRC).with_suffix("").parts)): path for path in SRC.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in names.items()}

    def find_module(name: str) -> str:
        return name if name in modules else find_module(name.rpartition(".")[0])

    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        ours = {name for name in imports(path) if name.startswith("routemoa.")}
        graph[module] = {find_module(name) for name in ours} - {module}
    assert find_circle(graph) is None


def find_circle(graph: dict[str, set[str]]) -> list[str] | None:
    """Return what needs one another in a circle, the first of it again at its end; None where nothing does."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as e:
        circle: list[str] = e.args[1]
        return circle
    return None


def test_a_package_has_about_a_dozen_files() -> None:
    for init in SRC.rglob("*/__init__.py"):
        name = str(init.parent.relative_to(SRC))
        assert len(list(init.parent.glob("*.py"))) <= LARGE.get(name, 14), name


def test_a_file_and_a_function_can_be_read_at_once() -> None:
    for path in SRC.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= MAX_FILE_LINES, path
        for name, lines in read_module(path).functions.items():
            assert lines <= MAX_FUNCTION_LINES, name


def test_tests_are_laid_out_like_the_source() -> None:
    tests = Path(__file__).parent
    beside = {"integration", "benchmarks", "deploy"}
    for file in tests.rglob("test_*.py"):
        folder = file.parent.relative_to(tests)
        assert folder == Path() or folder.parts[0] in beside or (SRC / folder).is_dir(), file


def test_every_package_says_what_it_is_for() -> None:
    for init in SRC.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(init.read_text())), init


def test_importing_the_package_pulls_in_nothing_heavy() -> None:
    code = "import sys, routemoa, routemoa.cli; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"aiohttp", "starlette", "uvicorn", "rich", "msgspec", "asyncio", "xllamacpp"} & set(loaded)
