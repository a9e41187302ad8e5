"""What the page Live shows of a moment, as far as its viewer may see it: the workers of a server as one. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.gateway.telemetry.live_board import Bucket, MemberState, QueueState, Tally, WorkerMoment

__all__ = ["Watcher", "describe_members", "describe_queue", "describe_requests"]

MAX_RUNNING = 40
MAX_ENDED = 25
"""Requests that are listed."""
HOUR = 3600.0
FIRST_TOKEN_SECONDS = 900.0
"""Of which the median of the first tokens is."""
STATES = ("closed", "half-open", "open")
"""Of a member, the best first."""


class Watcher(Struct, frozen=True):
    """Whose requests are shown."""

    tenant: str | None
    everyone: bool
    """Those of all tenants."""

    def may_see(self, tenant: str | None) -> bool:
        """Return whether a tenant's requests are shown."""
        return self.everyone or tenant == self.tenant

    def part(self, bucket: Bucket) -> Tally:
        """Return what is shown of a bucket."""
        return bucket.total if self.everyone else bucket.by_key.get(self.tenant, Tally())


def describe_requests(
    moments: Sequence[WorkerMoment], watcher: Watcher, wall: float, since: float = 0.0
) -> dict[str, Any]:
    """Return the requests of this moment, those that ended last, and the sums of the last hour.

    Args:
        moments: of each worker.
        watcher: whose requests are shown.
        wall: seconds since the epoch.
        since: the buckets of `series` begin here or later, in seconds since the epoch: those before are known.
    """
    running = [(r.began, m.worker, r) for m in moments for r in m.running if watcher.may_see(r.tenant)]
    recent = [(r.at, m.worker, r) for m in moments for r in m.recent if watcher.may_see(r.tenant)]
    if len(moments) > 1:
        running.sort(key=lambda each: each[0])
        recent.sort(key=lambda each: each[0])
    recent.reverse()
    sums = _add_buckets((b for m in moments for b in m.buckets if b.start > wall - HOUR), watcher)
    firsts = [r.first for at, _, r in recent if r.first is not None and at > wall - FIRST_TOKEN_SECONDS]
    return {
        "running": len(running),
        "requests": [{"worker": w, **msgspec.to_builtins(r)} for _, w, r in running[:MAX_RUNNING]],
        "ended": [{"worker": w, **msgspec.to_builtins(r)} for _, w, r in recent[:MAX_ENDED]],
        "hour": {
            "requests": sum(t.requests for t in sums.values()),
            "errors": sum(t.errors for t in sums.values()),
            "dollars": sum(t.dollars for t in sums.values()),
            "first_token": statistics.median(firsts) if firsts else None,
        },
        "series": [
            [start, tally.requests, tally.errors, round(tally.dollars, 9)]
            for start, tally in sorted(sums.items())
            if start >= since
        ],
    }


def describe_members(moments: Sequence[WorkerMoment], names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the state of each member: the worst of all workers, and the numbers of those for which it is not well."""
    found: dict[str, list[tuple[int | None, MemberState]]] = {}
    for moment in moments:
        for state in moment.members:
            found.setdefault(state.name, []).append((moment.worker, state))
    return [_describe_member(found[name]) for name in names if name in found]


def describe_queue(moments: Sequence[WorkerMoment]) -> dict[str, Any]:
    """Return what waits in all workers, and how busy the busiest is."""
    queues = [moment.queue for moment in moments]
    whole = QueueState(
        sum(q.waiting for q in queues),
        sum(q.refused for q in queues),
        sum(q.limit for q in queues),
        max(q.busy for q in queues),
    )
    plain: dict[str, Any] = msgspec.to_builtins(whole)
    return plain


def _describe_member(states: Sequence[tuple[int | None, MemberState]]) -> dict[str, Any]:
    _, worst = max(states, key=lambda each: (STATES.index(each[1].state), each[1].retry_in or 0.0, each[1].failures))
    ill = [worker for worker, state in states if worker is not None and state.state != STATES[0]]
    return {**msgspec.to_builtins(worst), "workers": ill}


def _add_buckets(buckets: Iterable[Bucket], watcher: Watcher) -> dict[float, Tally]:
    """Return what is shown of the buckets, by when they began."""
    sums: dict[float, Tally] = {}
    for bucket in buckets:
        part, whole = watcher.part(bucket), sums.setdefault(bucket.start, Tally())
        whole.requests += part.requests
        whole.errors += part.errors
        whole.dollars += part.dollars
    return sums
