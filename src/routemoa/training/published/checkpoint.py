"""Write and read checkpoints of a training (safetensors, with the state as JSON in the header); defer Ctrl-C to one."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from routemoa.core.errors import ConfigError

__all__ = ["Checkpoint", "catch_interrupt", "read_checkpoint", "write_checkpoint"]


class Checkpoint(NamedTuple):
    """What a checkpoint file holds."""

    state: dict[str, Any]
    tensors: dict[str, Any]


def write_checkpoint(path: Path, state: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Write a checkpoint in one step: the file is there in full or not at all."""
    from safetensors.torch import save_file

    copies = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
    new = path.with_name(f"{path.name}.new")
    save_file(copies, new, {"state": json.dumps(state)})
    os.replace(new, path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises ConfigError: it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not iterable itself
            return Checkpoint(json.loads(file.metadata()["state"]), tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as e:
        raise ConfigError(f"{path} is damaged ({e}): remove it to start again") from e


@contextmanager
def catch_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C was pressed, to check between steps; a second one interrupts."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    interrupted = threading.Event()

    def handle(*_: object) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield interrupted.is_set
    finally:
        signal.signal(signal.SIGINT, before)
