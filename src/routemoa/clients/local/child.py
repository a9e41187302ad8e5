"""The child process of the embedded runtime: it loads one weight file and serves it until its parent is gone."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

__all__ = ["serve"]

SLOTS = 4
"""Requests of one model that run at once; further ones queue in the server."""
HTTP_THREADS = 64
"""A waiting request or an idle kept connection holds one; they cost next to nothing."""
PROMPT_BATCH = 256
"""Prompt tokens at a time: a cancelled prompt and the other slots wait for one batch, not for 2048 tokens."""
PROMPT_CACHE_MIB = 128
"""Prompts that a child may keep besides its slots (llama.cpp's default is 8192)."""


def serve() -> None:
    """Run as the child: read the settings, load the model, write its address, and serve until the parent is gone."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr: the parent reads only the address from stdout
    settings = json.loads(sys.stdin.readline())
    threading.Thread(target=_exit_with_parent, args=(settings["parent"],), daemon=True).start()

    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = settings["path"]
    p.model_alias = {Path(settings["path"]).stem}
    p.hostnames, p.port, p.api_keys = ["127.0.0.1"], 0, [settings["key"]]
    p.n_parallel, p.n_ctx = SLOTS, SLOTS * settings["context"]  # n_ctx is the sum over the slots
    p.cpuparams.n_threads, p.cpuparams_batch.n_threads = settings["threads"], settings["batch_threads"]
    p.n_threads_http = HTTP_THREADS
    p.cache_ram_mib = PROMPT_CACHE_MIB
    p.ui = p.endpoint_slots = p.endpoint_props = p.endpoint_metrics = False
    p.n_batch = p.n_ubatch = PROMPT_BATCH
    p.verbosity = 1  # errors only
    try:
        server = xllamacpp.Server(p)
    except RuntimeError as e:
        sys.stderr.write(f"{e}\n")
        sys.stderr.flush()
        os._exit(1)
    out.write(f"{server.listening_address}\n")
    out.flush()
    threading.Event().wait()


def _exit_with_parent(parent: int) -> None:
    """Exit at once when the parent closes its end of stdin, or is another process by now.

    PR_SET_PDEATHSIG would not do: it is sent when the *thread* that started us ends.
    """
    import select

    while os.getppid() == parent:
        if select.select([0], [], [], 2.0)[0] and not os.read(0, 1):
            break
    os._exit(0)
