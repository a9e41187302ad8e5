"""Hints name a command that works on this machine: for every installer, and wherever the package came from."""

from __future__ import annotations

import json
import re
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from routemoa.core.errors import MissingExtra
from routemoa.core.system.installation import Installation, Tool, find_installation, install_command

ROOT = Path(__file__).parents[3]
REQUIREMENTS = (
    "click>=8.2",
    "xllamacpp>=2026.10; extra == 'local'",
    "jinja2>=3.1; extra == 'plot'",
    'matplotlib >=3.10 ; extra == "plot"',
    "genai-prices>=0.2; extra == 'prices'",
    "math-verify>=0.9; extra == 'eval'",
    "routemoa[plot, prices]; extra == 'eval'",
)


def distribution(files: dict[str, str]) -> Any:
    """Return an installed package with these files of metadata."""

    class Distribution(metadata.PathDistribution):
        def __init__(self) -> None: ...

        def read_text(self, filename: Any) -> str | None:
            return files.get(filename)

        @property
        def requires(self) -> list[str]:
            return list(REQUIREMENTS)

    return Distribution()


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of its own, which is not active, with the current folder elsewhere."""
    prefix = tmp_path / "env"
    prefix.mkdir()
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", str(prefix / "bin" / "python"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.chdir(Path(tmp_path.anchor))
    return prefix


def install(monkeypatch: pytest.MonkeyPatch, url: dict[str, Any] | None, installer: str = "pip") -> None:
    files = {"INSTALLER": f"{installer}\n"} | ({"direct_url.json": json.dumps(url)} if url else {})
    monkeypatch.setattr(metadata, "distribution", lambda _: distribution(files))


@pytest.mark.parametrize(
    ("tool", "command"),
    [
        ("pip", "/e/bin/python -m pip install '/src/my checkout[plot]'"),
        ("uv pip", "uv pip install --python /e/bin/python '/src/my checkout[plot]'"),
        ("uv tool", "uv tool install --force '/src/my checkout[plot]'"),
        ("pipx", "pipx install --force '/src/my checkout[plot]'"),
    ],
)
def test_each_installer_has_its_command(tool: Tool, command: str) -> None:
    assert install_command("plot", Installation(tool, "/src/my checkout", python="/e/bin/python")) == command


def test_extras_that_are_there_stay() -> None:
    assert install_command("plot", Installation("uv tool", ".", True, ("local",))) == (
        "uv tool install --force -e '.[local,plot]'"
    )


def test_a_repository_keeps_its_address() -> None:
    found = Installation("pip", "routemoa @ git+https://host/routemoa@0123abc", is_active=True)
    assert install_command("plot", found) == "pip install 'routemoa[plot] @ git+https://host/routemoa@0123abc'"


@pytest.mark.parametrize("tool", ["pip", "uv pip", "uv tool", "pipx"])
@pytest.mark.parametrize("extra", ["plot", "eval", "local"])
def test_without_a_source_the_libraries_are_named(tool: Tool, extra: str) -> None:
    """Never the package itself: no index may have it."""
    words = shlex.split(install_command(extra, Installation(tool, None, requirements=REQUIREMENTS)))
    libraries = [w for w in words if ">=" in w]
    assert (
        libraries
        == {
            "plot": ["jinja2>=3.1", "matplotlib>=3.10"],
            "local": ["xllamacpp>=2026.10"],
            "eval": ["genai-prices>=0.2", "jinja2>=3.1", "math-verify>=0.9", "matplotlib>=3.10"],
        }[extra]
    )
    assert [w for w in words if "routemoa" in w] == (["routemoa"] if tool == "pipx" else [])  # pipx: the environment


def test_extras_that_name_each_other_end() -> None:
    circle = ("routemoa[b]; extra == 'a'", "routemoa[a]; extra == 'b'", "x>=1; extra == 'b'")
    assert "'x>=1'" in install_command("a", Installation("pip", None, requirements=circle))


@pytest.mark.parametrize("editable", [True, False])
def test_a_folder_is_found(environment: Path, monkeypatch: pytest.MonkeyPatch, editable: bool) -> None:
    folder = environment / "my checkout"
    folder.mkdir()
    install(monkeypatch, {"url": folder.as_uri(), "dir_info": {"editable": editable} if editable else {}})
    found = find_installation()
    assert (found.tool, found.source, found.editable) == ("pip", f".{folder}", editable)
    monkeypatch.chdir(folder)
    assert find_installation().source == "."
    monkeypatch.chdir(environment)
    assert find_installation().source == "./my checkout", "not the name of a package"


def test_a_wheel_is_named_while_it_is_there(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = environment / "routemoa-0.1.0-py3-none-any.whl"
    wheel.touch()
    install(monkeypatch, {"url": wheel.as_uri(), "archive_info": {}})
    monkeypatch.chdir(environment.parent)
    monkeypatch.setenv("VIRTUAL_ENV", str(environment))
    assert install_command("plot") == "pip install './env/routemoa-0.1.0-py3-none-any.whl[plot]'"
    wheel.unlink()
    assert install_command("plot") == "pip install 'jinja2>=3.1' 'matplotlib>=3.10'"


def test_tools_are_recognized_by_their_receipts(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None, "uv")
    assert find_installation().tool == "uv pip"
    (environment / "pipx_metadata.json").write_text('{"main_package": {"package_or_url": "/src[local, encoder]"}}')
    assert (find_installation().tool, find_installation().extras) == ("pipx", ("local", "encoder"))
    (environment / "uv-receipt.toml").write_text(
        '[tool]\nrequirements = [{ name = "other" }, { name = "routemoa", extras = ["local"], directory = "/src" }]\n'
    )
    assert (find_installation().tool, find_installation().extras) == ("uv tool", ("local",))


@pytest.mark.parametrize("damaged", ["", "{", "[1]", "\x00"])
def test_a_damaged_receipt_is_no_reason_to_fail(
    environment: Path, monkeypatch: pytest.MonkeyPatch, damaged: str
) -> None:
    files = {"direct_url.json": damaged}
    monkeypatch.setattr(metadata, "distribution", lambda _: distribution(files))
    for receipt in ("uv-receipt.toml", "pipx_metadata.json"):
        (environment / receipt).write_text(damaged)
        assert "matplotlib" in install_command("plot")
        (environment / receipt).unlink()


def test_a_checkout_on_the_path_is_named(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> Any:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "distribution", missing)
    monkeypatch.chdir(ROOT)
    assert install_command("plot").endswith("-m pip install '.[plot]'")


def test_the_error_ends_with_the_command() -> None:
    assert str(MissingExtra("xllamacpp", "local")) == f"xllamacpp is not installed: run  {install_command('local')}"


def test_no_text_tells_to_install_from_an_index() -> None:
    told = re.compile(r"""(?<!helm )(?<!sudo )install\s+(?:-\S+\s+)*["']?routemoa\b(?!\s*@)""")
    files = [f for folder in ("src", "docs", "examples", "benchmarks") for f in (ROOT / folder).rglob("*.*")]
    for file in [*files, *ROOT.glob("*.md"), ROOT / "Makefile"]:
        if file.suffix in (".py", ".md", ".toml", ".html", ""):
            assert not told.search(file.read_text("utf-8")), file
