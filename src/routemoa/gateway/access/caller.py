"""The sender of one request: its tenant, what it may name, its budget, its rates, and the recorder of its calls."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from math import ceil
from typing import Any

from starlette.types import Scope

from routemoa.core.access.tenants import Span, Tenant, format_time
from routemoa.core.errors import BudgetExceeded
from routemoa.core.protocols import CallRecorder, CallResult
from routemoa.core.types import ModelSpec
from routemoa.gateway.access.prompt_estimate import estimate_prompt
from routemoa.gateway.access.rates import RateKeeper, RateRefusal, find_rate_refusal
from routemoa.gateway.call_observer import CallObserver
from routemoa.gateway.errors import RateLimited
from routemoa.ledger import Store, StoreError

__all__ = ["RATES_SCOPE_KEY", "TENANT_SCOPE_KEY", "Caller"]

TENANT_SCOPE_KEY = "routemoa.tenant"
"""Where the scope of a request has its `Tenant`."""
RATES_SCOPE_KEY = "routemoa.rates"
"""Where the scope of a tenant with rates has the `RateKeeper`."""


class Caller:
    """The sender of one request.

    Args:
        scope: of the request.
        store: holds budgets and records calls; None does neither.
    """

    def __init__(self, scope: Scope, store: Store | None = None) -> None:
        self.tenant: Tenant | None = scope.get(TENANT_SCOPE_KEY)
        self.name: str | None = None if self.tenant is None else self.tenant.name
        """The tenant's name; None where there are no tenants."""
        self._store = store
        self._rates = (
            _RateTicket(self.tenant, scope[RATES_SCOPE_KEY]) if self.tenant and self.tenant.has_rates else None
        )

    def may_use(self, name: str, *, is_method: bool) -> bool:
        """Return whether the caller may name a method, or else a model of the pool."""
        return self.tenant is None or self.tenant.may_use(name, is_method=is_method)

    def list_names(self, methods: Collection[str], models: Iterable[ModelSpec]) -> list[str]:
        """Return what the caller may name of the methods and the models; a method goes before its namesake."""
        members = [m.name for m in models if m.name not in methods]
        allowed = [name for name in methods if self.may_use(name, is_method=True)]
        return allowed + [name for name in members if self.may_use(name, is_method=False)]

    def new_recorder(self, method: str, purpose: str | None = None) -> CallRecorder | None:
        """Return the recorder for the calls of the request; `purpose` is that of a run, by default each call's own."""
        recorder = None if self._store is None else self._store.recorder(self.name, method, purpose)
        if (rates := self._rates) is None:
            return recorder
        return CallObserver(recorder, lambda _: None, lambda _, result: rates.add(result))

    # --- the budget

    @property
    def has_budget(self) -> bool:
        """Return whether a budget limits the caller's dollars."""
        return self._store is not None and self._store.remaining_budget(self.name) is not None

    def find_budget_error(self) -> BudgetExceeded | None:
        """Return the error where the budget is used up, so that no call can be made; None where something is left."""
        if self._store is None or not self._store.is_used_up(self.name):
            return None
        self._store.reload_budget(self.name)  # a correction may have freed some of it
        if ended := self._find_ended():
            reset, span = max(ended)
            return BudgetExceeded(f"nothing is left for this {span}", reset=reset)
        return None

    def _find_ended(self) -> list[tuple[float, Span]]:
        """Return the spans whose budget is used up, each after the time when it starts again."""
        left = None if self._store is None else self._store.remaining_budget(self.name)
        if left is None or 0.0 not in (left.day, left.month):
            return []
        return [(reset, span) for span, dollars, reset in left.spans if dollars is not None and dollars <= 0.0]

    def get_budget_headers(self) -> Mapping[str, str]:
        """Return the response headers that say what is left at this moment; none where there is no budget."""
        left = None if self._store is None else self._store.remaining_budget(self.name)
        if left is None:
            return {}
        headers: dict[str, str] = {}
        for span, dollars, reset in left.spans:
            if dollars is not None:
                headers[f"x-routemoa-remaining-{span}"] = f"{dollars:.9f}".rstrip("0").rstrip(".")
                headers[f"x-routemoa-reset-{span}"] = format_time(reset)
        return headers

    # --- rates

    async def find_rate_error(self) -> RateLimited | None:
        """Return the error where not even an empty request fits the rates now."""
        return None if self._rates is None else await self._rates.find_error()

    async def reserve_rates(self, body: Mapping[str, Any]) -> None:
        """Count the request and the tokens of its prompt, by an estimate. Raises RateLimited; then nothing counts."""
        if self._rates is not None:
            await self._rates.reserve(body)

    async def wait_until_settled(self) -> None:
        """Wait until the calls that have ended are counted in the budget and the rates."""
        if self._store is not None and self._store.remaining_budget(self.name) is not None:
            with suppress(StoreError):  # the answer is complete without it
                await self._store.flush()
        await self.settle_rates()

    async def settle_rates(self) -> None:
        """Count the tokens that were used in place of the estimate, and the end of the stream; once."""
        if self._rates is not None:
            await self._rates.settle()


class _RateTicket:
    """What one request has reserved of its tenant's rates."""

    def __init__(self, tenant: Tenant, keeper: RateKeeper) -> None:
        self._tenant, self._keeper = tenant, keeper
        self._reserved: int | None = None
        """Tokens; None before and after."""
        self._is_stream = False
        self._used = 0
        self._is_counted = True

    def add(self, result: CallResult) -> None:
        """Add what a call used; where its endpoint gave no figures, what was reserved counts at least."""
        usage = result.usage
        self._is_counted &= usage.prompt_tokens is not None and usage.completion_tokens is not None
        self._used += result.tokens

    async def find_error(self) -> RateLimited | None:
        refusal = find_rate_refusal(await self._keeper.look(self._tenant), self._tenant, 0, stream=False)
        return None if refusal is None else self._to_error(refusal)

    async def reserve(self, body: Mapping[str, Any]) -> None:
        tokens = 0 if self._tenant.tokens_per_minute is None else estimate_prompt(body)
        self._is_stream = body.get("stream") is True
        if (refusal := await self._keeper.reserve(self._tenant, tokens, stream=self._is_stream)) is not None:
            raise self._to_error(refusal)
        self._reserved = tokens

    async def settle(self) -> None:
        if self._reserved is None:
            return
        reserved, self._reserved = self._reserved, None
        used = self._used if self._is_counted else max(self._used, reserved)
        await self._keeper.settle(self._tenant, used - reserved, stream=self._is_stream)

    def _to_error(self, refusal: RateRefusal) -> RateLimited:
        wait = None if refusal.retry_after is None else max(1, ceil(refusal.retry_after))
        return RateLimited(f"Rate limit reached for '{self._tenant.name}': {refusal.message}.", wait)
