"""One layer: the selected models answer at the same time, and judge in the same replies.

A model that fails is recorded, and the next one of the reserve takes its place at once; it is never fatal here. The
layer ends when all have answered, when the answers heard suffice, or when its time is over: who is late is cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from random import Random
from time import perf_counter

from msgspec import Struct

from routemoa.core.errors import CallCancelled, InvalidResponse, ModelError, ModelHTTPError, Unaffordable, Unreachable
from routemoa.core.events import (
    Degraded,
    Event,
    Judged,
    ProposalDelta,
    ProposalFailed,
    ProposalFinished,
    ProposalStarted,
)
from routemoa.core.protocols import Client
from routemoa.core.trace import Assessment, Degradation, Failure, Proposal
from routemoa.core.types import Completion, ModelSpec, Purpose, Query, Request, Usage
from routemoa.judging.fusion import mean_token_probability
from routemoa.mixture import prompts
from routemoa.mixture import reply_parser as replies
from routemoa.mixture.budget.account import cap_output
from routemoa.mixture.calls import WAIT_FOR_ALL, CallGroup, LayerCall, WaitPolicy
from routemoa.mixture.prompts import ReplyFormat
from routemoa.mixture.reply_parser import Reply

__all__ = ["LayerRequest", "make_failure", "run_layer"]


class LayerRequest(Struct, frozen=True):
    """What a layer's proposers are asked for.

    `candidates` are earlier answers, quoted to every proposer in an order of its own and scored by it when `cross`;
    `spoken` asks for a self-score in the reply, `logprob` takes the mean token log-probability instead.
    """

    number: int  # 1 for the first layer
    query: Query
    candidates: tuple[Proposal, ...] = ()
    spoken: bool = False
    logprob: bool = False
    cross: bool = False
    seed: int = 0  # of the order in which each model is shown the candidates
    cap: int | None = None  # output tokens of each answer at most; None: as the query says
    leader: str | None = None  # whose answer is shown as it comes: it is asked for nothing else

    def asked(self, spec: ModelSpec) -> ReplyFormat:
        """What `spec` is asked for besides its answer."""
        if spec.name == self.leader:
            return ReplyFormat()
        return ReplyFormat(
            self.spoken, prompts.candidate_labels(len(self.candidates)) if self.cross else (), spec.json_schema
        )

    def shown(self, spec: ModelSpec) -> tuple[Proposal, ...]:
        """The candidates in the order that `spec` sees: its own shuffle, so that no place is favoured by all judges."""
        shuffled = list(self.candidates)
        Random(f"{self.seed}:{self.number}:{spec.name}").shuffle(shuffled)  # noqa: S311  (an order, no secret)
        return tuple(shuffled)

    def request(self, spec: ModelSpec, purpose: Purpose = "proposal") -> Request:
        """The call that asks `spec`."""
        asked = self.asked(spec)
        request = Request(
            prompts.proposal_messages(self.query.messages, [c.text for c in self.shown(spec)], asked),
            self.query.parameters,
            logprobs=self.logprob,
            schema=prompts.reply_schema(asked) if asked and asked.json_schema else None,
            purpose=purpose,
        )
        return request if self.cap is None else cap_output(spec, request, self.cap)


async def run_layer(
    plan: LayerRequest,
    selected: Sequence[ModelSpec],
    reserve: Sequence[ModelSpec],
    client: Client,
    waiting: WaitPolicy = WAIT_FOR_ALL,
) -> AsyncGenerator[Event, None]:
    """Yield what happens, as it happens; closing the iterator cancels every call under way.

    Args:
        selected: who is called at once.
        reserve: who takes the place of a model that fails, or is asked as well where one is late; best first.
        waiting: how long for.
    """

    async def propose(call: LayerCall) -> None:
        await _propose(plan, call, client)

    calls = CallGroup(propose, reserve, waiting)
    leads = [m for m in selected if m.name == plan.leader and m.local]
    try:
        # On one machine the leader's first token goes before all else: who shares its processors begins after it.
        calls.begin(selected, after=leads[0] if leads else None)
        while calls.running:
            if (event := await calls.heard()) is not None:
                yield event
    finally:
        await calls.end()
    calls.check()


async def _propose(plan: LayerRequest, call: LayerCall, client: Client) -> None:
    """Call one proposer and say what comes of it."""
    spec, shown = call.spec, replies.AnswerStream(plan.asked(call.spec))
    started = perf_counter()
    texts: list[str] = []

    def fail(error: ModelError, usage: Usage | None = None) -> None:
        if isinstance(error, Unaffordable) and call.hedge:  # nobody's place was to be taken: it may be asked later
            call.say(Degraded(Degradation("hedge", error.reason, (spec.name,))))
            return
        call.say(
            ProposalFailed(plan.number, make_failure(spec, error, perf_counter() - started, usage, "".join(texts)))
        )

    call.say(ProposalStarted(plan.number, spec.name, tuple(c.model for c in plan.shown(spec)), call.purpose))
    try:
        completion: Completion | None = None
        async with aclosing(client.stream(spec, plan.request(spec, call.purpose))) as pieces:
            async for piece in pieces:
                call.begun()
                if isinstance(piece, Completion):
                    completion = piece
                    break
                if text := shown.feed(piece):
                    texts.append(text)
                    call.say(ProposalDelta(plan.number, spec.name, text))
        if completion is None:
            raise InvalidResponse(spec.name, "the stream ended without a completion", produced=True)
        reply = replies.parse_reply(completion.text, plan.asked(spec))
        if not reply.answer:
            empty = InvalidResponse(
                spec.name, f"empty answer (finish_reason {completion.finish_reason})", produced=True
            )
            fail(empty, completion.usage)
            return
        seconds, used = perf_counter() - started, completion.usage
        proposal = Proposal(spec.name, reply.answer, used, seconds, spec.cost(used))
        call.say(ProposalFinished(plan.number, proposal, completion.first_token))
        if judged := _assessments(plan, spec, reply, completion):
            call.say(Judged(plan.number, judged))
    except ModelError as e:
        fail(e)
    except asyncio.CancelledError:
        if call.cut is None:
            raise
        fail(CallCancelled(spec.name, call.cut, produced=bool(texts)))


def _assessments(plan: LayerRequest, spec: ModelSpec, reply: Reply, completion: Completion) -> tuple[Assessment, ...]:
    given: list[Assessment] = []
    if plan.logprob:
        own = mean_token_probability(completion.tokens, None if spec.json_schema else len(reply.answer))
        given.append(Assessment(spec.name, spec.name, "self", own))
    elif plan.asked(spec).self_score:
        given.append(Assessment(spec.name, spec.name, "self", reply.self_score))
    if plan.asked(spec).peers:  # a view of one's own answer is no peer's view
        for label, candidate in zip(prompts.candidate_labels(len(plan.candidates)), plan.shown(spec), strict=True):
            if candidate.model != spec.name:
                given.append(Assessment(spec.name, candidate.model, "cross", reply.scores.get(label)))
    return tuple(given)


def make_failure(
    spec: ModelSpec, error: ModelError, latency: float, usage: Usage | None = None, partial: str = ""
) -> Failure:
    """A failed call for the trace. Refused, or never sent: nothing was used; else unknown."""
    if usage is None:
        lost = error.produced or (isinstance(error, Unreachable) and error.sent)
        nothing = isinstance(error, ModelHTTPError | Unreachable | Unaffordable) and not lost
        usage = Usage(0, 0, 0, 0) if nothing else Usage()
        cost = 0.0 if nothing else None
    else:
        cost = spec.cost(usage)
    status = error.status if isinstance(error, ModelHTTPError) else None
    return Failure(spec.name, error.reason, error.kind, usage, latency, cost, status, partial)
