"""One layer: runs the selected models concurrently; each answers and judges in the same reply.

A failed model is recorded and replaced from the reserve; failures are never fatal here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from random import Random
from time import perf_counter

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.errors import (
    CallCancelled,
    InvalidResponse,
    ModelError,
    RouteMoAError,
    Unaffordable,
)
from routemoa.core.events import (
    AnswerThought,
    Degraded,
    Judged,
    ProposalDelta,
    ProposalFailed,
    ProposalFinished,
    ProposalStarted,
)
from routemoa.core.tables.candidates import draw_again
from routemoa.core.trace import Assessment, Degradation, Proposal
from routemoa.core.types import Completion, ModelSpec, Purpose, Query, Request, Thinking
from routemoa.core.usage import Usage
from routemoa.judging.option_orders import ReorderedQuestion, reorder_query
from routemoa.judging.published_fusion import mean_token_probability
from routemoa.mixture import prompts
from routemoa.mixture import reply_parser as replies
from routemoa.mixture.answers.structured import ask_in_words, find_json, repair_answer, wrong_form
from routemoa.mixture.budget.account import cap_output
from routemoa.mixture.calls.admission import Admission, leave_out_misfits
from routemoa.mixture.calls.call_group import WAIT_FOR_ALL, CallGroup, WaitPolicy
from routemoa.mixture.calls.call_results import empty_answer, make_failure, make_proposal, no_completion, report_defect
from routemoa.mixture.calls.pending_call import CallEnd, PendingCall
from routemoa.mixture.calls.written_calls import read_written_calls
from routemoa.mixture.prompts import ReplyFormat
from routemoa.mixture.reply_parser import Reply
from routemoa.mixture.run import Run
from routemoa.mixture.schemas.tool_check import allowed_calls, find_problem
from routemoa.routing.tool_steps import hide_thoughts

__all__ = ["LayerRequest", "run_layer"]


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
    asked_in_words: frozenset[str] = frozenset()
    """The models that take no `response_format`."""
    goes_on: frozenset[str] = frozenset()
    """The models whose own thoughts those since the last user turn may be."""
    is_last: bool = True
    """Whether no other layer can answer instead: the last of its models is then tried once more, or while it cools
    down."""

    def reply_format(self, spec: ModelSpec) -> ReplyFormat:
        """Return what `spec` is asked for besides its answer."""
        if spec.name == self.leader or self.reordered(spec) is not None:
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

    def reordered(self, spec: ModelSpec) -> ReorderedQuestion | None:
        """Return the question as a candidate with another order sees it; beside quoted answers nothing is reordered."""
        return None if self.candidates else reorder_query(self.query, spec)

    def drawn(self, spec: ModelSpec) -> ModelSpec:
        """Return a candidate as it is called: a further vote in the question's own order is drawn once more."""
        is_drawn = spec.vote > 1 and self.reordered(spec) is None
        return draw_again(spec, spec.vote - 1, self.query.parameters) if is_drawn else spec

    def request_for(
        self, spec: ModelSpec, purpose: Purpose = "proposal", candidates: Sequence[Proposal] | None = None
    ) -> Request:
        """Return the call to `spec`; `candidates` in its order, where they are known already."""
        reply_format = self.reply_format(spec)
        candidates = self.candidates_for(spec) if candidates is None else candidates
        shown = hide_thoughts(self.query.messages, but_of_this_turn=spec.name in self.goes_on)
        if (question := self.reordered(spec)) is not None:
            shown = (*shown[:-1], replace(shown[-1], content=question.text, marks=()))
        messages = prompts.proposal_messages(shown, [c.text for c in candidates], reply_format)
        wanted = self.query.answer_format
        request = Request(
            messages if wanted is None or spec.name not in self.asked_in_words else ask_in_words(wanted, messages),
            self.query.parameters,
            logprobs=self.logprob,
            schema=prompts.reply_schema(reply_format) if reply_format and reply_format.json_schema else None,
            purpose=purpose,
            tools=self.query.tools,
            answer_format=wanted,
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
        self._layer, self._spec = request.number, request.drawn(call.spec)
        self._format = request.reply_format(call.spec)
        self._reordered = request.reordered(call.spec)
        self._candidates = request.candidates_for(call.spec)
        self._started = perf_counter()
        self._pieces: list[str] = []
        self._thoughts: list[str] = []

    async def make(self) -> CallEnd:
        """Make the call."""
        call, spec, run = self._call, self._spec, self._run
        quoted = tuple(c.model for c in self._candidates)
        run.emit(ProposalStarted(self._layer, spec.name, quoted, call.purpose))
        try:
            completion = await self._stream()
            reply = await replies.read_reply(completion.text, self._format, run.client.deadline.seconds_left)
            reply = await self._bring_into_form(reply, completion)
            answer = self._restore_order(reply.answer)
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
        run.note_dropped(spec)
        if (error := self._find_fault(answer, completion)) is not None:
            return self._fail(error, completion.usage)
        asked = self._request.query.parameters.get("logprobs") is True
        seconds = perf_counter() - self._started
        proposal = make_proposal(spec, completion, answer, seconds, with_logprobs=asked)
        run.emit(ProposalFinished(self._layer, proposal, completion.first_token))
        if assessments := self._assessments(reply, completion):
            run.emit(Judged(self._layer, assessments))
        return CallEnd.ANSWERED

    async def _bring_into_form(self, reply: Reply, completion: Completion) -> Reply:
        """Return the reply with its answer as the JSON that the caller wants; its model may mend it once.

        Raises:
            InvalidResponse: it is none, and neither is the mended one.
        """
        wanted = self._request.query.answer_format
        if wanted is None or completion.tool_calls or completion.refusal:
            return reply
        text, problem = find_json(wanted, reply.answer)
        if problem is not None:
            repaired = await repair_answer(self._run, self._spec, wanted, reply.answer, problem)
            if repaired is None:
                raise wrong_form(self._spec, completion, problem)
            text = repaired
        return replace(reply, answer=text)

    def _restore_order(self, answer: str) -> str:
        """Return the option that the answer to a reordered question names in the own order; "" where it names none."""
        return answer if self._reordered is None else self._reordered.restore(answer) or ""

    def _find_fault(self, answer: str, completion: Completion) -> ModelError | None:
        """Return what is wrong with an answer: it is empty, or calls tools otherwise than the caller allows."""
        tools = self._request.query.tools
        if tools is not None and (problem := find_problem(tools, completion.tool_calls)) is not None:
            return InvalidResponse(self._spec.name, problem, produced=True)
        if not answer and self._reordered is not None:
            return InvalidResponse(self._spec.name, "it names none of the options", produced=True)
        has_calls = tools is not None and bool(completion.tool_calls)
        return None if answer or has_calls else empty_answer(self._spec, completion)

    def _with_calls(self, completion: Completion) -> Completion:
        """Return the completion with the calls that count: where there are none, those that are written as text."""
        tools = self._request.query.tools
        if tools is None:
            return replace(completion, tool_calls=())
        if not completion.tool_calls:
            written, text = read_written_calls(tools, completion.text)
            completion = replace(completion, text=text, tool_calls=written) if written else completion
        calls = allowed_calls(tools, completion.tool_calls)
        if calls:
            self._show_thoughts()
        return replace(completion, tool_calls=calls)

    async def _stream(self) -> Completion:
        """Emit the answer's text as it comes, without the judgments in it."""
        visible = replies.AnswerStream(self._format)
        request = self._request.request_for(self._spec, self._call.purpose, self._candidates)
        is_last = self._request.is_last
        call = self._call
        stream = self._run.client.stream(self._spec, request, lambda: is_last and call.is_last_hope, call.hedge_after)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                self._call.begin()
                if isinstance(piece, Completion):
                    return self._with_calls(piece)
                if isinstance(piece, Thinking):
                    self._thoughts.append(piece.text)
                if isinstance(piece, str) and self._reordered is None and (text := visible.feed(piece)):
                    self._show_thoughts()
                    self._pieces.append(text)
                    self._run.emit(ProposalDelta(self._layer, self._spec.name, text))
                    await self._run.room()
        raise no_completion(self._spec)

    def _show_thoughts(self) -> None:
        """Emit the leader's thoughts as it begins to answer: of thoughts alone nothing is shown."""
        thought = "".join(self._thoughts)
        self._thoughts.clear()
        if thought and self._request.leader == self._spec.name:
            self._run.emit(AnswerThought(thought))

    def _assessments(self, reply: Reply, completion: Completion) -> tuple[Assessment, ...]:
        """Return the judgments in a reply: of the proposer's own answer and of the candidates of others."""
        name, assessments = self._spec.name, list[Assessment]()
        if self._reordered is not None:
            pass  # how sure a letter is cannot be compared with how sure an answer in words is
        elif self._request.logprob:
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
