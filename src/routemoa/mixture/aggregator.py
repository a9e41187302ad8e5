"""The final answer: one model writes it from the best answers, or the best one stands as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from time import perf_counter
from types import MappingProxyType

from routemoa.core.errors import CallCancelled, ModelError, Unaffordable
from routemoa.core.events import AggregatorFailed, AggregatorStarted, AnswerDelta, CallFinished, CallStarted, Degraded
from routemoa.core.trace import Degradation, Failure, Proposal
from routemoa.core.types import Completion, ModelSpec, Query, Request
from routemoa.mixture import prompts
from routemoa.mixture.call_group import CallEnd, CallGroup, PendingCall, WaitPolicy
from routemoa.mixture.layer import empty_answer, make_failure, no_completion
from routemoa.mixture.run import Run

__all__ = ["aggregation_request", "write_answer"]


def aggregation_request(query: Query, proposals: Sequence[Proposal], *, hedge: bool = False) -> Request:
    """Return the call that asks for the final answer from `proposals`."""
    texts = [p.text for p in proposals]
    messages = prompts.aggregation_messages(query.messages, texts)
    return Request(messages, query.parameters, purpose="hedge" if hedge else "aggregator")


async def write_answer(
    run: Run,
    proposals: Sequence[Proposal],
    writers: Sequence[ModelSpec],
    hedge_after: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Emit the final answer, up to Done.

    Args:
        proposals: the answers to write from, best first; the first one stands where no writer is needed or left.
        writers: the models to ask, one after the other as they fail; none where the first answer stands anyway.
        hedge_after: model -> seconds without a first token after which the next writer is asked as well.
    """
    writings: dict[PendingCall, _Writing] = {}

    async def write(call: PendingCall) -> CallEnd:
        writings[call] = _Writing(run, proposals, call, writings)
        return await writings[call].make()

    if writers:
        await CallGroup(write, writers[1:], WaitPolicy(hedge_after=hedge_after)).run(writers[:1])
    for writing in writings.values():
        if (whole := writing.completion) is not None:
            run.finish(whole.finish_reason, whole.usage, writing.spec.cost(whole.usage))
            return
        if writing.broken_off is not None:
            run.break_off(writing.broken_off)
            return
    run.emit(AnswerDelta(proposals[0].text))
    run.finish("stop")


class _Writing:
    """One aggregator's call: emits its text, or its failure.

    A hedge is announced once it is known what becomes of it: as the aggregator if it begins first, else as a call.
    """

    def __init__(
        self, run: Run, proposals: Sequence[Proposal], call: PendingCall, writings: Mapping[PendingCall, _Writing]
    ) -> None:
        self.spec = call.spec
        self.completion: Completion | None = None
        self.broken_off: Failure | None = None
        """Why it failed, where a part of its text was shown that nothing may replace."""
        self._run, self._call, self._writings = run, call, writings
        self._request = aggregation_request(run.query, proposals, hedge=call.is_hedge)
        self._started = perf_counter()
        self._is_aggregator = False
        self._shown = False
        self._reported = False

    async def make(self) -> CallEnd:
        """Make the call."""
        if not self._call.is_hedge:
            self._announce()
        try:
            self.completion = await self._stream()
        except Unaffordable as e:
            if self._is_aggregator:
                return self._fail(e)
            self._run.emit(CallStarted("hedge", self.spec.name))
            self._run.emit(Degraded(Degradation("hedge", e.reason, (self.spec.name,))))
            return CallEnd.NOT_MADE
        except ModelError as e:
            return self._fail(e)
        except asyncio.CancelledError:
            if self._call.cancel_reason is None:
                raise
            return self._fail(CallCancelled(self.spec.name, self._call.cancel_reason))
        return CallEnd.ANSWERED

    async def _stream(self) -> Completion:
        """Emit the text as it comes; an empty answer is no beginning, and white space waits for the first word."""
        blank: list[str] = []
        async with aclosing(self._run.client.stream(self.spec, self._request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion) and not piece.text.strip():
                    raise empty_answer(self.spec, piece)
                self._begin()
                if isinstance(piece, Completion):
                    return piece
                if not self._shown and not piece.strip():
                    blank.append(piece)
                    continue
                self._shown = True
                self._run.emit(AnswerDelta("".join((*blank, piece))))
                blank.clear()
                await self._run.room()
        raise no_completion(self.spec)

    def _begin(self) -> None:
        rival = self._call.begin()
        if not self._is_aggregator:
            if rival is not None and rival.cancel_reason is not None:  # its text, if any, is void before ours begins
                self._writings[rival]._fail(CallCancelled(rival.spec.name, rival.cancel_reason))
            self._announce()

    def _announce(self) -> None:
        self._is_aggregator = True
        self._run.emit(AggregatorStarted(self.spec.name))

    def _fail(self, error: ModelError) -> CallEnd:
        if not self._reported:
            self._reported = True
            failure = make_failure(self.spec, error, perf_counter() - self._started)
            if self._is_aggregator:
                kept = self._shown and self._run.shows_final_text
                self.broken_off = failure if kept else None
                self._run.emit(AggregatorFailed(failure, kept))
            else:
                self._run.emit(CallStarted("hedge", self.spec.name))
                self._run.emit(CallFinished("hedge", failure=failure))
        return CallEnd.FAILED if self.broken_off is None else CallEnd.BROKE_OFF
