"""RouteMoA: the loop, readable as the method's steps (arXiv 2601.18130)."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from time import perf_counter

from routemoa import aggregator, layer
from routemoa.connect import connect, run_sync
from routemoa.errors import NoModelLeft
from routemoa.events import Event, ProposalFinished, Reranked, Scored, Selected, Started, Stopped
from routemoa.evidence import Judging
from routemoa.judging import judging_of
from routemoa.policy import policy_of
from routemoa.pool import Pool
from routemoa.protocols import Client, Scorer, Tab
from routemoa.routes import routes_not_taken
from routemoa.scorer import scorer_of
from routemoa.steps import Decision, failed, heard, latest
from routemoa.timing import Pace
from routemoa.trace import Fold, collect
from routemoa.types import Answer, ModelSpec, Query, Trace

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
        judging: Judging | None = None,
    ) -> None:
        self.pool = pool
        self.client = client or connect(pool)
        self.scorer = scorer or scorer_of(pool)
        strangers = {m.name for m in pool if not self.scorer.knows(m)}
        self.policy = policy_of(pool.models, pool.mixture, judging or judging_of(pool), strangers)
        self._pace = Pace()

    def ask(self, question: str | Query) -> Answer:
        """Answer a question and wait for it. Raises NoModelLeft."""
        return run_sync(self.answer(_query(question)))

    async def aask(self, question: str | Query) -> Answer:
        """The asynchronous twin of `ask`. Raises NoModelLeft."""
        return await self.answer(_query(question))

    def close(self) -> None:
        """End the embedded models, if there are any. Inside a coroutine: `await mixture.client.close()`."""
        run_sync(self.client.close())

    async def answer(self, query: str | Query) -> Answer:
        """The final text and its trace. Raises NoModelLeft."""
        return await collect(self.stream(query))

    async def stream(self, query: str | Query, tab: Tab | None = None) -> AsyncGenerator[Event, None]:
        """Yield what happens, from Started to Done. Raises NoModelLeft."""
        so_far = Fold()
        async with aclosing(self._walk(_query(query), so_far)) as events:
            async for event in events:
                so_far.add(event)
                if isinstance(event, ProposalFinished):
                    self._pace.learn(event.proposal)
                yield event

    async def _walk(self, query: Query, so_far: Fold) -> AsyncGenerator[Event, None]:
        """The method's steps; `so_far` is the trace of all that has been yielded."""
        started = perf_counter()
        seed = _seed(query)
        yield Started(query, self.name, seed)
        predicted = await self.scorer.score(query, self.pool.models)
        next_ = self.policy.opening(predicted, self._pace.expected())
        yield Scored(predicted, next_.ranking)

        while next_.stop is None:
            number = len(so_far.trace.layers) + 1
            yield Selected(number, next_.call, next_.why)
            out = {*next_.call, *failed(so_far.trace), *self._spared(so_far.trace)}
            reserve = [r.model for r in next_.ranking if r.model not in out]
            plan = self._plan(number, query, so_far.trace, next_, seed)
            calls = layer.run(plan, self._specs(next_.call), self._specs(reserve), self.client)
            async with aclosing(calls) as events:
                async for event in events:
                    yield event
            next_ = self.policy.judged(so_far.trace, self._pace.expected(heard(so_far.trace)))
            yield Reranked(number, next_.scores, next_.ranking)
        routes = routes_not_taken(so_far.trace, self.pool, self._pace.expected(heard(so_far.trace)))
        yield Stopped(next_.stop, next_.choice, routes)

        if not next_.final:
            raise NoModelLeft([f for done in so_far.trace.layers for f in done.failures])
        writers = self._writers(so_far.trace) if next_.write else []
        final = aggregator.write(query, next_.final, writers, self.client, started)
        async with aclosing(final) as events:
            async for event in events:
                yield event

    def _plan(self, number: int, query: Query, trace: Trace, decided: Decision, seed: int) -> layer.Plan:
        """What the layer's models are asked for and shown."""
        spoken = self.pool.mixture.self_assessment == "spoken"
        ask = decided.ask
        given = latest(trace, decided.ranking) if decided.quoted is None else decided.quoted
        return layer.Plan(
            number,
            query,
            given if ask.quote else (),
            spoken=ask.judging and spoken,
            logprob=ask.judging and not spoken,
            cross=ask.cross,
            seed=seed,
        )

    def _spared(self, trace: Trace) -> set[str]:
        """Who does not take a failed model's place: in a panel that grows, those who have answered already."""
        return set() if self.pool.mixture.published else {p.model for p in heard(trace)}

    def _writers(self, trace: Trace) -> list[ModelSpec]:
        """Who may aggregate: the pool file's choice, then the others as they are ranked, without those that failed."""
        chosen = self.pool.mixture.aggregator
        order = [chosen] if chosen != "best" else []
        order += [r.model for r in trace.layers[-1].ranking if r.model != chosen]
        return self._specs([name for name in order if name not in failed(trace)])

    def _specs(self, names: Sequence[str]) -> list[ModelSpec]:
        return [self.pool[name] for name in names]


def _seed(query: Query) -> int:
    """Of the orders in which answers are shown: the caller's seed, else the query's own, so that it can be repeated."""
    given = query.parameters.get("seed")
    return given if isinstance(given, int) else zlib.crc32(query.text.encode())


def _query(question: str | Query) -> Query:
    return Query.of(question) if isinstance(question, str) else question
