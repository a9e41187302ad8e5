"""Answers the rows of a tenant's batch within its terms: what it may name, its rates, its budget, the server's load."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any

import msgspec

from routemoa.core.access.tenants import Tenant
from routemoa.core.errors import BudgetExceeded
from routemoa.core.pool_file.pool import METHODS, Pool
from routemoa.core.protocols import CallRecorder
from routemoa.core.text.json_bounds import decode_bounded
from routemoa.datasets.input_rows import InputRow
from routemoa.gateway.access.caller import RATES_SCOPE_KEY, TENANT_SCOPE_KEY, Caller
from routemoa.gateway.access.rates import RateKeeper
from routemoa.gateway.batches.jobs.answering import RowAnswerer, list_names, make_failure
from routemoa.gateway.batches.jobs.results import RowResult
from routemoa.gateway.batches.jobs.row_request import RowRules, read_head
from routemoa.gateway.errors import Overloaded, RateLimited
from routemoa.gateway.failures import error_response
from routemoa.gateway.guards.load import LoadGate
from routemoa.ledger import Store

__all__ = ["TenantTerms"]

BUDGET_ATTEMPTS = 5
BUDGET_WAIT = 2.0
"""Seconds after which calls under way may have left something of a budget."""

_caller: ContextVar[Caller] = ContextVar("caller")
"""Of the row that is being answered."""


class TenantTerms:
    """What holds for a tenant's rows.

    Args:
        tenant: whose batch it is; None where there are no tenants.
        store: records calls and holds budgets; None does neither.
        rates: hold the rates of tenants.
        gate: of the server; rows have their turns like requests.
        places: of rows of all batches at the same time.
    """

    def __init__(
        self,
        tenant: Tenant | None,
        store: Store | None,
        rates: RateKeeper,
        gate: LoadGate,
        places: asyncio.Semaphore,
    ) -> None:
        self._store, self._gate, self._places = store, gate, places
        self._scope: dict[str, Any] = {} if tenant is None else {TENANT_SCOPE_KEY: tenant, RATES_SCOPE_KEY: rates}

    def rules(self, pool: Pool, path: str) -> RowRules:
        """Return what its rows may ask."""
        caller = self._new_caller()
        names = [n for n in list_names(pool) if caller.may_use(n, is_method=n in METHODS)]
        passes = pool.gateway.unknown_parameters == "pass"
        return RowRules(names, pass_unknown=passes, has_budget=caller.has_budget, path=path)

    def new_recorder(self, method: str) -> CallRecorder | None:
        """Return the recorder for the calls of the row that is being answered."""
        return _caller.get().new_recorder(method, "batch")

    def wrap(self, answerer: RowAnswerer) -> Callable[[InputRow], Awaitable[RowResult]]:
        """Return what answers a row within these terms: a budget that is used up is the failure of a row."""

        async def answer(row: InputRow) -> RowResult:
            async with self._places:
                caller = self._new_caller()
                _caller.set(caller)
                try:
                    await _reserve_rates(caller, row)
                    return await self._answer(answerer, row)
                except RateLimited as e:  # it never fits
                    return make_failure(row, read_head(row), e.response, e.response.status)
                finally:
                    await caller.settle_rates()

        return answer

    async def _answer(self, answerer: RowAnswerer, row: InputRow) -> RowResult:
        attempts = 0
        while True:
            try:
                async with self._gate.place():
                    return await answerer.answer(row)
            except Overloaded as e:
                await asyncio.sleep(e.response.retry_after or 1)
            except BudgetExceeded as e:
                attempts += 1
                if not e.temporary or attempts == BUDGET_ATTEMPTS:
                    response = error_response(e)
                    return make_failure(row, read_head(row), response, response.status)
                await asyncio.sleep(BUDGET_WAIT)

    def _new_caller(self) -> Caller:
        return Caller(self._scope, self._store)


async def _reserve_rates(caller: Caller, row: InputRow) -> None:
    """Wait until a row fits the tenant's rates. Raises RateLimited where it never does."""
    body = _read_body(row)
    while True:
        try:
            await caller.reserve_rates(body)
            return
        except RateLimited as e:
            if e.response.retry_after is None:
                raise
            await asyncio.sleep(e.response.retry_after)


def _read_body(row: InputRow) -> Mapping[str, Any]:
    try:
        plain = decode_bounded(row.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return {}
    body = plain.get("body") if isinstance(plain, dict) else None
    return body if isinstance(body, dict) else {}
