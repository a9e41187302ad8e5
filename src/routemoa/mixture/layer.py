"""One layer: runs the selected models concurrently; each answers and judges in the same reply.

A failed model is recorded and replaced from the reserve; failures are never fatal here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from random import Random
from time import perf_counter

from msgspec import Struct

from routemoa.core.errors import (
    CallCancelled,
    InvalidResponse,
    ModelError,
    ModelHTTPError,
    ModelTimeout,
    RouteMoAError,
    Unaffordable,
    Unreachable,
)
from routemoa.core.events import Degraded, Judged, ProposalDelta, ProposalFailed, ProposalFinished, ProposalStarted
from routemoa.core.trace import Assessment, Degradation, Failure, Proposal
from routemoa.core.types import Completion, ModelSpec, Purpose, Query, Request, Thinking
from routemoa.core.usage import Usage
from routemoa.judging.published_fusion import mean_token_probability
from routemoa.mixture import prompts
from routemoa.mixture import reply_parser as replies
from routemoa.mixture.admission import Admission, leave_out_misfits
from routemoa.mixture.budget.account import cap_output
from routemoa.mixture.call_group import WAIT_FOR_ALL, CallEnd, CallGroup, PendingCall, WaitPolicy
from routemoa.mixture.prompts import ReplyFormat
from routemoa.mixture.reply_parser import Reply
from routemoa.mixture.run import Run

__all__ = [
    "LayerRequest",
    "empty_answer",
    "make_failure",
    "make_proposal",
    "no_completion",
    "read_completion",
    "report_defect",
    "run_layer",
]

logger = logging.getLogger("routemoa.mixture")


class LayerRequest(Struct, frozen=True):
    """What the proposers of a layer are asked for."""

    number: int
    """1 for the first layer."""
    query: Query
    candidates: tuple[Proposal, ...] = ()
    """Earlier answers, quoted to every proposer in an order of its own."""
    verbalized: bool = False
    """Ask for a self-assessment in the reply."""
    logprob: bool = False
    """Take the mean token log-probability as self-assessment."""
    cross: bool = False
    """Ask for a score of every candidate."""
    seed: int = 0
    """Of the orders in which candidates are shown."""
    max_tokens: int | None = None
    """Of each answer; None is as the query has it."""
    leader: str | None = None
    """The model whose answer streams to the caller: it is asked for nothing but its answer."""
    is_last: bool = True
    """Whether no other layer can answer instead: the last of its models is then tried once more, or while it cools
    down."""

    def reply_format(self, spec: ModelSpec) -> ReplyFormat:
        """Return what `spec` is asked for besides its answer."""
        if spec.name == self.leader:
            return ReplyFormat()
        labels = prompts.candidate_labels(len(self.candidates)) if self.cross else ()
        return ReplyFormat(self.verbalized, labels, spec.json_schema)

    def candidates_for(self, spec: ModelSpec) -> tuple[Proposal, ...]:
        """Return the candidates as `spec` sees them: shuffled for each model, so that no place is favoured."""
        if len(self.candidates) < 2:
            return self.candidates
        shuffled = list(self.candidates)
        Random(f"{self.seed}:{self.number}:{spec.name}").shuffle(shuffled)  # noqa: S311  (an order, no secret)
        return tuple(shuffled)

    def request_for(
        self, spec: ModelSpec, purpose: Purpose = "proposal", candidates: Sequence[Proposal] | None = None
    ) -> Request:
        """Return the call to `spec`; `candidates` in its order, where they are known already."""
        reply_format = self.reply_format(spec)
        candidates = self.candidates_for(spec) if candidates is None else candidates
        request = Request(
            prompts.proposal_messages(self.query.messages, [c.text for c in candidates], reply_format),
            self.query.parameters,
            logprobs=self.logprob,
            schema=prompts.reply_schema(reply_format) if reply_format and reply_format.json_schema else None,
            purpose=purpose,
        )
        return request if self.max_tokens is None else cap_output(spec, request, self.max_tokens)


async def run_layer(
    run: Run,
    request: LayerRequest,
    selected: Sequence[ModelSpec],
    reserve: Sequence[ModelSpec] = (),
    policy: WaitPolicy = WAIT_FOR_ALL,
) -> None:
    """Call the models of a layer and emit what they answer; leaving early cancels every call.

    Args:
        selected: the models that are called at once.
        reserve: the models that replace failed ones and hedge slow ones, best first.
        policy: how long to wait.
    """
    selected, reserve = leave_out_misfits(run, selected, reserve, request.request_for)
    calls = CallGroup(
        lambda call: _Proposal(run, request, call).make(), reserve, policy, Admission(run, force=request.is_last)
    )
    leader = next((m for m in selected if m.name == request.leader and m.local), None)
    await calls.run(selected, leader)


class _Proposal:
    """One call of a layer: emits the proposer's answer and its judgments, or the failure."""

    def __init__(self, run: Run, request: LayerRequest, call: PendingCall) -> None:
        self._run, self._request, self._call = run, request, call
        self._layer, self._spec = request.number, call.spec
        self._format = request.reply_format(call.spec)
        self._candidates = request.candidates_for(call.spec)
        self._started = perf_counter()
        self._pieces: list[str] = []

    async def make(self) -> CallEnd:
        """Make the call."""
        call, spec, run = self._call, self._spec, self._run
        quoted = tuple(c.model for c in self._candidates)
        run.emit(ProposalStarted(self._layer, spec.name, quoted, call.purpose))
        try:
            completion = await self._stream()
            reply = await replies.read_reply(completion.text, self._format, run.client.deadline.seconds_left)
        except Unaffordable as e:
            if not call.is_hedge:
                return self._fail(e)
            run.emit(Degraded(Degradation("hedge", e.reason, (spec.name,))))
            return CallEnd.NOT_MADE
        except ModelError as e:
            return self._fail(e)
        except asyncio.CancelledError:
            if call.cancel_reason is None:
                raise
            return self._fail(CallCancelled(spec.name, call.cancel_reason, produced=bool(self._pieces)))
        except RouteMoAError:
            raise
        except Exception as e:  # one member's reply must not end the query
            return self._fail(report_defect(spec, e))
        self._note_dropped_parameters()
        if not reply.answer:
            return self._fail(empty_answer(spec, completion), completion.usage)
        proposal = make_proposal(spec, completion, reply.answer, perf_counter() - self._started)
        run.emit(ProposalFinished(self._layer, proposal, completion.first_token))
        if assessments := self._assessments(reply, completion):
            run.emit(Judged(self._layer, assessments))
        return CallEnd.ANSWERED

    async def _stream(self) -> Completion:
        """Emit the answer's text as it comes, without the judgments in it."""
        visible = replies.AnswerStream(self._format)
        request = self._request.request_for(self._spec, self._call.purpose, self._candidates)
        is_last = self._request.is_last
        stream = self._run.client.stream(self._spec, request, lambda: is_last and self._call.is_last_hope)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                self._call.begin()
                if isinstance(piece, Completion):
                    return piece
                if isinstance(piece, str) and (text := visible.feed(piece)):
                    self._pieces.append(text)
                    self._run.emit(ProposalDelta(self._layer, self._spec.name, text))
                    await self._run.room()
        raise no_completion(self._spec)

    def _note_dropped_parameters(self) -> None:
        """Say which of the caller's parameters this model was not sent, the first time in a query."""
        spec, run = self._spec, self._run
        dropped = run.client.dropped_parameters(spec, Request((), self._request.query.parameters))
        if dropped and all(g.what != "parameter" or spec.name not in g.models for g in run.trace.given_up):
            run.emit(Degraded(Degradation("parameter", f"its endpoint takes no {', '.join(dropped)}", (spec.name,))))

    def _assessments(self, reply: Reply, completion: Completion) -> tuple[Assessment, ...]:
        """Return the judgments in a reply: of the proposer's own answer and of the candidates of others."""
        name, assessments = self._spec.name, list[Assessment]()
        if self._request.logprob:
            own = mean_token_probability(completion.tokens, None if self._spec.json_schema else len(reply.answer))
            assessments.append(Assessment(name, name, "self", own))
        elif self._format.self_score:
            assessments.append(Assessment(name, name, "self", reply.self_score))
        for label, candidate in zip(self._format.peers, self._candidates, strict=False):
            if candidate.model != name:  # a view of one's own answer is no peer's view
                assessments.append(Assessment(name, candidate.model, "cross", reply.scores.get(label)))
        return tuple(assessments)

    def _fail(self, error: ModelError, usage: Usage | None = None) -> CallEnd:
        latency, partial = perf_counter() - self._started, "".join(self._pieces)
        self._run.emit(ProposalFailed(self._layer, make_failure(self._spec, error, latency, usage, partial)))
        return CallEnd.FAILED


