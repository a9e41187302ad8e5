"""Budgets that all processes with one Redis share: one script takes all calls that a process has queued, or not.

Amounts are whole nanodollars there, since the numbers of a script have 53 bits: spending is rounded up, limits down.
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from routemoa.ledger.budgets.budget_check import WindowKey
from routemoa.ledger.location import SharedUrl
from routemoa.ledger.redis.connection import PREFIX, RedisConnection
from routemoa.ledger.schema import StoreError
from routemoa.ledger.sharing.budget_sharing import (
    BUDGET_LEASE_SECONDS,
    BudgetAnswer,
    BudgetRequest,
    SharedCall,
    SharedWindow,
)

__all__ = ["RedisBudgets"]

LOG = logging.getLogger("routemoa.ledger")

HEAD = f"{PREFIX}budgets"
GRACE_SECONDS = 3.0
"""For which a server that was started again, or emptied, takes no calls: every gateway says what it has spent."""
NANO = 1000
"""Picodollars."""


class RedisBudgets:
    """A `BudgetStore`. It connects when it is used, and again after an error.

    Args:
        url: of the server.
        lease: seconds for which a process counts as alive after each exchange.
        grace: seconds until an empty server takes calls.

    Raises:
        MissingExtra: the library is not installed.
        ConfigError: the URL is none.
    """

    def __init__(self, url: SharedUrl, lease: float = BUDGET_LEASE_SECONDS, grace: float = GRACE_SECONDS) -> None:
        self._redis = RedisConnection(url)
        self._lease, self._grace = lease, grace
        self._eviction: str | None = None  # as it was last told

    async def exchange(self, owner: str, ledger: str, place: str, request: BudgetRequest) -> BudgetAnswer:
        """Do all of a request, or nothing. Raises StoreError: it is unknown what was done."""
        await self._redis.connect()  # so that it is known which server this is
        self._warn_of_eviction()
        asked = {
            "owner": owner,
            "ledger": ledger,
            "place": place,
            "run_id": self._redis.run_id,
            "lease": self._lease,
            "grace": self._grace,
            "joins": request.running is not None,
            "spent": [
                (_to_text(key), _round_up(spent), -1 if seen is None else seen // NANO)
                for key, (spent, seen) in request.spent.items()
            ],
            "ended": request.ended,
            "started": [_to_plain(call) for call in request.started],
            "running": [_to_plain(call) for call in request.running or ()],
            "windows": [_to_text(key) for key in request.windows],
            "dead": list(request.dead),
        }
        status, wait, taken, processes, windows = await self._redis.run("budgets", [HEAD], msgspec.json.encode(asked))
        if status == b"copy":
            raise StoreError(
                f"{self._redis.url}: another gateway uses a copy of this ledger; give each gateway a ledger of its own "
                "(ROUTEMOA_STORE), which begins empty"
            )
        return BudgetAnswer(
            status == b"ok",
            float(wait),
            tuple(map(bool, taken)),
            frozenset(name.decode() for name in processes),
            {_to_key(name): SharedWindow(*(int(n) * NANO for n in figures)) for name, *figures in windows},
        )

    def _warn_of_eviction(self) -> None:
        """Log once that the server may forget what was spent."""
        policy = self._redis.eviction
        if policy != self._eviction and policy is not None:
            LOG.warning(
                "%s: when its memory is full it drops keys (maxmemory-policy %s), and with them what budgets "
                "have spent; set maxmemory-policy noeviction",
                self._redis.url,
                policy,
            )
        self._eviction = policy

    async def aclose(self) -> None:
        """Drop the connection."""
        await self._redis.aclose()


def _round_up(picodollars: int) -> int:
    return -(-picodollars // NANO)


def _to_text(key: WindowKey) -> str:
    """Return a window as one text; no day or month has a colon."""
    return f"{key[1]}:{key[0]}"


def _to_key(text: bytes) -> WindowKey:
    window, _, name = text.decode().partition(":")
    return name, window


def _to_plain(call: SharedCall) -> dict[str, Any]:
    most, names = _round_up(call.most), [_to_text(key) for key in call.limits]
    limits = [(name, limit // NANO) for name, limit in zip(names, call.limits.values(), strict=True)]
    record = msgspec.json.encode([most, *names]).decode()
    return {"id": call.id, "most": most, "limits": limits, "record": record}
