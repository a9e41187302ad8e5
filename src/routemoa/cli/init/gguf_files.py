"""Find the model files on this machine: GGUF files in the usual places, in bounded time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic

from routemoa.clients.model_lists.reply import ListedModel
from routemoa.clients.weights.gguf import read_gguf_header

__all__ = ["find_model_files", "measure_memory"]

SECONDS = 2.0
"""For the whole search."""
MAX_ENTRIES = 50_000
DEPTH = 6
"""Folders below a place; of the current folder only its own files and those one folder below."""
LEAST_BYTES = 20_000_000
"""Smaller files are vocabularies and adapters."""
NOT_CHAT = {
    "bert",
    "clip",
    "jina-bert-v2",
    "jina-bert-v3",
    "modern-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "t5",
    "t5encoder",
}
"""Architectures of models that do not chat."""
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)


def find_model_files(env: Mapping[str, str], home: Path, here: Path, memory: int | None) -> list[ListedModel]:
    """Return the chat models in GGUF files, each file once, by its path.

    Args:
        env: names other places: HF_HOME, HF_HUB_CACHE, LLAMA_CACHE.
        home: the user's home folder.
        here: the current folder.
        memory: bytes of this machine's memory; a larger file is left out. None is no limit.
    """
    search = _Search(monotonic() + SECONDS)
    seen: set[str] = set()
    found: list[ListedModel] = []
    for path in (p for folder, depth in _list_places(env, home, here) for p in search.walk(folder, depth)):
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        if (model := _read_file(path, memory)) is not None:
            found.append(model)
    return found


def measure_memory() -> int | None:
    """Return the bytes of this machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


class _Search:
    """Walks through folders until its time or its number of entries is over."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._left = MAX_ENTRIES

    def walk(self, folder: Path, depth: int) -> Iterator[Path]:
        """Yield the GGUF files of a folder and, `depth` deep, of those in it; links to folders are not followed."""
        try:
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError:
            return
        below: list[Path] = []
        for entry in entries:
            self._left -= 1
            if self._left < 0 or monotonic() > self._deadline:
                return
            if entry.name.lower().endswith(".gguf"):
                yield Path(entry.path)
            elif depth and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                below.append(Path(entry.path))
        for each in below:
            yield from self.walk(each, depth - 1)


def _list_places(env: Mapping[str, str], home: Path, here: Path) -> list[tuple[Path, int]]:
    """Return the folders in which programs keep model files, and how deep to look."""
    hub = env.get("HF_HUB_CACHE") or (
        f"{env['HF_HOME']}/hub" if env.get("HF_HOME") else home / ".cache/huggingface/hub"
    )
    llama = env.get("LLAMA_CACHE") or home / ".cache/llama.cpp"
    folders = [hub, llama, home / ".lmstudio/models", home / ".cache/lm-studio/models", home / "models"]
    return [(here, 1), *((Path(folder), DEPTH) for folder in folders)]


def _read_file(path: Path, memory: int | None) -> ListedModel | None:
    """Return the model of a file, or of the first of several parts; None where it is no chat model that fits."""
    size = _measure_file(path) if str(path).isprintable() else None
    if size is None or size < LEAST_BYTES or (memory is not None and size > 0.8 * memory):
        return None
    header = read_gguf_header(path)
    if header is None or header.architecture in NOT_CHAT or "bert" in header.architecture:
        return None
    if header.kind not in (None, "model") or "mmproj" in path.name.lower():  # an adapter, or the eye of a model
        return None
    return ListedModel(str(path), bytes=size, chat=True)


def _measure_file(path: Path) -> int | None:
    """Return the bytes of a file, or of all parts where it is the first; None for a further or incomplete one."""
    part = _PART.search(path.name)
    names = [path.name]
    if part:
        if int(part[1]) != 1 or not 0 < int(part[2]) < 1000:
            return None
        stem = path.name[: part.start()]
        names = [f"{stem}-{n:05d}-of-{part[2]}{path.suffix}" for n in range(1, int(part[2]) + 1)]
    try:
        return sum((path.parent / name).stat().st_size for name in names)
    except OSError:
        return None
