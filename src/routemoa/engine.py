"""RouteMoA: the loop, readable as the method's steps (arXiv 2601.18130)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from time import perf_counter

from routemoa import aggregator, layer
from routemoa.connect import connect, run_sync
from routemoa.errors import NoModelLeft
from routemoa.events import Event, ProposalFinished, Reranked, Scored, Selected, Started, Stopped
from routemoa.judges import posterior, stretch
from routemoa.pool import Pool
from routemoa.protocols import Client, Scorer
from routemoa.ranking import rank, select, stop_reason
from routemoa.scorer import scorer_of
from routemoa.trace import Fold, collect
from routemoa.types import Answer, ModelSpec, Proposal, Query, Ranking, Scores, Trace

__all__ = ["RouteMoA"]


class RouteMoA:
    """A mixture of language models behind one name.

    Args:
        pool: the models and how they are mixed.
        client: calls the models; by default the HTTP client, with the embedded runtime for local models.
        scorer: predicts who will answer well; by default the pool file's, else each model's `prior`.
    """

    name = "routemoa"

    def __init__(self, pool: Pool, client: Client | None = None, scorer: Scorer | None = None) -> None:
        self.pool = pool
        self.client = client or connect(pool)
        self.scorer = scorer or scorer_of(pool)
        self._strangers = {m.name for m in pool if not self.scorer.knows(m)}
        self._seconds: dict[str, float] = {}  # latency as measured, a running mean per model

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

    async def stream(self, query: str | Query) -> AsyncGenerator[Event, None]:
        """Yield what happens, from Started to Done. Raises NoModelLeft."""
        so_far = Fold()
        async with aclosing(self._walk(_query(query), so_far)) as events:
            async for event in events:
                so_far.add(event)
                self._measure(event)
                yield event

    async def _walk(self, query: Query, so_far: Fold) -> AsyncGenerator[Event, None]:
        """The method's steps; `so_far` is the trace of all that has been yielded."""
        started = perf_counter()
        m = self.pool.mixture
        yield Started(query, self.name)
        predicted = await self.scorer.score(query, self.pool.models)
        scores = prior = stretch(predicted)
        ranking = self._rank(scores)
        yield Scored(predicted, ranking)

        reason: str | None = None
        while reason is None:
            number = len(so_far.trace.layers) + 1
            chosen = select(ranking, m.top_k, m.width, _failed(so_far.trace))
            yield Selected(number, chosen)
            reserve = [r.model for r in ranking if r.model not in {*chosen, *_failed(so_far.trace)}]
            calls = layer.run(
                self._plan(number, query, so_far.trace), self._specs(chosen), self._specs(reserve), self.client
            )
            async with aclosing(calls) as events:
                async for event in events:
                    yield event
            layers = so_far.trace.layers
            scores = posterior(prior, scores, layers, m.fusion)
            ranking = self._rank(scores, _failed(so_far.trace))
            yield Reranked(number, scores, ranking)
            upcoming = select(ranking, m.top_k, m.width, _failed(so_far.trace))
            reason = stop_reason(layers, scores, upcoming, threshold=m.threshold, limit=m.layers)
        yield Stopped(reason)

        proposals = _latest(so_far.trace)
        if not proposals:
            raise NoModelLeft([f for done in so_far.trace.layers for f in done.failures])
        final = aggregator.write(query, proposals, self._writers(so_far.trace), self.client, started)
        async with aclosing(final) as events:
            async for event in events:
                yield event

    def _plan(self, number: int, query: Query, trace: Trace) -> layer.Plan:
        """Self-scores in the first two layers, cross-scores in the second, answers only from the third on."""
        spoken = self.pool.mixture.self_assessment == "spoken"
        judging = number <= 2
        return layer.Plan(
            number,
            query,
            _latest(trace),
            spoken=judging and spoken,
            logprob=judging and not spoken,
            cross=number == 2,
        )

    def _writers(self, trace: Trace) -> list[ModelSpec]:
        """Who may aggregate: the pool file's choice, then the others as they are ranked, without those that failed."""
        chosen = self.pool.mixture.aggregator
        order = [chosen] if chosen != "best" else []
        order += [r.model for r in trace.layers[-1].ranking if r.model != chosen]
        return self._specs([name for name in order if name not in _failed(trace)])

    def _rank(self, scores: Scores, failed: Collection[str] = ()) -> Ranking:
        m = self.pool.mixture
        return rank(self.pool.models, scores, self._seconds, failed, tie=m.tie, strangers=self._strangers)

    def _specs(self, names: Sequence[str]) -> list[ModelSpec]:
        return [self.pool[name] for name in names]

    def _measure(self, event: Event) -> None:
        if isinstance(event, ProposalFinished) and (seconds := event.proposal.latency) is not None:
            before = self._seconds.get(event.proposal.model, seconds)
            self._seconds[event.proposal.model] = 0.8 * before + 0.2 * seconds


def _query(question: str | Query) -> Query:
    return Query.of(question) if isinstance(question, str) else question


def _failed(trace: Trace) -> set[str]:
    """Models that failed in this query: they are not asked again."""
    return {f.model for done in trace.layers for f in done.failures}


def _latest(trace: Trace) -> tuple[Proposal, ...]:
    """The answers of the last layer that gave any, best first as that layer ranked them."""
    for done in reversed(trace.layers):
        if done.proposals:
            order = [r.model for r in done.ranking]
            return tuple(sorted(done.proposals, key=lambda p: order.index(p.model)))
    return ()
