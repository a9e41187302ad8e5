"""RouteMoA: the loop, readable as the method's steps (arXiv 2601.18130)."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any

from msgspec.structs import replace

from routemoa.clients.connect import connect, run_sync
from routemoa.core.catalog.price_list import price_sources
from routemoa.core.chat.conversations import ConversationMemory
from routemoa.core.chat.messages import to_query
from routemoa.core.chat.tool_ids import find_caller, pool_signing_key
from routemoa.core.events import Degraded, Event, Reranked, Scored, Selected, Started, Stopped
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import CallRecorder, Client, Scorer
from routemoa.core.stop_reason import StopKind, StopReason
from routemoa.core.trace import Answer, Trace
from routemoa.core.types import ModelSpec, Query
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.pool_judge import load_pool_judge
from routemoa.judging.votes import fit_candidates
from routemoa.mixture.alternatives import estimate_alternatives
from routemoa.mixture.answers.aggregator import aggregation_request, write_answer
from routemoa.mixture.answers.code_agreement import CodeComparison
from routemoa.mixture.answers.samples import draw_samples
from routemoa.mixture.answers.selection import select_answer
from routemoa.mixture.answers.shown_answer import show_leader, write_partial_answer
from routemoa.mixture.answers.structured import takes_any_text
from routemoa.mixture.caller_input import Messages, Question, check_plug_in, find_seed, read_question
from routemoa.mixture.calls.leader_stream import LeaderStream
from routemoa.mixture.layer import LayerRequest, run_layer
from routemoa.mixture.method import BaseMethod
from routemoa.mixture.query_limits import QueryLimits
from routemoa.mixture.run import Run
from routemoa.routing.decision import Decision, aggregator_models, blind_models, latest_answers, quoted_answers
from routemoa.routing.exploration import Explorer
from routemoa.routing.latency import LatencyTracker
from routemoa.routing.policies.adaptive import AdaptivePolicy
from routemoa.routing.policy import Policy, build_policy
from routemoa.routing.tool_steps import find_step_model, is_tool_step, models_going_on, step_alone, step_stop_reason
from routemoa.scoring.constant import load_scorer

__all__ = ["RouteMoA"]


class RouteMoA(BaseMethod):
    """A mixture of language models behind one name.

        RouteMoA("pool.toml").ask("Why is the sky blue?")

    Args:
        pool: the models and how they are mixed: a Pool, or the path of a pool file.
        client: calls the models; by default the HTTP client, with the embedded runtime for local models.
        scorer: predicts how likely each model is to answer well; by default the pool file's, else each `prior`.
        judge_model: what is known of the judges and of how errors come together; by default the pool file's.
        policy: decides which models to call and when to stop; by default the one that `[mixture] fusion` names.
    """

    takes_tools = True
    takes_choices = True
    takes_media = True

    def __init__(
        self,
        pool: Pool | str | os.PathLike[str],
        client: Client | None = None,
        scorer: Scorer | None = None,
        judge_model: JudgeModel | None = None,
        policy: Policy | None = None,
    ) -> None:
        check_plug_in(client, "client", "Client", "stream", "close")
        check_plug_in(scorer, "scorer", "Scorer", "score", "knows")
        check_plug_in(policy, "policy", "Policy", "initial", "update", "is_sufficient")
        self.pool = pool = _load(pool)
        super().__init__("routemoa", client or connect(pool), pool.limits, pool.absent)
        self.scorer = scorer or load_scorer(pool)
        unscored = {m.name for m in pool if not self.scorer.knows(m)}
        known = judge_model or load_pool_judge(pool)
        self.policy = policy or build_policy(pool.models, pool.mixture, known, unscored)
        self._pairwise_judge = known.pairwise_judge
        self.explorer = Explorer(pool)
        self._prices = price_sources(pool)
        self._latency = LatencyTracker()
        self.id_key = pool_signing_key(pool)
        self._conversations = ConversationMemory()

    def continue_from(self, previous: RouteMoA) -> None:
        """Take over what an earlier reading of the pool has learned: how fast the members are, and conversations."""
        self._latency, self._conversations = previous._latency, previous._conversations

    def recall(self, trace: Trace) -> None:
        """Learn how fast the members are from an answer of an earlier process."""
        for proposal in (p for layer in trace.layers for p in layer.proposals):
            self._latency.record_answer(proposal)

    @property
    def latency(self) -> LatencyTracker:
        """Return what is known of how fast the members are."""
        return self._latency

    @property
    def takes_preference(self) -> bool:
        """Return whether a request may choose the trade-off: the published and tuned loops have their own."""
        return isinstance(self.policy, AdaptivePolicy)

    async def run(self, run: Run) -> None:
        """Score, call layer after layer until the policy stops, and write the answer."""
        run.observe(self._latency.observe)
        candidates = fit_candidates(self.pool.models, run.query, self.pool.mixture)
        prior = await self.scorer.score(run.query, candidates)
        limits = QueryLimits(self.pool, self.policy, run, lambda: self._latency.estimates(latest_answers(run.trace)))
        estimates = limits.leave_out_unavailable(candidates, LayerRequest(1, run.query))
        decision = self.policy.initial(prior, estimates, run.query)
        run.emit(Scored(prior, decision.ranking))
        if takes_any_text(run.query) and run.query.tools is None:
            decision = self.explorer.widen(decision, estimates.unavailable)
        if self._is_step(run.query):
            model = find_step_model(run.query.messages, self._find_caller)
            decision = step_alone(decision, model, estimates.unavailable)
        leader = show_leader(run)
        code = CodeComparison(run, self.pool.mixture)
        while decision.stop is None:
            decision = await self._run_layer(run, decision, limits, leader, code)
        await self._write_answer(run, decision, limits, leader)

    async def _run_layer(
        self, run: Run, decision: Decision, limits: QueryLimits, leader: LeaderStream, code: CodeComparison
    ) -> Decision:
        """Run the layer that the policy wants, as far as the limits allow, and decide again."""
        request = self._layer_request(run, decision)
        plan = limits.plan_layer(decision, request)
        for degradation in plan.given_up:
            run.emit(Degraded(degradation))
        if not plan.models:
            return self.policy.update(run.trace, limits.estimates(), StopReason(StopKind.LIMITS, plan.reason))
        names = tuple(m.name for m in plan.models)
        run.emit(Selected(request.number, names, decision.selection_reason))
        request = replace(
            request,
            verbalized=request.verbalized and not limits.is_only_call(plan.models),
            max_tokens=plan.max_tokens,
            leader=leader.begin_layer(request.number, names, alone=decision.alone and names == decision.models),
        )
        reserve = [*limits.reserve(decision, plan.models), *limits.cooling]
        policy = limits.wait_policy(plan.models, decision)
        models = draw_samples(plan.models, run.trace) if decision.samples else plan.models
        await run_layer(run, request, models, reserve, replace(policy, until_first_token=leader.is_final))
        await code.compare(request.number)
        stop = step_stop_reason(run.trace) if self._is_step(run.query) else None
        decision = self.policy.update(run.trace, limits.estimates(), stop or limits.time_over())
        if decision.stop is None and (reason := leader.stop_reason()) is not None:
            decision = self.policy.update(run.trace, limits.estimates(), reason)
        run.emit(Reranked(request.number, decision.scores, decision.ranking))
        return decision

    async def _write_answer(self, run: Run, decision: Decision, limits: QueryLimits, leader: LeaderStream) -> None:
        """End with the shown answer, the best one, one written from the best, or a part of one where time is over."""
        if decision.compare and run.query.tools is None:
            decision = await self._compare(run, decision)
        final, stands = decision.final_answers, leader.stands(decision.final_answers)
        alternatives = estimate_alternatives(run.trace, self.pool, limits.estimates())
        run.emit(Stopped(str(decision.stop or ""), leader.leader if stands else decision.choice, alternatives))
        if stands and leader.answer is not None:
            run.finish_with(leader.answer)
            return
        if not final:
            text = limits.partial_answer() if takes_any_text(run.query) else ""
            write_partial_answer(run, text, leader)
            return
        for event in leader.replacement(final):
            run.emit(event)
        names = aggregator_models(run.trace, run.trace.layers[-1].ranking, self.pool.mixture.aggregator)
        aggregate = decision.aggregate and run.query.tools is None  # a set of calls is chosen, never written
        candidates = [self.pool[name] for name in names] if aggregate else []
        writers, given_up = limits.able_writers(candidates, aggregation_request(run.query, final))
        for degradation in given_up:
            run.emit(Degraded(degradation))
        await write_answer(run, final, writers, limits.hedge_after)

    async def _compare(self, run: Run, decision: Decision) -> Decision:
        """Let a judge compare the final answers to an open question, and choose the winner."""
        blind = blind_models(run.trace)
        ranked = aggregator_models(run.trace, decision.ranking, self.pool.mixture.judge_model)
        judges = [name for name in ranked if name not in blind]
        if not judges:
            return decision
        judge, reliability = self.pool[judges[0]], self._pairwise_judge.of_model(judges[0])
        final = await select_answer(run, decision.final_answers, judge, reliability)
        return replace(decision, choice=final[0].model, final_answers=final)

    def _layer_request(self, run: Run, decision: Decision) -> LayerRequest:
        """Return what the next layer's models are asked for and shown."""
        verbalized = self.pool.mixture.assesses_in_words
        options, goes_on = decision.options, models_going_on(run.query, self.pool, self._find_caller)
        if run.query.tools is not None or run.query.answer_format is not None:
            # proposers see the caller's messages and nothing of other models, and judge nothing beside a form
            words = self._asked_in_words(run)
            return LayerRequest(len(run.trace.layers) + 1, run.query, asked_in_words=words, goes_on=goes_on)
        return LayerRequest(
            len(run.trace.layers) + 1,
            run.query,
            quoted_answers(run.trace, decision),
            verbalized=options.self_assessment and verbalized,
            logprob=options.self_assessment and not verbalized,
            cross=options.cross_assessment,
            seed=run.trace.seed or 0,
            goes_on=goes_on,
        )

    def _asked_in_words(self, run: Run) -> frozenset[str]:
        """Return the members that take no `response_format`."""
        dialect = run.client.memory.dialect
        return frozenset(m.name for m in self.pool if "response_format" in dialect(m).omit.union(m.omit))

    def _is_step(self, query: Query) -> bool:
        """Return whether one model goes on alone after the result of a tool."""
        return self.pool.mixture.tool_steps == "leader" and is_tool_step(query)

    def _find_caller(self, call_id: object) -> str | None:
        """Return the member that made a call, by the call's id."""
        return find_caller(call_id, (m.name for m in self.pool), self.id_key)

    def sampled_model(self, run: Run) -> ModelSpec | None:
        """Return the model whose answer was chosen."""
        trace = run.trace
        name = trace.choice or next((p.model for layer in trace.layers for p in layer.proposals), None)
        return None if name is None else self.pool[name]

    def started(self, query: Query) -> Started:
        """Return the first event, with the seed of the orders in which answers are shown to judges."""
        return Started(query, self.name, find_seed(query), self._prices)

    def ask(self, question: Question | None = None, *, messages: Messages | None = None, **limits: Any) -> Answer:
        """Answer a question and wait for it.

        Args:
            question: a text, a Query, or messages.
            messages: a conversation instead of a question: `Message`s, or OpenAI's `{"role": ..., "content": ...}`.
            limits: keys of [limits], such as `max_cost=0.01`.

        Raises:
            QueryError: there is no question, or an event loop runs already: use `await mixture.aask(...)` there.
            ConfigError: a limit is unknown or out of range.
            RouteMoAError: there is no answer.
        """
        query = read_question(question, messages, limits)
        return run_sync(lambda: self._answer_turn(query), "await mixture.aask(...)")

    async def aask(
        self, question: Question | None = None, *, messages: Messages | None = None, **limits: Any
    ) -> Answer:
        """Answer a question in a coroutine; the asynchronous twin of `ask`. Raises RouteMoAError."""
        return await self._answer_turn(read_question(question, messages, limits))

    async def _answer_turn(self, query: Query) -> Answer:
        """Answer a turn of a conversation, and remember the model for the next one."""
        answer = await self.answer(self._conversations.attach(query, self.name))
        self._conversations.remember(answer)
        return answer

    async def answer(self, query: Question) -> Answer:
        """Return the final text and its trace. Raises AllModelsFailed, BudgetExceeded, QueryError."""
        return await super().answer(to_query(query))

    def stream(
        self,
        query: Question | None = None,
        recorder: CallRecorder | None = None,
        *,
        messages: Messages | None = None,
        **limits: Any,
    ) -> AsyncGenerator[Event, None]:
        """Yield what happens, from Started to Done. Raises AllModelsFailed, BudgetExceeded, QueryError."""
        return super().stream(read_question(query, messages, limits), recorder)

    def close(self) -> None:
        """End the embedded models, if there are any. Inside a coroutine: `await mixture.client.close()`."""
        run_sync(self.client.close, "await mixture.client.close()")


def _load(pool: Pool | str | os.PathLike[str]) -> Pool:
    """Return the pool; where the panel adapts, with the further votes of its members."""
    loaded = Pool.load(pool)
    return loaded.with_votes() if loaded.mixture.is_adaptive else loaded
