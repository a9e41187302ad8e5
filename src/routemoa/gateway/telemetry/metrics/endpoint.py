"""GET /metrics: what was counted, and the state of the server at this moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response

from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.core.pool_file.pool import Pool
from routemoa.gateway.access.keyring import Keyring
from routemoa.gateway.access.rates import RateKeeper
from routemoa.gateway.guards.load import LoadGate
from routemoa.gateway.telemetry.metrics.server_metrics import ServerMetrics
from routemoa.ledger import BudgetExchange, Store

if TYPE_CHECKING:
    from routemoa.gateway.workers.shared_metrics import StateExchange

__all__ = ["MetricsEndpoint", "StateCollector"]

PHASES = ("closed", "half-open", "open")


class MetricsEndpoint:
    """Answers with the text format of Prometheus, or OpenMetrics where that is asked for.

    Args:
        metrics: what was counted.
        state: the state of this moment.
        exchange: knows what the other workers have counted, and their states; None where there are none.
    """

    def __init__(self, metrics: ServerMetrics, state: StateCollector, exchange: StateExchange | None = None) -> None:
        self._metrics, self._state, self._exchange = metrics, state, exchange
        if exchange is not None:
            exchange.collect = lambda: [*metrics.process.collect(), *state.collect()]

    async def get(self, request: Request) -> Response:
        """Return all metrics."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        if self._exchange is None:
            found: Iterable[Metric] = [*self._metrics.registry.collect(), *self._state.collect()]
        else:
            found = await asyncio.to_thread(self._exchange.list_all, self._exchange.describe())
        return Response(encode(_Collected(found)), 200, {"content-type": content_type})


class _Collected(CollectorRegistry):
    """Metrics that were collected already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        super().__init__()
        self._found = metrics

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._found


class StateCollector(Collector):
    """Reads the state at the moment at which it is asked for."""

    def __init__(
        self,
        pool: Pool,
        memory: MemberMemory,
        gate: LoadGate,
        keyring: Keyring,
        store: Store | None,
        *,
        rates: RateKeeper,
        budgets: BudgetExchange | None = None,
    ) -> None:
        self._pool, self._memory, self._gate, self._keyring = pool, memory, gate, keyring
        self._store, self._rates, self._budgets = store, rates, budgets

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield self._breakers()
        gate = self._gate
        yield GaugeMetricFamily("routemoa_requests_running", "Requests that are being answered.", gate.running)
        yield GaugeMetricFamily("routemoa_requests_waiting", "Requests that wait for their turn.", gate.waiting)
        limit = gate.limit
        yield GaugeMetricFamily("routemoa_request_limit", "Requests that may be answered at once.", limit.value)
        yield GaugeMetricFamily("routemoa_busy_ratio", "Share of its time that the event loop is busy.", limit.busy)
        yield GaugeMetricFamily(
            "routemoa_rates_cut_off",
            "1 while the store of shared rates is away and this server keeps them for itself.",
            float(self._rates.is_cut_off),
        )
        yield GaugeMetricFamily(
            "routemoa_budgets_cut_off",
            "1 while the store of shared budgets is away and calls under a budget fail.",
            float(self._budgets is not None and self._budgets.is_cut_off),
        )
        if self._store is not None:
            yield from self._ledger(self._store)

    def _breakers(self) -> Metric:
        family = GaugeMetricFamily(
            "routemoa_breaker_state",
            "1 for the state that a member's circuit breaker is in.",
            labels=["model", "state"],
        )
        for model in self._pool:
            phase = self._memory.health(model).phase
            for state in PHASES:
                family.add_metric([model.name, state], float(phase == state))
        return family

    def _ledger(self, store: Store) -> Iterator[Metric]:
        entries, seconds = store.backlog
        yield GaugeMetricFamily("routemoa_ledger_waiting", "Entries that are not written yet.", entries)
        yield GaugeMetricFamily("routemoa_ledger_lag_seconds", "Age of the oldest of them.", seconds)
        left = GaugeMetricFamily(
            "routemoa_budget_left_dollars", "What a tenant can still spend.", labels=["tenant", "span"]
        )
        for tenant in self._keyring.list_active():
            if (budget := store.remaining_budget(tenant.name)) is not None:
                for span, dollars, _ in budget.spans:
                    if dollars is not None:
                        left.add_metric([tenant.name, span], dollars)
        yield left
