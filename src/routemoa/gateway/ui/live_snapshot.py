"""What the page Live shows of a moment, as far as its viewer may see it. Pure."""

from __future__ import annotations

import statistics
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.gateway.telemetry.live_board import Bucket, FinishedRequest, LiveBoard, LiveRequest, Tally

__all__ = ["Watcher", "describe_board"]

MAX_RUNNING = 40
MAX_ENDED = 25
"""Requests that are listed."""
HOUR = 3600.0
FIRST_TOKEN_SECONDS = 900.0
"""Of which the median of the first tokens is."""


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


def describe_board(board: LiveBoard, watcher: Watcher, since: float = 0.0) -> dict[str, Any]:
    """Return the requests of this moment, those that ended last, and the sums of the last hour.

    Args:
        board: what is described.
        watcher: whose requests are shown.
        since: the buckets of `series` begin here or later, in seconds since the epoch: those before are known.
    """
    wall = board.wall_clock()
    running = [r for r in board.running.values() if watcher.may_see(r.tenant)]
    recent = [r for r in reversed(board.recent) if watcher.may_see(r.tenant)]
    buckets = [b for b in board.buckets if b.start > wall - HOUR]
    parts = [watcher.part(b) for b in buckets]
    firsts = [r.first for r in recent if r.first is not None and r.at > wall - FIRST_TOKEN_SECONDS]
    return {
        "running": len(running),
        "requests": [_describe_running(r) for r in running[:MAX_RUNNING]],
        "ended": [_describe_ended(r) for r in recent[:MAX_ENDED]],
        "hour": {
            "requests": sum(p.requests for p in parts),
            "errors": sum(p.errors for p in parts),
            "dollars": sum(p.dollars for p in parts),
            "first_token": statistics.median(firsts) if firsts else None,
        },
        "series": [
            [bucket.start, part.requests, part.errors, round(part.dollars, 9)]
            for bucket, part in zip(buckets, parts, strict=True)
            if bucket.start >= since
        ],
    }


def _describe_running(request: LiveRequest) -> dict[str, Any]:
    first = request.writer.first_piece
    return {
        "number": request.number,
        "tenant": request.tenant,
        "model": request.model,
        "began": round(request.began, 3),
        "first": None if first is None else round(first - request.arrived, 3),
    }


def _describe_ended(request: FinishedRequest) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(request)
    return found
