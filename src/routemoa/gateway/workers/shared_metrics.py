"""Metrics of all workers: what is counted lives in files that outlive a worker, the state of each in a file of its own.

Counters and histograms are prometheus_client's in multiprocess mode: a value is eight bytes of a mapped file. A worker
that takes the place of another goes on with its file, so nothing that was counted is lost. What is read at the moment
of a scrape (queues, breakers, memory) each worker writes down once a second.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

import msgspec
from msgspec import Struct
from prometheus_client import values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["MERGES", "StateExchange", "Worker", "merge_states", "use_shared_counters"]

PUBLISH_SECONDS = 1.0
STALE_SECONDS = 5.0
"""After which a worker's state is taken for that of a dead one."""
CPU_SECONDS = "process_cpu_seconds"
MERGES: dict[str, Callable[[Sequence[float]], float]] = {
    "routemoa_breaker_state": max,
    "routemoa_requests_running": sum,
    "routemoa_requests_waiting": sum,
    "routemoa_request_limit": sum,
    "routemoa_busy_ratio": max,
    "routemoa_rates_cut_off": max,
    "routemoa_budgets_cut_off": max,
    "routemoa_ledger_waiting": sum,
    "routemoa_ledger_lag_seconds": max,
    "routemoa_budget_left_dollars": min,
    CPU_SECONDS: sum,
    "process_resident_memory_bytes": sum,
    "process_virtual_memory_bytes": sum,
    "process_open_fds": max,
    "process_max_fds": max,
    "process_start_time_seconds": min,
}
"""How the states of several workers are one. Which worker is the limit matters of what each has for itself; budgets are
shared, and the one that has read last knows of the most that was spent."""


class Sample(Struct, frozen=True, array_like=True):
    """A value with its labels."""

    name: str
    labels: dict[str, str]
    value: float


class Family(Struct, frozen=True, array_like=True):
    """Samples of one metric."""

    name: str
    type: str
    help: str
    samples: tuple[Sample, ...]


class Worker(Struct, frozen=True):
    """The state of a worker at a moment."""

    at: float
    """Seconds, on the clock of `monotonic()`, which the processes of a machine share."""
    families: tuple[Family, ...]


class StateExchange:
    """Writes down the state of this worker, and joins it with those of the others.

    Args:
        folder: of the states.
        number: of this worker, from 1.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        self._file = folder / f"state-{number}.json"
        self._earlier_cpu = sum(_list_cpu([w for w in [_read(self._file)] if w is not None]))
        self.collect: Callable[[], Iterable[Metric]] = tuple
        """Returns the state of this worker."""

    async def watch(self) -> None:
        """Write the state down from time to time, for ever."""
        while True:
            await asyncio.to_thread(_write, self._file, self.describe())
            await asyncio.sleep(PUBLISH_SECONDS)

    def describe(self) -> Worker:
        """Return the state of this worker; its processor time goes on from that of the worker before it."""
        return Worker(monotonic(), tuple(self._to_family(m) for m in self.collect()))

    def list_all(self, own: Worker) -> list[Metric]:
        """Return what all workers have counted, and their states with this one's own as one. Reads files; blocks."""
        others = [_read(file) for file in sorted(self._folder.glob("state-*.json")) if file != self._file]
        states = merge_states([own, *(w for w in others if w is not None)], monotonic())
        counted = MultiProcessCollector(None, str(self._folder)).collect()  # type: ignore[no-untyped-call]
        return [*counted, *states]

    def _to_family(self, metric: Metric) -> Family:
        earlier = self._earlier_cpu if metric.name == CPU_SECONDS else 0.0
        samples = (Sample(s.name, s.labels, s.value + earlier) for s in metric.samples)
        return Family(metric.name, metric.type, metric.documentation, tuple(samples))


def use_shared_counters(folder: Path, number: int) -> None:
    """Count in files of a folder from now on: before the first metric is made. `number` names the worker's files."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]


def merge_states(workers: Sequence[Worker], now: float) -> Iterator[Metric]:
    """Yield the states of several workers as one; of a dead one the processor time alone counts. Pure."""
    alive = [w for w in workers if now - w.at < STALE_SECONDS]
    values_of: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], list[float]]] = {}
    heads: dict[str, Family] = {}
    for worker in alive:
        for family in worker.families:
            heads.setdefault(family.name, family)
            found = values_of.setdefault(family.name, {})
            for sample in family.samples:
                found.setdefault((sample.name, tuple(sorted(sample.labels.items()))), []).append(sample.value)
    dead = sum(_list_cpu([w for w in workers if w not in alive]))
    for name, head in heads.items():
        metric = Metric(name, head.help, head.type)
        for (sample_name, labels), found_values in values_of[name].items():
            counted = [*found_values, dead] if name == CPU_SECONDS else found_values
            metric.add_sample(sample_name, dict(labels), MERGES.get(name, max)(counted))
        yield metric


def _list_cpu(workers: Sequence[Worker]) -> list[float]:
    families = (f for w in workers for f in w.families if f.name == CPU_SECONDS)
    return [s.value for family in families for s in family.samples]


def _read(file: Path) -> Worker | None:
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(file.read_bytes(), type=Worker)
    return None


def _write(file: Path, state: Worker) -> None:
    fresh = file.with_suffix(".new")
    with suppress(OSError):
        fresh.write_bytes(msgspec.json.encode(state))
        fresh.replace(file)
