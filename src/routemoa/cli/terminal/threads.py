"""The threads of the scorer's arithmetic, in commands that answer queries."""

from __future__ import annotations

import os

__all__ = ["use_one_thread"]


def use_one_thread() -> None:
    """Limit the scorer's arithmetic to one thread; call it before numpy is imported.

    Scoring takes half a millisecond either way. But OpenBLAS's idle threads keep spinning for a while, beside an
    embedded model that needs every core for its first token: 37 ms of 495 on two cores.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
