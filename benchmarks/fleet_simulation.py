"""A fleet of gateways as a discrete-event simulation: replicas, endpoints, and the calls between them.

benchmarks/fleet_simulation.py is imported by fleet.py, which says what is simulated and how it was validated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from random import Random

from msgspec import Struct

from routemoa.clients.endpoints.placement import EndpointState, choose_endpoint


class Assumptions(Struct, frozen=True):
    """What is simulated. Times in seconds, money in dollars."""

    cpu_first: float = 1.44e-3
    """A replica's processor time for a streamed request with one call of 64 tokens (performance.md, 16 connections)."""
    cpu_further: float = 1.42e-3
    """... for each further call of a mixture: (14.2 - 1.44) / 9 ms (performance.md, ten calls)."""
    calls: tuple[tuple[tuple[int, ...], float], ...] = (((1,), 0.8), ((3,), 0.14), ((3, 1), 0.06))
    """The calls of each stage of a request, and the share of such requests: one model alone; a panel; and a writer."""
    queue_seconds: float = 4.0
    """`[server] queue_seconds`, the default."""
    median: float = 1.2
    """Of a provider's answer."""
    sigma: float = 0.5
    """Of its logarithm: the slowest hundredth takes 3.2 times the median."""
    limit: float = 500.0
    """Calls a second that one endpoint (an account, a region) lets in: 30,000 a minute."""
    refusal: float = 0.05
    """Until a 429 or a 5xx is there."""
    failure: float = 0.01
    """Of the calls: a 5xx."""
    spare: float = 1.3
    """Endpoints are bought for so many times the calls of the peak."""
    peak: float = 1.8
    """The busiest hour against the mean; the quietest is 2 - 1.8 = 0.2 of it: a cosine over the day."""
    call_cost: float = 0.0006
    """Of 800 tokens read at $0.30 a million and 300 written at $1.20."""
    replica_cost: float = 0.04
    """Of one virtual core with 2 GB, an hour."""


class Result(Struct, frozen=True):
    """What a simulated window came to."""

    p50: float
    p99: float
    added_p99: float
    """What the gateways themselves added: waiting for and using their processors."""
    refused: float
    """Share of the requests, by a full queue or by all endpoints."""
    retried: float
    """Share of the calls that were made again elsewhere."""
    busy: float
    """Share of the replicas' processor time."""
    rate: float
    """Requests a second that were answered."""


class Fleet:
    """Replicas and endpoints, and the events of one window."""

    def __init__(self, a: Assumptions, replicas: int, endpoints: int, seed: int = 1, out: int = 0) -> None:
        self.a, self.random = a, Random(seed)
        self.now = 0.0
        self.free_at = [0.0] * replicas
        self.worked = 0.0
        self.running = [[0] * endpoints for _ in range(replicas)]
        """Calls under way, as each replica knows its own."""
        self.tokens = [a.limit] * endpoints
        self.filled = [0.0] * endpoints
        self.cooling = [math.inf if i < out else 0.0 for i in range(endpoints)]
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.number = self.calls = self.retries = self.refused = 0
        self.ended: list[tuple[float, float, float]] = []
        """Of each answered request: when it began, how long it took, and how much of that the gateway added."""

    def at(self, time: float, do: Callable[[], None]) -> None:
        self.number += 1
        heappush(self.events, (time, self.number, do))

    def run(self, until: float) -> None:
        while self.events and self.events[0][0] <= until:
            self.now, _, do = heappop(self.events)
            do()

    def work(self, replica: int, seconds: float, then: Callable[[], None]) -> float:
        """Spend a replica's processor time, first come, first served; return how long that took, waiting included."""
        begin = max(self.now, self.free_at[replica])
        self.free_at[replica] = begin + seconds
        self.worked += seconds
        self.at(begin + seconds, then)
        return begin + seconds - self.now

    def begin(self, done: Callable[[], None] = lambda: None) -> None:
        """Let a request in at the replica with the least work of two, as a balancer does (least connections)."""
        a, random = self.a, self.random
        replica = min(
            random.randrange(len(self.free_at)), random.randrange(len(self.free_at)), key=self.free_at.__getitem__
        )
        if self.free_at[replica] - self.now > a.queue_seconds:
            self.refused += 1
            done()
            return
        stages = random.choices([c for c, _ in a.calls], [share for _, share in a.calls])[0]
        _Request(self, replica, stages, done).run_stage(0)


