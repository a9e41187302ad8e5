"""A server learns by itself: every so often a process of its own runs `routemoa learn`; no request waits for it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from routemoa.core.errors import RouteMoAError
from routemoa.core.learned.learned_log import describe_drift, find_last_run
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.plural import counted
from routemoa.ledger.location import StoreLocation, StoreUrl

__all__ = ["learning_beside", "wait_seconds"]

LOG = logging.getLogger("routemoa.learning")
LOOK_SECONDS = 30.0
"""The longest wait between two looks at whether a run is due: the pool file may have changed."""
MIN_WAIT = 0.5
LONGEST_SECONDS = 3600.0
"""After which a run is ended."""


@asynccontextmanager
async def learning_beside(
    pool: Callable[[], Pool],
    store: StoreLocation | None,
    reload: Callable[[], Awaitable[None]],
    note_drift: Callable[[str, str, str], None],
) -> AsyncGenerator[None, None]:
    """Learn whenever `[learning] every` has passed since the last run, until the block ends.

    Several servers, workers and replicas of one pool file may do so: a run holds a lock beside the pool file, and is
    due for the first of them only. A run that fails is logged, and the next one is due as usual.

    Args:
        pool: the pool as it was read last.
        store: the ledger; None keeps none, so that there is nothing to learn from.
        reload: reads the pool file again where something was taken over. Raises RouteMoAError.
        note_drift: takes a member that has changed, the kind of the change, and a description.
    """
    task = asyncio.create_task(_keep_learning(pool, store, reload, note_drift))
    try:
        yield
    finally:
        if task.cancel():
            await asyncio.wait([task])


async def _keep_learning(
    pool: Callable[[], Pool],
    store: StoreLocation | None,
    reload: Callable[[], Awaitable[None]],
    note_drift: Callable[[str, str, str], None],
) -> None:
    """See `learning_beside`."""
    last_tried: float | None = None
    drifts: set[tuple[str, float]] = set()
    while store is not None:
        now, source = pool(), Path(pool().source)
        waits = wait_seconds(now.learning.seconds, find_last_run(source), last_tried, time.time())
        if waits is None or waits > 0:
            await asyncio.sleep(LOOK_SECONDS if waits is None else min(LOOK_SECONDS, max(MIN_WAIT, waits)))
            continue
        report = await _run(source, store)
        last_tried = time.time()
        for drift in _say(report, drifts):
            note_drift(drift["model"], "quality", describe_drift(drift))
        if report["action"] == "taken over":
            with suppress(RouteMoAError):  # it is in the log
                await reload()
        await asyncio.sleep(MIN_WAIT)


def wait_seconds(every: float | None, last_run: float | None, last_tried: float | None, now: float) -> float | None:
    """Return the seconds until the next run; 0 where it is due, None where there is none. All since the epoch."""
    if every is None:
        return None
    tried = [at for at in (last_run, last_tried) if at is not None and at <= now]
    return 0.0 if not tried else max(0.0, max(tried) + every - now)


async def _run(pool_file: Path, store: StoreLocation) -> dict[str, Any]:
    """Run `routemoa learn` in a process of its own, at low priority, and return what it printed."""
    nice = [tool, "-n", "10"] if (tool := shutil.which("nice")) else []
    words = ["-m", "routemoa", "learn", "--due", "--json", "--pool", str(pool_file)]
    secret = store.secret if isinstance(store, StoreUrl) else str(store)  # a process's words are for all to see
    try:
        process = await asyncio.create_subprocess_exec(
            *nice,
            sys.executable,
            *words,
            env={**os.environ, "ROUTEMOA_STORE": secret},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as e:
        return {"action": "failed", "why": f"the process could not be started: {e.strerror}"}
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        return {"action": "failed", "why": f"it took longer than {LONGEST_SECONDS:.0f} s"}
    finally:
        if process.returncode is None:
            process.kill()
    try:
        report: dict[str, Any] = json.loads(out)
    except ValueError:
        lines = err.decode("utf-8", "replace").strip().splitlines()
        return {"action": "failed", "why": lines[-1] if lines else f"the process ended with {process.returncode}"}
    return report


def _say(report: dict[str, Any], drifts: set[tuple[str, float]]) -> list[dict[str, Any]]:
    """Log a run, and each drift once; return those that are new."""
    match report["action"]:
        case "taken over":
            LOG.warning("learned from %s: %s", counted(report["outcomes"], "outcome"), report["why"])
        case "failed":
            LOG.warning("nothing was learned: %s", report["why"])
        case _:
            LOG.info("%s: %s", report["action"], report.get("why", "another server has learned"))
    for note in report.get("notes", ()):
        LOG.warning("%s", note)
    new = [d for d in report.get("drift", ()) if (d["model"], d["since"]) not in drifts]
    for drift in new:
        drifts.add((drift["model"], drift["since"]))
        LOG.warning("%s", describe_drift(drift))
    return new
