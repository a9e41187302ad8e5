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
from msgspec.structs import replace

from routemoa.core.errors import (
    BudgetExceeded,
    FailureKind,
    InvalidResponse,
    ModelError,
    ModelHTTPError,
    ModelTimeout,
    Unreachable,
)
from routemoa.core.protocols import Client
from routemoa.core.types import Completion, Limits, ModelSpec, Request, Usage
from routemoa.datasets.jsonl import Appender, BadLine, ErrorCollector, read_lines
from routemoa.mixture.budget.account import DEFAULT_OUTPUT_TOKENS, Account, Reservation

__all__ = ["CALLS", "CachedCall", "CallCache", "QuestionRun"]

CALLS = "calls.jsonl"
KINDS: dict[str, type[ModelError]] = {c.kind: c for c in (Unreachable, ModelTimeout, InvalidResponse, ModelError)}

ABANDONED = "Abandoned"  # a call that was interrupted, under a spending limit


class CachedCall(Struct, frozen=True, omit_defaults=True):
    """One call that ended. `begun` and `ended` are seconds since its question was asked; `cost` is in dollars."""

    method: str
    task: str
    id: str
    model: str
    request: str  # digest of model and messages
    occurrence: int  # the place among equal requests for this question, from 0
    started: float
    ended: float
    cost: float | None = None
    charged: float = 0.0  # dollars on the account: the cost, or the most that it can have been
    completion: Completion | None = None
    failure: str | None = None
    kind: str | None = None  # of the failure
    status: int | None = None

    @property
    def usage(self) -> Usage:
        """Tokens: none where the endpoint refused, unknown where the call was cut short."""
        if self.completion is not None:
            return self.completion.usage
        return Usage(0, 0, 0, 0) if self.cost == 0.0 else Usage()

    @property
    def key(self) -> tuple[str, str, int]:
        """What a call is known by; not the question, since some methods ask once for all of them."""
        return self.method, self.request, self.occurrence


class QuestionRun:
    """One method at one question: counts its requests, and keeps its time through interruptions."""

    def __init__(self, method: str, task: str, id: str) -> None:
        self.method, self.task, self.id = method, task, id
        self._turns: Counter[str] = Counter()
        self._started = perf_counter()
        self._before = 0.0  # seconds that earlier runs spent on this question
        self.calls: list[CachedCall] = []  # this question's calls, of earlier runs too

    def elapsed_seconds(self) -> float:
        """Since the question was asked, without the pause between two runs."""
        return self._before + perf_counter() - self._started

    def add_cached(self, paid: CachedCall) -> None:
        """An answer of an earlier run was given again: it counts, if it was this question's."""
        if (paid.task, paid.id) == (self.task, self.id):
            self._before = max(self._before, paid.ended)
            self.calls.append(paid)

    def next_occurrence(self, digest: str) -> int:
        """How often this request was made before."""
        self._turns[digest] += 1
        return self._turns[digest] - 1


CURRENT_QUESTION: ContextVar[QuestionRun] = ContextVar("sitting")
"""Whose call it is: set by the runner, inherited by every task of a method."""


class CallCache:
    """A Client that remembers; use it in a `with` block.

    Args:
        client: makes the calls.
        folder: where calls.jsonl is.
        limit: dollars for the whole run, earlier runs of the folder included; None is no limit.

    Raises:
        RecordsError: calls.jsonl cannot be read or written.
    """

    def __init__(self, client: Client, folder: str | os.PathLike[str], limit: float | None = None) -> None:
        self._client = client
        self.account = Account(Limits(max_cost=limit))
        self._ended = asyncio.Event()  # a call, so that what it held is free
        self._path = Path(folder) / CALLS
        self._file = Appender(self._path)
        self._kept: dict[tuple[str, str, int], CachedCall] = {}
        self.unpriced = 0  # calls whose cost is unknown
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
        """From the file where this call was paid for before, else from the model. Raises ModelError, OverBudget."""
        sitting = CURRENT_QUESTION.get()
        digest = _digest(model, request)
        turn = sitting.next_occurrence(digest)
        kept = self._kept.get((sitting.method, digest, turn))
        if kept is not None:
            sitting.add_cached(kept)
            yield _again(kept).text
            yield _again(kept)
            return
        held = await self._reserve(model, request)
        call = CachedCall(
            sitting.method, sitting.task, sitting.id, model.name, digest, turn, sitting.elapsed_seconds(), 0.0
        )
        done = False
        try:
            async with aclosing(self._client.stream(model, held.request)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Completion):
                        done = True
                        self._add(sitting, replace(call, completion=piece, cost=model.cost(piece.usage)), held)
                    yield piece
        except ModelError as e:
            status = e.status if isinstance(e, ModelHTTPError) else None
            failed = replace(call, cost=None if e.produced else 0.0, failure=e.reason, kind=e.kind.value)
            done = True
            self._add(sitting, replace(failed, status=status), held)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            if not done:  # nobody knows what it came to
                if self.account.limits.max_cost is not None:
                    self._add(sitting, replace(call, failure="interrupted", kind=ABANDONED), held)
                done = True
            raise
        finally:
            if not done:  # a defect of ours: nothing is kept back
                self._settle(held, 0.0)

    async def _reserve(self, model: ModelSpec, request: Request) -> Reservation:
        """Wait where calls under way hold what this one may cost: most come to less."""
        while True:
            try:
                return self.account.reserve(
                    model, request, min_tokens=DEFAULT_OUTPUT_TOKENS
                )  # no answer is cut short for the money
            except BudgetExceeded as e:
                if not e.temporary:
                    raise
            await self._ended.wait()

    def _settle(self, held: Reservation, cost: float | None) -> float:
        ended, self._ended = self._ended, asyncio.Event()
        ended.set()
        return self.account.settle(held, cost)

    def _add(self, sitting: QuestionRun, call: CachedCall, held: Reservation) -> None:
        paid = replace(call, ended=sitting.elapsed_seconds(), counted=self._settle(held, call.cost))
        self._file.write(paid)
        sitting.calls.append(paid)
        self._keep(paid)

    def _keep(self, paid: CachedCall) -> None:
        if paid.kind != ABANDONED:  # it is made anew
            self._kept[paid.key] = paid
        self.unpriced += paid.cost is None

    def _load(self) -> None:
        complaints = ErrorCollector()
        for number, line in read_lines(self._path, complaints):
            try:
                paid = msgspec.json.decode(line, type=CachedCall)
                self.account.spent += max(paid.charged, paid.cost or 0.0)
                self._keep(paid)
            except (msgspec.DecodeError, UnicodeDecodeError) as e:
                complaints(BadLine(str(self._path), number, f"{e}; remove that line"))
        complaints.raise_if_any()


def _again(paid: CachedCall) -> Completion:
    """What the call gave, or its failure once more."""
    if paid.completion is not None:
        return paid.completion
    reason = paid.failure or "failed before"
    if paid.kind == FailureKind.HTTP_ERROR:
        raise ModelHTTPError(paid.model, reason, status=paid.status or 0)
    raise KINDS.get(paid.kind or "", ModelError)(paid.model, reason, produced=paid.cost is None)


def _digest(model: ModelSpec, request: Request) -> str:
    """Of all that the endpoint is asked: the same request is the same call."""
    asked = msgspec.to_builtins(request)
    del asked["purpose"]  # what it is for changes nothing in what is asked
    whole = msgspec.json.encode([model.name, model.model, model.system, model.parameters, asked], order="sorted")
    return hashlib.sha256(whole).hexdigest()[:16]
