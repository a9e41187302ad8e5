"""Whether a conversation changes its model: only where that gains more than the prompt cache that is lost. Pure.

The model that wrote the last answer has the conversation in its provider's prompt cache. Another one has to read all of
it at the full price, or, where it runs here, for as long as that takes. Both sides are priced in probability of a right
answer: at the user's own rates; without any, a call is worth what `prefer` asks it to add, and the lost cache is worth
as many calls as it costs: calls of the model that would take over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.tables.candidates import names_of_votes
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Ranking
from routemoa.core.types import CHARACTERS_PER_TOKEN, USUAL_TOKENS, ModelSpec, Query
from routemoa.routing.latency import CallEstimates
from routemoa.routing.planning.ranking import call_penalty

__all__ = ["KEPT", "LostCache", "find_lost_cache", "keep_writer"]

KEPT = "kept: it wrote the last answer"
"""Why a model ranks first that others are ahead of."""
MIN_CACHED_TOKENS = 1024
"""Providers cache no shorter prompts."""


class LostCache(Struct, frozen=True):
    """What a call of a model costs more that did not read the conversation, and less for its own price.

    Amounts are in probability at the user's rates; without any, in calls of the model itself.
    """

    writer: str
    """The model that wrote the last answer."""
    prices: Mapping[str, float]
    """Model -> what reading the conversation again costs; 0 for those that have read it."""
    savings: Mapping[str, float]
    """Model -> what its call costs less than the writer's, had neither read the conversation; 0 where it costs more."""


class _TurnCost(Struct, frozen=True):
    """What a turn of a conversation costs with one model; None is unknown."""

    dollars: float | None
    seconds: float | None


def find_lost_cache(
    models: Sequence[ModelSpec],
    mixture: Mixture,
    estimates: CallEstimates,
    query: Query | None,
    unavailable: Collection[str],
) -> LostCache | None:
    """Return what a change of the model costs; None for a first turn, or where the last turn's model cannot be called.

    Args:
        models: of the pool.
        mixture: has the user's rates, or what `prefer` stands for.
        estimates: what calls take.
        query: the conversation.
        unavailable: models that are not called in this query.
    """
    if query is None or query.cached is None or query.cached.writer in unavailable:
        return None
    writer = next((m for m in models if m.vote == 1 and query.cached.writer in names_of_votes(m)), None)
    if writer is None:
        return None
    tokens, is_marked = _count_read_tokens(query), any(m.marks for m in query.messages)
    lost = _TurnCost(_lost_dollars(writer, tokens, is_marked), _lost_seconds(writer, tokens, estimates))
    turns = {m.name: _turn_cost(m, tokens, estimates) for m in models}
    own, rates = turns[writer.name], (mixture.dollars_per_point, mixture.seconds_per_point)
    counts_seconds = mixture.preference.latency_first or not own.dollars

    def weigh(cost: _TurnCost, turn: _TurnCost) -> float:
        """Return a cost in probability at the user's rates; without any, in calls like `turn`."""
        if rates != (None, None):
            return max(0.0, call_penalty(cost.dollars, cost.seconds, *rates))
        amount, unit = (cost.seconds, turn.seconds) if counts_seconds else (cost.dollars, turn.dollars)
        return max(0.0, amount / unit) if amount is not None and unit else 0.0

    readers = _find_readers(models, (writer.name, *query.cached.readers))
    prices = {name: 0.0 if name in readers else weigh(lost, turn) for name, turn in turns.items()}
    savings = {name: weigh(_subtract(own, turn), turn) for name, turn in turns.items()}
    return LostCache(writer.name, prices, savings)


def keep_writer(
    ranking: Ranking, lost: LostCache, call_price: float | None, penalties: Mapping[str, float], tie: float
) -> tuple[Ranking, str]:
    """Return the ranking with the model first that is worth it, and why.

    Args:
        ranking: by the prior, which `penalties` have shaped.
        lost: what a change costs.
        call_price: what a call has to add to the probability of a right answer; None where `lost` is in probability.
        penalties: model -> what its call costs in probability.
        tie: performances that are closer are equal.
    """
    place = next((i for i, r in enumerate(ranking) if r.model == lost.writer), None)
    if place is None:
        return ranking, ""
    own = ranking[place]
    if place == 0:
        return ranking, f"{own.model} wrote the last answer, too"
    first = ranking[0]
    gain = first.performance - penalties.get(first.model, 0.0) - own.performance + penalties.get(own.model, 0.0)
    gain = gain if gain > tie else 0.0
    price = lost.prices.get(first.model, 0.0)
    if call_price is not None or not gain:  # else the penalties hold what its call costs less
        price -= lost.savings.get(first.model, 0.0)
    price *= 1.0 if call_price is None else call_price
    reason = _describe(first.model, gain, price)
    if gain > price:
        return ranking, f"changed from {own.model}: {reason}"
    kept, others = replace(own, why=KEPT), (r for r in ranking[1:] if r.model != own.model)
    return (kept, replace(first, why=reason), *others), f"{own.model} is kept, which wrote the last answer: {reason}"


def _describe(model: str, gain: float, price: float) -> str:
    adds = f"would add {100 * gain:.1f} points" if gain else "is no better"
    if price > 0.0:
        return f"{model} {adds}, and the lost prompt cache costs as much as {100 * price:.1f}"
    return f"{model} {adds}" + (" and costs less in all" if price < 0.0 else "")


def _find_readers(models: Sequence[ModelSpec], names: Collection[str]) -> frozenset[str]:
    """Return the models of these names, and the other candidates of their members: those share a cache."""
    members = {m.member for m in models if m.name in names and m.member is not None}
    return frozenset((*names, *(m.name for m in models if m.member in members)))


def _count_read_tokens(query: Query) -> float:
    """Return about how many tokens the last answer's prompt had: the messages before that answer."""
    last = max((i for i, m in enumerate(query.messages) if m.role == "assistant"), default=0)
    return sum(len(m.sent_text) for m in query.messages[:last]) / CHARACTERS_PER_TOKEN


def _turn_cost(model: ModelSpec, tokens: float, estimates: CallEstimates) -> _TurnCost:
    """Return what a turn costs a model that has nothing cached."""
    answer = estimates.tokens.get(model.name, USUAL_TOKENS)
    dollars = None if model.price is None else model.price.cost(int(tokens), int(answer))
    return _TurnCost(dollars, estimates.seconds.get(model.name, model.latency))


def _lost_dollars(writer: ModelSpec, tokens: float, is_marked: bool) -> float | None:
    """Return what the writer's cache saves it: the conversation at the price of input less that of cached tokens.

    A provider that charges for writing its cache keeps only prompts with a mark.
    """
    if writer.price is None:
        return None
    count = int(tokens)
    if count < MIN_CACHED_TOKENS or (writer.price.cache_write is not None and not is_marked):
        return 0.0
    return max(0.0, writer.price.cost(count, 0) - writer.price.cost(count, 0, cached=count))


def _lost_seconds(writer: ModelSpec, tokens: float, estimates: CallEstimates) -> float | None:
    """Return how long the writer would read the conversation where it runs here; None is unknown."""
    rate = estimates.read_seconds.get(writer.name) if writer.local else None
    return None if rate is None else rate * tokens


def _subtract(a: _TurnCost, b: _TurnCost) -> _TurnCost:
    dollars = None if a.dollars is None or b.dollars is None else a.dollars - b.dollars
    seconds = None if a.seconds is None or b.seconds is None else a.seconds - b.seconds
    return _TurnCost(dollars, seconds)
