"""The states of several workers as one: each by its meaning, and only those of the living."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.core.access.tenants import Tenants
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import ModelSpec
from routemoa.gateway.access.keyring import Keyring
from routemoa.gateway.access.rates import MemoryRates
from routemoa.gateway.guards.load import LoadGate
from routemoa.gateway.telemetry.metrics import StateCollector
from routemoa.gateway.workers.shared_metrics import MERGES, Family, Sample, Worker, merge_states
from routemoa.ledger import Store


def state(at: float, **values: float) -> Worker:
    return Worker(
        at,
        tuple(
            Family(name, "gauge", "", (Sample(name, {}, value), Sample(name, {"x": name}, 1.0)))
            for name, value in values.items()
        ),
    )


def test_each_is_merged_by_its_meaning() -> None:
    first = state(100.0, routemoa_requests_running=3, routemoa_busy_ratio=0.9, routemoa_budget_left_dollars=2.0)
    second = state(99.0, routemoa_requests_running=4, routemoa_busy_ratio=0.1, routemoa_budget_left_dollars=1.5)
    merged = {m.name: [s.value for s in m.samples] for m in merge_states([first, second], 100.5)}
    assert merged == {
        "routemoa_requests_running": [7.0, 2.0],
        "routemoa_busy_ratio": [0.9, 1.0],
        "routemoa_budget_left_dollars": [1.5, 1.0],
    }


def test_a_dead_worker_has_no_state_but_the_processor_time_that_it_took() -> None:
    alive = state(100.0, routemoa_requests_running=3, process_cpu_seconds=5.0)
    dead = state(80.0, routemoa_requests_running=4, process_cpu_seconds=7.0)
    merged = {m.name: m.samples[0].value for m in merge_states([alive, dead], 100.5)}
    assert merged["routemoa_requests_running"] == 3
    assert merged["process_cpu_seconds"] >= 12.0


def test_every_state_has_a_meaning(tmp_path: Path) -> None:
    pool = Pool((ModelSpec("a", "http://127.0.0.1:9/v1", "a", prior=0.5),), Mixture())
    store = Store(tmp_path / "s.db")
    keyring = Keyring(Tenants(), store)
    collector = StateCollector(pool, MemberMemory(), LoadGate(1.0), keyring, store, rates=MemoryRates())
    names = {m.name for m in [*collector.collect(), *ProcessCollector(registry=CollectorRegistry()).collect()]}
    assert names == set(MERGES)
    keyring.close()
    store.close()
