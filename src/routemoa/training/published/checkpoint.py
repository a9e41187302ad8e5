"""Checkpoints of a long training, and Ctrl-C that leaves one: safetensors, the state as JSON in their head."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from routemoa.core.errors import ConfigError

__all__ = ["catch_interrupt", "read_checkpoint", "write_checkpoint"]


def write_checkpoint(path: Path, state: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Write a checkpoint that is there in full or not at all."""
    from safetensors.torch import save_file

    copies = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
    new = path.with_name(f"{path.name}.new")
    save_file(copies, new, {"state": json.dumps(state)})
    os.replace(new, path)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """State and tensors of a checkpoint. Raises ConfigError: it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()["state"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as e:
        raise ConfigError(f"{path} is damaged ({e}): remove it to begin anew") from e


@contextmanager
def catch_interrupt() -> Iterator[Callable[[], bool]]:
    """Ctrl-C is noted, to be heeded between two steps; a second one interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = threading.Event()

    def note(*_: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