async def read_completion(stream: AsyncGenerator[str | Thinking | Completion, None], spec: ModelSpec) -> Completion:
    """Read a call's stream and return the whole, without its pieces. Raises ModelError."""
    async with aclosing(stream) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion):
                return piece
    raise no_completion(spec)


def make_proposal(spec: ModelSpec, completion: Completion, text: str, latency: float) -> Proposal:
    """Return an answer for the trace; `text` is the completion's, without judgments. `latency` is in seconds."""
    usage = completion.usage
    return Proposal(
        spec.name,
        text,
        usage,
        latency,
        spec.cost(usage),
        completion.finish_reason,
        completion.refusal,
        completion.thought_length,
    )


def make_failure(
    spec: ModelSpec, error: ModelError, latency: float, usage: Usage | None = None, partial: str = ""
) -> Failure:
    """Return a failed call for the trace.

    Refused or never sent: nothing was used; else the usage is what the endpoint says, if it does.
    """
    usage = error.usage if usage is None else usage
    if usage is None:
        usage = Usage() if error.may_be_billed else Usage(0, 0, 0, 0)
        cost = None if error.may_be_billed else 0.0
    else:
        cost = 0.0 if usage.is_zero else spec.cost(usage)
    refusal = error if isinstance(error, ModelHTTPError) else None
    broke = isinstance(error, Unreachable) or (isinstance(error, ModelTimeout) and not error.by_limit)
    return Failure(
        spec.name,
        error.reason,
        error.kind,
        usage,
        latency,
        cost,
        None if refusal is None else refusal.status,
        partial,
        None if refusal is None else refusal.code,
        None if refusal is None else refusal.retry_after,
        unanswered=broke and usage == Usage() and not error.produced and not partial,
    )


def report_defect(spec: ModelSpec, error: Exception) -> ModelError:
    """Log a defect of ours that one member's call brought up; return it as the failure of that call."""
    logger.error("unexpected error in a call of %s", spec.name, exc_info=error)
    return ModelError(spec.name, f"its reply could not be handled ({type(error).__name__})", produced=True)


def no_completion(spec: ModelSpec) -> InvalidResponse:
    """Return the error of a stream without an end."""
    return InvalidResponse(spec.name, "the stream ended without a completion", produced=True)


def empty_answer(spec: ModelSpec, completion: Completion) -> InvalidResponse:
    """Return the error of a call that produced no answer."""
    ending = f"finish_reason {completion.finish_reason}"
    if completion.thought_length and completion.finish_reason == "length":
        reason = f"empty answer: its thoughts took all the tokens that it may write ({ending}); raise max_tokens"
    elif completion.thought_length:
        reason = f"empty answer: there are only thoughts ({ending})"
    elif completion.finish_reason == "tool_calls":
        reason = f"empty answer: it calls a tool instead of answering ({ending})"
    else:
        reason = f"empty answer ({ending})"
    return InvalidResponse(spec.name, reason, produced=True)
