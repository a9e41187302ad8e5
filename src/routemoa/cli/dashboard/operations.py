"""What `routemoa serve` gives its dashboard: figures, steps of learning, and edits of the pool file."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routemoa.cli.dashboard.pool_text import (
    check_text,
    describe_text,
    read_pool_text,
    restore_text,
    write_text,
)
from routemoa.cli.dashboard.provider_models import ProviderModels
from routemoa.cli.dashboard.quality_figures import TrafficReader
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.urls import hide_userinfo_and_query
from routemoa.core.types import ModelSpec

if TYPE_CHECKING:
    from routemoa.ledger.trace_store.traces import StoredTrace

__all__ = ["DashboardOperations"]

MAX_STEPS = 200
"""The newest steps of learning that are shown."""


class DashboardOperations:
    """See `routemoa.gateway.operations.Operations`."""

    def __init__(self) -> None:
        self._providers = ProviderModels()
        self._traffic = TrafficReader()
        self._lock = threading.Lock()
        self._probing = asyncio.Lock()

    def measure_quality(self, pool: Pool, judged: Iterable[StoredTrace], now: float) -> dict[str, Any]:
        """Return what feedback says."""
        return self._traffic.measure(pool, judged, now)

    def list_learning_steps(self, pool: Pool) -> dict[str, Any]:
        """Return what was learned, and the steps so far, the newest first."""
        import msgspec

        from routemoa.cli.learning.learned_files import find_current
        from routemoa.cli.pool.pool_file import PoolFile
        from routemoa.core.learned.learned_log import read_log

        if not Path(pool.source).is_file():
            return {"current": None, "steps": []}
        file = PoolFile(Path(pool.source))
        learned = pool.learned
        return {
            "current": find_current(file),
            "shift": {} if learned is None else dict(learned.shift),
            "prior": {} if learned is None else dict(learned.prior),
            "steps": [msgspec.to_builtins(step) for step in reversed(read_log(file.path)[-MAX_STEPS:])],
        }

    def undo_learning(self, pool: Pool) -> dict[str, Any]:
        """Let the pool file name what it named before the last step. Raises ConfigError."""
        import msgspec

        from routemoa.cli.learning.learned_files import undo
        from routemoa.cli.pool.pool_file import PoolFile

        with self._lock:
            plain: dict[str, Any] = msgspec.to_builtins(undo(PoolFile(read_pool_text(pool).path), time.time()))
            return plain

    def describe_pool(self, pool: Pool) -> dict[str, Any]:
        """Return the members, what is wrong with the pool, and the text of its file without secrets."""
        from routemoa.mixture.pool_warnings import list_pool_warnings

        try:
            text: dict[str, Any] = describe_text(read_pool_text(pool))
        except ConfigError as e:
            text = {"text": None, "digest": None, "why": str(e)}
        return {
            "source": pool.source,
            **text,
            "members": [_describe_member(m) for m in pool],
            "absent": [{"name": name, "why": absence.why} for name, absence in pool.absent.items()],
            "warnings": list_pool_warnings(replace(pool, absent={})),
        }

    def check_pool(self, pool: Pool, text: str) -> dict[str, Any]:
        """Return whether a text could be taken over, and what it would change. Raises ConfigError."""
        return check_text(pool, read_pool_text(pool), text)

    def write_pool(self, pool: Pool, text: str, digest: str) -> bytes:
        """Write a text over the pool file; return the bytes of before. Raises ConfigError."""
        with self._lock:
            file = read_pool_text(pool)
            write_text(pool, file, text, digest)
            return file.data

    def restore_pool(self, pool: Pool, before: bytes) -> None:
        """Write the bytes of before. Raises ConfigError."""
        with self._lock:
            restore_text(Path(pool.source), before)

    def list_providers(self) -> list[dict[str, Any]]:
        """Return the providers. Raises ConfigError."""
        return self._providers.list_providers()

    def list_models(self, provider: str) -> dict[str, Any]:
        """Return what a provider lists. Raises ConfigError."""
        return self._providers.list_models(provider)

    def add_models(self, pool: Pool, text: str, provider: str, models: Sequence[str]) -> str:
        """Return a text with further models. Raises ConfigError."""
        return self._providers.add_models(Path(pool.source), text, provider, models)

    async def probe(self, pool: Pool, names: Sequence[str]) -> list[dict[str, Any]]:
        """Ask members for one token each; those that run in this process's own runtime are not loaded again."""
        from routemoa.cli.members.probe import probe_models

        chosen = tuple(m for m in pool if (not names or m.name in names) and not m.local)
        async with self._probing:
            found = [p.to_plain() for p in await probe_models(replace(pool, models=chosen))]
        local = [{"name": m.name, "ok": None} for m in pool if m.local and (not names or m.name in names)]
        return [*found, *local]


def _describe_member(model: ModelSpec) -> dict[str, Any]:
    price = model.price
    return {
        "name": model.name,
        "endpoint": hide_userinfo_and_query(model.endpoint),
        "model": model.model,
        "api_key_env": model.api_key_env,
        "input_price": None if price is None else price.input.base,
        "output_price": None if price is None else price.output.base,
        "price": None if price is None else str(price),
        "context": model.context,
        "prior": model.prior,
    }