class _Request:
    """One request: stage after stage of calls, each of which takes processor time before and after."""

    def __init__(self, fleet: Fleet, replica: int, stages: tuple[int, ...], done: Callable[[], None]) -> None:
        self.fleet, self.replica, self.stages, self.done = fleet, replica, stages, done
        self.began, self.gateway, self.waiting, self.failed = fleet.now, 0.0, 0, 0
        self.first = True

    def run_stage(self, stage: int) -> None:
        self.stage, self.waiting, self.failed = stage, self.stages[stage], 0
        for _ in range(self.stages[stage]):
            cpu = self.fleet.a.cpu_first if self.first else self.fleet.a.cpu_further
            self.first = False
            share = cpu / 2  # before and after the call
            self.gateway += self.fleet.work(self.replica, share, partial(self.call, share, frozenset()))

    def call(self, share: float, tried: frozenset[int]) -> None:
        """Call an endpoint; where it refuses, the next one at once."""
        fleet, a = self.fleet, self.fleet.a
        chosen = choose(fleet, self.replica, tried)
        if chosen is None:
            self.end(share, failed=True)
            return
        fleet.calls += 1
        fleet.retries += bool(tried)
        fleet.running[self.replica][chosen] += 1
        fleet.tokens[chosen] = min(a.limit, fleet.tokens[chosen] + (fleet.now - fleet.filled[chosen]) * a.limit)
        fleet.filled[chosen] = fleet.now
        limited = fleet.tokens[chosen] < 1.0
        if limited:
            fleet.cooling[chosen] = fleet.now + 1.0  # its Retry-After
        else:
            fleet.tokens[chosen] -= 1.0
        if limited or fleet.random.random() < a.failure:
            fleet.at(fleet.now + a.refusal, lambda: self.move_on(share, tried | {chosen}, chosen))
        else:
            seconds = a.median * math.exp(fleet.random.gauss(0.0, a.sigma)) if a.median else 0.0
            fleet.at(fleet.now + seconds, lambda: self.answered(share, chosen))

    def move_on(self, share: float, tried: frozenset[int], chosen: int) -> None:
        self.fleet.running[self.replica][chosen] -= 1
        self.call(share, tried)

    def answered(self, share: float, chosen: int) -> None:
        self.fleet.running[self.replica][chosen] -= 1
        self.gateway += self.fleet.work(self.replica, share, lambda: self.end(share))

    def end(self, share: float, *, failed: bool = False) -> None:
        self.failed += failed
        self.waiting -= 1
        if self.waiting:
            return
        if self.failed == self.stages[self.stage]:
            self.fleet.refused += 1
        elif self.stage + 1 < len(self.stages):
            self.run_stage(self.stage + 1)
            return
        else:
            self.fleet.ended.append((self.began, self.fleet.now - self.began, self.gateway))
        self.done()


def choose(fleet: Fleet, replica: int, tried: frozenset[int]) -> int | None:
    """Return the endpoint of a call as `endpoints` chooses it; among many, of eight drawn at random."""
    running = fleet.running[replica]
    every = range(len(running))
    shown = every if len(every) <= 16 else fleet.random.sample(every, 8)
    states = [EndpointState(str(i), i not in tried and fleet.cooling[i] <= fleet.now, running[i]) for i in shown]
    found = choose_endpoint(states, None, fleet.random.random())
    return None if found is None else shown[found]


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


def summarize(fleet: Fleet, seconds: float, replicas: int) -> Result:
    """Return what a window came to; its first quarter warms up."""
    found = [(took, added) for began, took, added in fleet.ended if began >= seconds / 4]
    return Result(
        percentile([took for took, _ in found], 0.5),
        percentile([took for took, _ in found], 0.99),
        percentile([added for _, added in found], 0.99),
        fleet.refused / max(1, len(fleet.ended) + fleet.refused),
        fleet.retries / max(1, fleet.calls),
        fleet.worked / (seconds * replicas),
        len(fleet.ended) / seconds,
    )


def simulate_open(
    a: Assumptions, rate: float, replicas: int, endpoints: int, *, out: int = 0, seed: int = 1, requests: int = 20_000
) -> Result:
    """Simulate requests that come at random moments (Poisson), as from many callers that know nothing of each other."""
    seconds = max(4.0, requests / rate)
    fleet, arrivals = Fleet(a, replicas, endpoints, seed, out), Random(seed + 1)

    def arrive() -> None:
        fleet.begin()
        if (following := fleet.now + arrivals.expovariate(rate)) < seconds:
            fleet.at(following, arrive)

    fleet.at(0.0, arrive)
    fleet.run(math.inf)
    return summarize(fleet, seconds, replicas)


def simulate_closed(a: Assumptions, at_once: int, seconds: float = 20.0) -> Result:
    """Simulate callers that each send the next request when the last one is answered, to one replica."""
    fleet = Fleet(a, 1, 1)

    def again() -> None:
        if fleet.now < seconds:
            fleet.at(fleet.now, lambda: fleet.begin(again))

    for _ in range(at_once):
        again()
    fleet.run(seconds)
    return summarize(fleet, seconds, 1)
