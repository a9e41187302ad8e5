"""How many threads the scorer's arithmetic takes, in a command that answers queries."""

from __future__ import annotations

import os

__all__ = ["one_thread"]


def one_thread() -> None:
    """Let the scorer's arithmetic use one thread. To be called before numpy is imported.

    It takes half a millisecond either way, but OpenBLAS's idle threads spin on for a while, beside an embedded model
    that wants every core for its first token: 37 ms of 495 on two cores.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
