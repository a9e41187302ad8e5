"""The final answer: one model writes it from the best answers, or the best one stands as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from time import perf_counter
from types import MappingProxyType

from msgspec.structs import replace

from routemoa.core.errors import CallCancelled, ModelError, RouteMoAError, Unaffordable
from routemoa.core.events import (
    AggregatorFailed,
    AggregatorStarted,
    AnswerDelta,
    AnswerReplaced,
    AnswerThought,
    CallFinished,
    CallStarted,
    Degraded,
)
from routemoa.core.trace import Degradation, Failure, Proposal
from routemoa.core.types import Completion, ModelSpec, Purpose, Query, Request, Thinking
from routemoa.mixture import prompts
from routemoa.mixture.answers.structured import find_json, wrong_form
from routemoa.mixture.calls.admission import Admission, leave_out_misfits, takes
from routemoa.mixture.calls.call_group import CallGroup, WaitPolicy
from routemoa.mixture.calls.call_results import (
    answer_logprobs,
    empty_answer,
    make_failure,
    no_completion,
    report_defect,
)
from routemoa.mixture.calls.leader_stream import THOUGHT_MARKER, THOUGHT_SHOWN
from routemoa.mixture.calls.pending_call import CallEnd, PendingCall
from routemoa.mixture.run import Run

__all__ = ["aggregation_request", "write_answer"]


def aggregation_request(
    query: Query, proposals: Sequence[Proposal], *, hedge: bool = False, unseen: Collection[str] = ()
) -> Request:
    """Return the call that asks for the final answer from `proposals`.

    `unseen`: images and the like that the writer does not take, so that it is told of them only.
    """
    texts = [p.text for p in proposals]
    messages = prompts.aggregation_messages([m.without_media(unseen) for m in query.messages], texts)
    purpose: Purpose = "hedge" if hedge else "aggregator"
    return Request(messages, query.parameters, purpose=purpose, answer_format=query.answer_format)


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
        first, others = leave_out_misfits(
            run, writers[:1], writers[1:], lambda _: aggregation_request(run.query, proposals)
        )
        await CallGroup(write, others, WaitPolicy(hedge_after=hedge_after), Admission(run)).run(first)
    for writing in writings.values():
        if (whole := writing.completion) is not None:
            cost = writing.spec.cost(whole.usage)
            shown = answer_logprobs(whole, whole.text)
            run.finish(whole.finish_reason, whole.usage, cost, is_refusal=whole.refusal, logprobs=shown)
            return
        if writing.broken_off is not None:
            run.break_off(writing.broken_off)
            return
    run.show_answer(proposals[0])


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
        unseen = [kind for kind in run.query.media if not takes(run, call.spec, kind)]
        self._request = aggregation_request(run.query, proposals, hedge=call.is_hedge, unseen=unseen)
        self._started = perf_counter()
        self._is_aggregator = False
        self._reported = False
        self._written: list[str] = []

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
        except RouteMoAError:
            raise
        except Exception as e:  # one writer's reply must not end the query
            return self._fail(report_defect(self.spec, e))
        self._run.note_dropped(self.spec)
        return CallEnd.ANSWERED

    async def _stream(self) -> Completion:
        """Emit the text as it comes; an empty answer is no beginning, and white space waits for the first word."""
        blank: list[str] = []
        thoughts: list[str] = []
        call = self._call
        stream = self._run.client.stream(self.spec, self._request, lambda: call.is_last_hope, call.hedge_after)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    if not piece.text.strip():
                        raise empty_answer(self.spec, piece)
                    self._begin()
                    whole = self._check_form(piece)
                    self._show_thoughts(thoughts)
                    self._correct(whole.text)
                    return whole
                self._begin()
                if isinstance(piece, Thinking):
                    thoughts.append(piece.text)
                if not isinstance(piece, str) or not piece or self._run.query.answer_format is not None:
                    continue  # a form is checked when it is whole
                if not self._written and not piece.strip():
                    blank.append(piece)
                    continue
                self._show_thoughts(thoughts)
                text = "".join((*blank, piece))
                blank.clear()
                self._written.append(text)
                self._run.emit(AnswerDelta(text))
                await self._run.room()
        raise no_completion(self.spec)

    def _show_thoughts(self, thoughts: list[str]) -> None:
        """Emit thoughts as the answer begins."""
        if thought := "".join(thoughts):
            self._run.emit(AnswerThought(thought))
        thoughts.clear()

    def _check_form(self, completion: Completion) -> Completion:
        """Return the completion as the JSON that the caller wants. Raises InvalidResponse where it is none."""
        wanted = self._run.query.answer_format
        if wanted is None or completion.refusal:
            return completion
        text, problem = find_json(wanted, completion.text)
        if problem is not None:
            raise wrong_form(self.spec, completion, problem)
        return replace(completion, text=text)

    def _correct(self, text: str) -> None:
        """Emit the answer where what was written is not it: a part of that turned out to be a thought."""
        written = "".join(self._written)
        if written.strip() == text.strip():
            return
        if written:
            self._run.emit(AnswerReplaced(THOUGHT_SHOWN, self.spec.name, THOUGHT_MARKER))
        self._run.emit(AnswerDelta(text))

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
                kept = bool(self._written) and self._run.shows_final_text
                self.broken_off = failure if kept else None
                self._run.emit(AggregatorFailed(failure, kept))
            else:
                self._run.emit(CallStarted("hedge", self.spec.name))
                self._run.emit(CallFinished("hedge", failure=failure))
        return CallEnd.FAILED if self.broken_off is None else CallEnd.BROKE_OFF
