"""Whether the server works (`/healthz`), and whether it can answer (`/readyz`)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.plural import counted
from routemoa.core.types import ModelSpec
from routemoa.gateway.access.caller import Caller
from routemoa.gateway.access.keyring import Keyring
from routemoa.gateway.access.rates import RateKeeper
from routemoa.gateway.http_exchange.json_response import json_response
from routemoa.gateway.telemetry.drift_watch import DriftWatch
from routemoa.ledger import BudgetExchange, Store

__all__ = ["HealthEndpoints"]

STALE_LEDGER_SECONDS = 5.0
"""After which entries that cannot be written make a server with budgets unready: its budgets fail closed."""


class HealthEndpoints:
    """GET /healthz, with `?verbose` also how well each member's endpoint is; GET /readyz.

    Args:
        pool: its members.
        memory: what the client remembers of them.
        keyring: knows the tenants.
        store: holds the budgets, if there are any.
        drift: knows which members have changed.
        rates: of the tenants, which several gateways may share.
        budgets: that several gateways share, if they do.
    """

    def __init__(
        self,
        pool: Pool,
        memory: MemberMemory,
        keyring: Keyring,
        store: Store | None,
        drift: DriftWatch,
        *,
        rates: RateKeeper,
        budgets: BudgetExchange | None = None,
    ) -> None:
        self._drift, self._rates, self._budgets = drift, rates, budgets
        self._pool, self._memory, self._keyring, self._store = pool, memory, keyring, store

    async def get_health(self, request: Request) -> Response:
        """Return the state of the server: while it answers at all, it works."""
        if request.query_params.get("verbose", "0").lower() in ("0", "false", "no"):
            return json_response(self._describe_server())
        caller = Caller(request.scope)
        members = [m for m in self._pool if caller.may_use(m.name, is_method=False)]
        return json_response({**self._describe_server(), "members": {m.name: self._describe(m) for m in members}})

    async def get_readiness(self, _: Request) -> Response:
        """Return whether the server can answer; 503 with the reasons where it cannot. It names no member."""
        if reasons := self._find_reasons():
            return json_response({"status": "not ready", "reasons": reasons}, 503)
        return json_response({"status": "ready"})

    def _find_reasons(self) -> list[str]:
        reasons = []
        waits = [self._memory.skip_seconds(m) for m in self._pool]
        if all(seconds is not None for seconds in waits):
            soonest = min((seconds for seconds in waits if seconds is not None), default=0.0)
            reasons.append(f"all {len(waits)} members cool down after failures; the first is tried in {soonest:.0f} s")
        if self._store is not None and (error := self._store.state.error) is not None:
            reasons.append(str(error).removeprefix(f"{self._store.path}: "))
        if self._store is not None and self._keyring.tenants.have_budgets:
            entries, seconds = self._store.backlog
            if seconds > STALE_LEDGER_SECONDS:
                kept = counted(entries, "ledger entry has", "ledger entries have")
                reasons.append(f"{kept} waited for {seconds:.0f} s, and budgets depend on them")
        return reasons

    def _describe_server(self) -> dict[str, Any]:
        parts = {"rates": self._rates, "budgets": self._budgets}
        return {"status": "ok"} | {name: "cut off" for name, part in parts.items() if part and part.is_cut_off}

    def _describe(self, model: ModelSpec) -> dict[str, Any]:
        learned = self._memory.dialect(model)
        dialect = {"omit": sorted(learned.omit), "rename": dict(sorted(learned.rename.items()))}
        drift = self._drift.describe(model.name)
        plain = {**self._memory.health(model).to_plain(), "learned": dialect, **({"drift": drift} if drift else {})}
        return plain if not model.endpoints else {**plain, "endpoints": list(map(self._describe_place, model.places))}

    def _describe_place(self, place: ModelSpec) -> dict[str, Any]:
        health = self._memory.health(place).to_plain()
        return {"name": place.place, **health, "running": self._memory.running(place)}
