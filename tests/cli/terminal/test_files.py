"""Output paths are checked before anything is read or paid for."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from routemoa.cli import cli
from routemoa.cli.terminal.files import check_writable, check_writable_folder, write_file
from routemoa.core.errors import ConfigError, RouteMoAError

FILES = [
    ("ask", "hi", "--trace"),
    ("evaluate", "{records}", "--scorer", "{folder}", "--json"),
    ("bench", "{records}", "--json"),
    ("collect", "{records}", "--out"),
    ("grade", "{records}", "--json"),
    ("judge", "fit", "{records}", "--out"),
    ("scorer", "evaluate", "{folder}", "{records}", "--json"),
    ("scorer", "evaluate", "{folder}", "{records}", "--plot"),
    ("report", "{folder}", "--json"),
    ("report", "{folder}", "--html"),
    ("demo", "--svg"),
]
FOLDERS = [
    ("evaluate", "{records}", "--scorer", "{folder}", "--out"),
    ("scorer", "train", "{records}", "--out"),
    ("bench", "{records}", "--out"),
]


def fails_at_once(tmp_path: Path, command: tuple[str, ...], place: str) -> str:
    """Run a command that would write there; return what it says instead."""
    records = tmp_path / "records.jsonl"
    records.write_text("no record\n")
    words = [word.format(records=records, folder=tmp_path) for word in command]
    done = CliRunner().invoke(cli, [*words, place])
    assert isinstance(done.exception, RouteMoAError), done.output
    return str(done.exception)


@pytest.mark.parametrize("command", FILES, ids=" ".join)
def test_a_file_that_cannot_be_written_stops_the_command_first(tmp_path: Path, command: tuple[str, ...]) -> None:
    end = ".svg" if command[-1] == "--plot" else ""
    folder = tmp_path / f"folder{end}"
    folder.mkdir()
    assert f"{folder}: this is a folder" in fails_at_once(tmp_path, command, str(folder))
    missing = tmp_path / "missing" / f"file{end}"
    assert "its folder does not exist" in fails_at_once(tmp_path, command, str(missing))
    below = tmp_path / "records.jsonl" / f"file{end}"
    assert "cannot be written" in fails_at_once(tmp_path, command, str(below))


@pytest.mark.parametrize("command", FOLDERS, ids=" ".join)
def test_a_folder_that_cannot_be_made_stops_the_command_first(tmp_path: Path, command: tuple[str, ...]) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    assert "is a file" in fails_at_once(tmp_path, command, str(taken / "run"))


def test_a_check_leaves_nothing_behind_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    file.write_text("kept")
    check_writable(str(file))
    check_writable(str(tmp_path / "new.json"))
    check_writable_folder(str(tmp_path / "a" / "b"))
    check_writable(None)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.json"]
    assert file.read_text() == "kept"


@pytest.mark.parametrize("place", ["/proc/figures.json", "/sys/figures.json", "a\0b", "x" * 300])
def test_a_place_that_takes_no_file_is_told_so(place: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written|does not exist"):
        check_writable(place)


def test_a_device_is_written_to_and_stays_one() -> None:
    check_writable("/dev/null")
    write_file("/dev/null", b"{}")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_disk_that_is_full_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(ConfigError, match="No space left"):
        write_file("/dev/full", b"{}")
    with open("/dev/full", "wb") as full:
        code = "from routemoa.cli import main; main()"
        command = [sys.executable, "-c", code, "pool", "show"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left on device: make room" in done.stderr
