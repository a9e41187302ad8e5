"""Model files are found in the usual places, in bounded time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from routemoa.cli.init import gguf_files
from routemoa.cli.init.gguf_files import find_model_files
from tests.clients.weights.test_gguf import gguf, string

LLAMA = gguf(string("general.architecture", "llama"))
BIG = gguf_files.LEAST_BYTES + 1000


def put(path: Path, head: bytes = LLAMA, size: int = BIG) -> Path:
    """Write a file of a size that takes no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as f:
        f.write(head)
        f.truncate(size)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    return tmp_path / "home"


def find(home: Path, memory: int | None = None, **env: str) -> list[str]:
    here = home.parent / "here"
    return [m.id.removeprefix(f"{home.parent}/") for m in find_model_files(env, home, here, memory)]


def test_the_usual_places(home: Path) -> None:
    snapshot = home / ".cache/huggingface/hub/models--a--b/snapshots/abc/b-Q4.gguf"
    blob = put(home / ".cache/huggingface/hub/models--a--b/blobs/123")
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(blob)
    put(home / ".lmstudio/models/x/y/y.gguf")
    put(home / ".cache/llama.cpp/z.GGUF")
    put(home / "models/m.gguf")
    put(home.parent / "here/own.gguf")
    put(home / "elsewhere/no.gguf")
    assert find(home) == [
        "here/own.gguf",
        "home/.cache/huggingface/hub/models--a--b/snapshots/abc/b-Q4.gguf",
        "home/.cache/llama.cpp/z.GGUF",
        "home/.lmstudio/models/x/y/y.gguf",
        "home/models/m.gguf",
    ]
    other = put(home / "moved/hub/models--c/snapshots/1/c.gguf")
    assert str(other.relative_to(home.parent)) in find(home, HF_HOME=str(home / "moved"))


def test_what_is_no_chat_model(home: Path) -> None:
    put(home / "models/tiny.gguf", size=1000)
    put(home / "models/text.gguf", b"hello")
    put(home / "models/mmproj-model.gguf")
    put(home / "models/embed.gguf", gguf(string("general.architecture", "nomic-bert")))
    put(home / "models/lora.gguf", gguf(string("general.architecture", "llama"), string("general.type", "adapter")))
    put(home / "models/esc\x1b[2J.gguf")
    (home / "models/folder.gguf").mkdir()
    (home / "models/broken.gguf").symlink_to(home / "nowhere")
    assert find(home) == []


def test_parts_are_one_model(home: Path) -> None:
    for n in (1, 2, 3):
        put(home / f"models/big-0000{n}-of-00003.gguf")
    put(home / "models/half-00001-of-00002.gguf")
    (model,) = find_model_files({}, home, home, None)
    assert model.id.endswith("big-00001-of-00003.gguf")
    assert model.bytes == 3 * BIG


def test_what_the_memory_cannot_hold_is_left_out(home: Path) -> None:
    put(home / "models/a.gguf")
    assert find(home, memory=BIG) == []
    assert find(home, memory=2 * BIG) == ["home/models/a.gguf"]


def test_the_same_file_is_found_once(home: Path) -> None:
    file = put(home / "models/a.gguf")
    os.link(file, home / "models/b.gguf")  # a second name is a second model
    (home / "models/c.gguf").symlink_to(file)
    assert find(home) == ["home/models/a.gguf", "home/models/b.gguf"]


def test_the_search_is_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = home / "models"
    for _ in range(10):
        deep = deep / "d"
    put(deep / "a.gguf")
    assert find(home) == [], "too deep"
    (home / "models/loop").symlink_to(home / "models")
    for n in range(50):
        put(home / f"models/n{n:02}.txt", b"", 0)
    put(home / "models/z.gguf")
    assert find(home) == ["home/models/z.gguf"]
    monkeypatch.setattr(gguf_files, "MAX_ENTRIES", 20)
    assert find(home) == []
