"""RouteMoA: the loop, readable as the method's steps (arXiv 2601.18130)."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from routemoa.clients.connect import connect, run_sync
from routemoa.core.events import AnswerDelta, Degraded, Event, Reranked, Scored, Selected, Started, Stopped
from routemoa.core.pool import Pool, parse_limits
from routemoa.core.price_list import price_sources
from routemoa.core.protocols import CallRecorder, Client, Scorer
from routemoa.core.trace import Answer, Degradation, Trace
from routemoa.core.trace_builder import TraceBuilder, collect_answer
from routemoa.core.types import ModelSpec, Query
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.judge_model import load_pool_judge
from routemoa.mixture import aggregator, layer
from routemoa.mixture.alternatives import estimate_alternatives
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.leader_stream import LeaderStream
from routemoa.mixture.limits import QueryLimits
from routemoa.routing.decision import Decision, failed_models, last_layer_answers, latest_answers
from routemoa.routing.latency import LatencyTracker
from routemoa.routing.policy import build_policy
from routemoa.scoring.constant import load_scorer

__all__ = ["RouteMoA"]


class RouteMoA:
    """A mixture of language models behind one name.

    Args:
        pool: the models and how they are mixed.
        client: calls the models; by default the HTTP client, with the embedded runtime for local models.
        scorer: predicts who will answer well; by default the pool file's, else each model's `prior`.
        judging: what is known of the judges and of how errors come together; by default the pool file's.
    """

    name = "routemoa"

    def __init__(
        self,
        pool: Pool,
        client: Client | None = None,
        scorer: Scorer | None = None,
        judging: JudgeModel | None = None,
    ) -> None:
        self.pool = pool
        self.client = client or connect(pool)
        self.scorer = scorer or load_scorer(pool)
        strangers = {m.name for m in pool if not self.scorer.knows(m)}
        self.policy = build_policy(pool.models, pool.mixture, judging or load_pool_judge(pool), strangers)
        self._prices = price_sources(pool)
        self._pace = LatencyTracker()

    def ask(self, question: str | Query, **limits: Any) -> Answer:
        """Answer a question and wait for it; limits such as `max_cost=0.01` are its contract. Raises RouteMoAError."""
        return run_sync(self.answer(_query(question, **limits)))

    async def aask(self, question: str | Query, **limits: Any) -> Answer:
        """The asynchronous twin of `ask`. Raises RouteMoAError."""
        return await self.answer(_query(question, **limits))

    def close(self) -> None:
        """End the embedded models, if there are any. Inside a coroutine: `await mixture.client.close()`."""
        run_sync(self.client.close())

    async def answer(self, query: str | Query) -> Answer:
        """The final text and its trace. Raises NoModelLeft, OverBudget."""
        return await collect_answer(self.stream(query))

    async def stream(self, query: str | Query, tab: CallRecorder | None = None) -> AsyncGenerator[Event, None]:
        """Yield what happens, from Started to Done. Raises NoModelLeft, OverBudget; calls are put down to `tab`."""
        asked = _query(query)
        desk, so_far = MeteredClient(self.client, asked.limits.with_defaults(self.pool.limits), tab), TraceBuilder()
        async with aclosing(self._walk(asked, so_far, desk)) as events:
            async for event in events:
                so_far.add(event)
                self._pace.observe(event)
                yield event

    async def _walk(self, query: Query, so_far: TraceBuilder, desk: MeteredClient) -> AsyncGenerator[Event, None]:
        """The method's steps; `so_far` is the trace of all that has been yielded."""
        seed = _seed(query)
        yield Started(query, self.name, seed, self._prices)
        predicted = await self.scorer.score(query, self.pool.models)
        next_ = self.policy.initial(predicted, self._pace.estimates())
        yield Scored(predicted, next_.ranking)
        terms = QueryLimits(
            self.pool, self.policy, desk, so_far, lambda: self._pace.estimates(latest_answers(so_far.trace))
        )
        leading = LeaderStream(desk.limits.stream_mode)

        while next_.stop is None:
            number = len(so_far.trace.layers) + 1
            plan = self._plan(number, query, so_far.trace, next_, seed)
            fitting = terms.fit(next_, plan)
            for given_up in fitting.given_up:
                yield Degraded(given_up)
            if not fitting.models:
                next_ = self.policy.update(so_far.trace, terms.expected(), forced_stop=fitting.reason)
                break
            names = tuple(m.name for m in fitting.models)
            yield Selected(number, names, next_.selection_reason)
            plan = replace(plan, cap=fitting.max_tokens, leader=leading.follow(number, names))
            reserve, waiting = terms.reserve(next_, fitting.models), terms.waiting(fitting.models, next_)
            async with aclosing(layer.run_layer(plan, fitting.models, reserve, desk, waiting)) as events:
                async for event in events:
                    yield event
                    for shown in leading.hear(event):
                        yield shown
            next_ = self.policy.update(so_far.trace, terms.expected(), forced_stop=terms.over())
            yield Reranked(number, next_.scores, next_.ranking)

        stands = leading.stands(next_.final_answers)
        routes = estimate_alternatives(so_far.trace, self.pool, terms.expected())
        yield Stopped(next_.stop or "", leading.leader if stands else next_.choice, routes)
        if stands:
            yield desk.done("stop")
            return
        async with aclosing(self._end(so_far.trace, next_, terms, leading)) as events:
            async for event in events:
                yield event

    async def _end(
        self, trace: Trace, decided: Decision, terms: QueryLimits, leading: LeaderStream
    ) -> AsyncGenerator[Event, None]:
        """The final answer: the best, or one written from the best; or what there is of one when the time is over."""
        if not decided.final_answers:
            text = terms.beginning()
            if not text:
                raise terms.desk.nobody([f for done in trace.layers for f in done.failures])
            yield Degraded(Degradation("ending", "the contract's time was over: the answer breaks off"))
            if not leading.shown.strip():
                yield AnswerDelta(text)
            yield terms.desk.done("length")
            return
        for said in leading.continued(decided.final_answers):
            yield said
        writers = self._writers(trace) if decided.aggregate else []
        able, given_up = terms.writers(writers, aggregator.request(trace.query, decided.final_answers))
        for each in given_up:
            yield Degraded(each)
        async with aclosing(
            aggregator.write_answer(trace.query, decided.final_answers, able, terms.desk, terms.late)
        ) as events:
            async for event in events:
                yield event

    def _plan(self, number: int, query: Query, trace: Trace, decided: Decision, seed: int) -> layer.LayerRequest:
        """What the layer's models are asked for and shown."""
        spoken = self.pool.mixture.self_assessment == "spoken"
        ask = decided.options
        given = last_layer_answers(trace, decided.ranking) if decided.references is None else decided.references
        return layer.LayerRequest(
            number,
            query,
            given if ask.quote_answers else (),
            spoken=ask.self_assessment and spoken,
            logprob=ask.self_assessment and not spoken,
            cross=ask.cross_assessment,
            seed=seed,
        )

    def _writers(self, trace: Trace) -> list[ModelSpec]:
        """Who may aggregate: the pool file's choice, then the others as they are ranked, without those that failed."""
        chosen = self.pool.mixture.aggregator
        order = [chosen] if chosen != "best" else []
        order += [r.model for r in trace.layers[-1].ranking if r.model != chosen]
        return self._specs([name for name in order if name not in failed_models(trace)])

    def _specs(self, names: Sequence[str]) -> list[ModelSpec]:
        return [self.pool[name] for name in names]


def _seed(query: Query) -> int:
    """Of the orders in which answers are shown: the caller's seed, else the query's own, so that it can be repeated."""
    given = query.parameters.get("seed")
    return given if isinstance(given, int) else zlib.crc32(query.text.encode())


def _query(question: str | Query, **limits: Any) -> Query:
    asked = Query.from_text(question) if isinstance(question, str) else question
    return replace(asked, limits=parse_limits(limits, "limits").with_defaults(asked.limits)) if limits else asked
