"""Where the embedded runtime cannot be loaded, one line says what to install, before anything is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from routemoa.cli import cli
from routemoa.clients.local import runtime_check
from routemoa.clients.local.runtime_check import check_runtime, explain_load_error
from routemoa.core.errors import ConfigError, MissingExtra

MISSING = "ImportError: libgomp.so.1: cannot open shared object file: No such file or directory"


def break_runtime(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Put a package `xllamacpp` that does this before the real one."""
    (folder / "xllamacpp.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))


def test_a_runtime_that_loads_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_runtime(tmp_path, monkeypatch, "")
    check_runtime()


def test_a_missing_system_library_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_runtime(tmp_path, monkeypatch, f"raise ImportError({MISSING.removeprefix('ImportError: ')!r})")
    with pytest.raises(ConfigError, match=r"libgomp\.so\.1 is missing: run  apt-get install libgomp1"):
        check_runtime()


@pytest.mark.parametrize("code", ["import os; os.abort()", "raise RuntimeError('illegal instruction')", "exit(3)"])
def test_whatever_goes_wrong_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    break_runtime(tmp_path, monkeypatch, code)
    with pytest.raises(ConfigError, match=r"local models cannot run here: .") as caught:
        check_runtime()
    assert "\n" not in str(caught.value)


def test_other_errors_stay_as_they_are() -> None:
    assert explain_load_error("out of memory") == "out of memory"
    assert explain_load_error("libfoo.so.2: cannot open shared object file") == (
        "the system library libfoo.so.2 is missing: install it"
    )


def test_nothing_is_downloaded_for_a_runtime_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTEMOA_CACHE", str(tmp_path))
    monkeypatch.setattr(runtime_check, "find_spec", lambda _: None)
    done = CliRunner().invoke(cli, ["demo"])
    assert isinstance(done.exception, MissingExtra)
    assert "xllamacpp, which runs local models, is not installed: run  " in str(done.exception)
    assert "to download" not in done.output
