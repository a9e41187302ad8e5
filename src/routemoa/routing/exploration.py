"""Ask one further member now and then, so that one that is no longer chosen is seen again."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping

from msgspec.structs import replace

from routemoa.core.pool_file.pool import Pool
from routemoa.routing.decision import Decision

__all__ = ["Explorer", "explore"]

LOWERED_WEIGHT = 5.0
"""How much more often a member is asked that learning has lowered: it may have recovered."""
LOWERED_SHIFT = -0.5
"""A learned shift in log-odds from which on a member counts as lowered: about ten points."""


class Explorer:
    """Widens the first panel of a share of the queries, as `[learning] explore` of a pool file says.

    Args:
        pool: its members, and what was learned of them.
        draw: returns a random number in [0, 1).
    """

    def __init__(self, pool: Pool, draw: Callable[[], float] = random.random) -> None:
        mixture, learned = pool.mixture, pool.learned
        self.share = pool.learning.explored_share if mixture.is_adaptive else 0.0
        self._fallen = frozenset(learned.fallen if learned else ())
        self._lowered = {m for m, shift in (learned.shift if learned else {}).items() if shift <= LOWERED_SHIFT}
        self._draw = draw
        self._votes = frozenset(m.name for m in pool if m.vote > 1)  # as good as their own model

    def widen(self, decision: Decision, unavailable: Collection[str]) -> Decision:
        """Return the first decision of a query, with one further member now and then."""
        if not self.share:
            return decision
        left_out = self._votes.union(unavailable)
        return explore(decision, self.share, self._draw(), self._lowered, left_out, fallen=self._fallen)


def explore(
    decision: Decision,
    share: float,
    draw: float,
    lowered: Collection[str],
    unavailable: Collection[str],
    *,
    fallen: Collection[str] = (),
) -> Decision:
    """Return the decision with one further member in the first panel, for a share of the queries. Pure.

    Members that have become worse have such a share of their own: they were better before, and a return is
    noticed only as fast as outcomes of them come in.

    Args:
        decision: the first one of a query.
        share: of the queries, in [0, 0.5].
        draw: a random number in [0, 1), one for each query.
        lowered: members that learning has lowered.
        unavailable: members that this query does not call.
        fallen: members that have drifted to worse.
    """
    is_for_fallen = draw >= share
    others = [r.model for r in decision.ranking if r.model not in decision.models and r.model not in unavailable]
    if is_for_fallen:
        others = [m for m in others if m in fallen]
    if decision.stop is not None or not decision.models or draw >= 2.0 * share or not others:
        return decision
    weights = {m: LOWERED_WEIGHT if m in lowered else 1.0 for m in others}
    model = _pick(weights, draw / share - is_for_fallen)
    reason = f"{decision.selection_reason}; {model} too, to see how good it is now ([learning] explore)"
    return replace(decision, models=(*decision.models, model), selection_reason=reason, alone=False)


def _pick(weights: Mapping[str, float], place: float) -> str:
    """Return the name at a place in [0, 1) of all weights laid end to end."""
    left = place * sum(weights.values())
    for name, weight in weights.items():
        left -= weight
        if left < 0.0:
            return name
    return list(weights)[-1]
