"""The till of a live run: no call is paid for twice, and none is made that could pass the spending limit.

It stands between the methods and the real client. Every call that ended is a line of DIR/calls.jsonl before anybody
sees its answer; when a run is taken up again, the same request of the same method is answered from there.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from contextvars import ContextVar
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from routemoa.errors import Garbled, ModelError, Refused, RouteMoAError, TimedOut, Unreachable
from routemoa.jsonl import Appender, BadLine, Complaints, lines
from routemoa.protocols import Client
from routemoa.types import Completion, ModelSpec, Request, Usage

__all__ = ["CALLS", "Over", "Paid", "Sitting", "Till"]

CALLS = "calls.jsonl"
LONGEST = 4096  # tokens that are set aside for an answer where the pool file sets no limit
KINDS: dict[str, type[ModelError]] = {c.__name__: c for c in (Unreachable, TimedOut, Garbled, ModelError)}

ABANDONED = "Abandoned"  # a call that was interrupted, under a spending limit


class Over(RouteMoAError):
    """The next call could pass the run's spending limit."""


class Paid(Struct, frozen=True, omit_defaults=True):
    """One call that ended. `begun` and `ended` are seconds since its question was asked; `cost` is in dollars."""

    method: str
    task: str
    id: str
    model: str
    request: str  # digest of model and messages
    turn: int  # the place among equal requests for this question, from 0
    begun: float
    ended: float
    cost: float | None = None
    completion: Completion | None = None
    failure: str | None = None
    kind: str | None = None  # of the failure
    status: int | None = None

    @property
    def usage(self) -> Usage:
        """Tokens: none where the endpoint refused, unknown where the call was cut short."""
        if self.completion is not None:
            return self.completion.usage
        return Usage(0, 0) if self.cost == 0.0 else Usage()

    @property
    def key(self) -> tuple[str, str, int]:
        """What a call is known by; not the question, since some methods ask once for all of them."""
        return self.method, self.request, self.turn


class Sitting:
    """One method at one question: counts its requests, and keeps its time through interruptions."""

    def __init__(self, method: str, task: str, id: str) -> None:
        self.method, self.task, self.id = method, task, id
        self._turns: Counter[str] = Counter()
        self._started = perf_counter()
        self._before = 0.0  # seconds that earlier runs spent on this question
        self.paid: list[Paid] = []  # this question's calls, of earlier runs too

    def seconds(self) -> float:
        """Since the question was asked, without the pause between two runs."""
        return self._before + perf_counter() - self._started

    def earlier(self, paid: Paid) -> None:
        """An answer of an earlier run was given again: it counts, if it was this question's."""
        if (paid.task, paid.id) == (self.task, self.id):
            self._before = max(self._before, paid.ended)
            self.paid.append(paid)

    def turn(self, digest: str) -> int:
        """How often this request was made before."""
        self._turns[digest] += 1
        return self._turns[digest] - 1


SITTING: ContextVar[Sitting] = ContextVar("sitting")
"""Whose call it is: set by the runner, inherited by every task of a method."""


class Till:
    """A Client that remembers; use it in a `with` block.

    Args:
        client: makes the calls.
        folder: where calls.jsonl is.
        limit: dollars for the whole run, earlier runs of the folder included; None is no limit.

    Raises:
        RecordsError: calls.jsonl cannot be read or written.
    """

    def __init__(self, client: Client, folder: str | os.PathLike[str], limit: float | None = None) -> None:
        self._client, self._limit = client, limit
        self._path = Path(folder) / CALLS
        self._file = Appender(self._path)
        self._kept: dict[tuple[str, str, int], Paid] = {}
        self._held = 0.0
        self.spent = 0.0  # dollars that are known
        self.unpriced = 0  # calls whose price is unknown
        self.made = 0  # calls of this process
        try:
            self._load()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    async def close(self) -> None:
        """Let go of the client's connections."""
        await self._client.close()

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        """From the file where this call was paid for before, else from the model. Raises ModelError and Over."""
        sitting = SITTING.get()
        digest = _digest(model, request)
        turn = sitting.turn(digest)
        kept = self._kept.get((sitting.method, digest, turn))
        if kept is not None:
            sitting.earlier(kept)
            yield _again(kept).text
            yield _again(kept)
            return
        most = self._hold(model, request)
        begun, done = sitting.seconds(), False
        try:
            async with aclosing(self._client.stream(model, request)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Completion):
                        cost, done = model.cost(piece.usage), True
                        self._add(sitting, _paid(sitting, model, digest, turn, begun, cost=cost, completion=piece))
                    yield piece
        except ModelError as e:
            cost = None if e.produced else 0.0
            status = e.status if isinstance(e, Refused) else None
            kind = type(e).__name__
            said = {"failure": e.reason, "kind": kind, "status": status}
            self._add(sitting, _paid(sitting, model, digest, turn, begun, cost=cost, **said))
            raise
        except (asyncio.CancelledError, GeneratorExit):
            if most and not done:  # nobody knows what it came to: the most that it can
                said = {"failure": "interrupted", "kind": ABANDONED}
                self._add(sitting, _paid(sitting, model, digest, turn, begun, cost=most, **said))
            raise
        finally:
            self._held -= most

    def _hold(self, model: ModelSpec, request: Request) -> float:
        """Set aside what a call can cost at most: a token is a byte at least, an answer `max_tokens` long."""
        self.made += 1
        if self._limit is None:
            return 0.0
        set_ = {**request.parameters, **model.parameters}
        limit = set_.get("max_completion_tokens", set_.get("max_tokens"))
        read = sum(len(m.content.encode()) for m in request.messages) + len((model.system or "").encode())
        most = model.cost(Usage(read, limit if isinstance(limit, int) and limit > 0 else LONGEST))
        if most is None:
            raise Over(
                f"{model.name} has no price, and a spending limit cannot be kept without; add it to the pool file"
            )
        if self.spent + self._held + most > self._limit:
            self.made -= 1
            raise Over(f"${self.spent:,.4g} of ${self._limit:,.4g} are spent, and the next call could pass the limit")
        self._held += most
        return most

    def _add(self, sitting: Sitting, paid: Paid) -> None:
        self._file.write(paid)
        sitting.paid.append(paid)
        self._count(paid)

    def _count(self, paid: Paid) -> None:
        if paid.kind != ABANDONED:  # it is made anew
            self._kept[paid.key] = paid
        self.spent += paid.cost or 0.0
        self.unpriced += paid.cost is None

    def _load(self) -> None:
        complaints = Complaints()
        for number, line in lines(self._path, complaints):
            try:
                self._count(msgspec.json.decode(line, type=Paid))
            except (msgspec.DecodeError, UnicodeDecodeError) as e:
                complaints(BadLine(str(self._path), number, f"{e}; remove that line"))
        complaints.settle()


def _paid(sitting: Sitting, model: ModelSpec, digest: str, turn: int, begun: float, **fields: object) -> Paid:
    return msgspec.convert(
        {
            "method": sitting.method, "task": sitting.task, "id": sitting.id, "model": model.name,
            "request": digest, "turn": turn, "begun": begun, "ended": sitting.seconds(),
        } | fields, Paid, from_attributes=True,
    )  # fmt: skip


def _again(paid: Paid) -> Completion:
    """What the call gave, or its failure once more."""
    if paid.completion is not None:
        return paid.completion
    reason = paid.failure or "failed before"
    if paid.kind == "Refused":
        raise Refused(paid.model, reason, status=paid.status or 0)
    raise KINDS.get(paid.kind or "", ModelError)(paid.model, reason, produced=paid.cost is None)


def _digest(model: ModelSpec, request: Request) -> str:
    """Of all that the endpoint is asked: the same request is the same call."""
    whole = msgspec.json.encode([model.name, model.model, model.system, model.parameters, request], order="sorted")
    return hashlib.sha256(whole).hexdigest()[:16]
