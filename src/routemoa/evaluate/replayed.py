"""Methods on recorded answers, without any call: each gives a choice and what it would have taken. Pure.

A replay has real answers but nobody who writes: where an aggregator would, the leading answer stands in, and for a
dense mixture the majority of all answers. Tokens are told by the recorded texts at four characters to one; dollars and
seconds where the records hold them, else they are unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from routemoa.answers import group
from routemoa.policy import Policy
from routemoa.records import Record
from routemoa.replay import step
from routemoa.steps import heard
from routemoa.timing import Expected
from routemoa.types import CHARACTERS, Layer, Proposal, Query, Scores, Trace, Usage

__all__ = ["METHODS", "Outcome", "Replay", "walk"]

DENSE = 3  # layers of a dense mixture
METHODS = ("routemoa", "moa", "best-single", "fixed-best-3", "vote-all", "random", "shuffled", "oracle")


class Outcome(Struct, frozen=True):
    """What one method makes of one question: `right` in [0, 1], tokens written, dollars, and seconds on the critical
    path; None is unknown."""

    right: float
    calls: int
    tokens: float
    cost: float | None
    latency: float | None


class Replay(Struct, frozen=True):
    """Questions with the priors of a scorer that was trained on others, and what was chosen on those others.

    `members` are the models that both the scorer and the records know, `priors` has a row for each record.
    """

    records: Sequence[Record]
    members: tuple[str, ...]
    priors: Sequence[Scores]
    policy: Policy
    best_single: str
    best_three: tuple[str, ...]

    def run(self, methods: Sequence[str], seed: int) -> dict[str, list[Outcome]]:
        """Every method on every question; `seed` decides the random panels and the shuffle."""
        traces = [walk(self.policy, p, r, self.members) for p, r in zip(self.priors, self.records, strict=True)]
        panels = [tuple(p.model for p in heard(t)) for t in traces]
        lots = Random(seed)  # noqa: S311  (a control, no secret)
        size = max(1, round(sum(map(len, panels)) / max(1, len(panels))))
        drawn = [tuple(lots.sample(self.members, min(size, len(self.members)))) for _ in self.records]
        others = lots.sample(panels, len(panels))
        single, three = (self.best_single,), self.best_three
        ways: Mapping[str, Callable[[int, Record], Outcome]] = {
            "routemoa": lambda i, r: _ours(r, traces[i]),
            "moa": lambda i, r: _dense(r, self._by_prior(i)),
            "best-single": lambda i, r: _panel(r, single),
            "fixed-best-3": lambda i, r: _panel(r, three),
            "vote-all": lambda i, r: _panel(r, self._by_prior(i)),
            "random": lambda i, r: _panel(r, drawn[i]),
            "shuffled": lambda i, r: _panel(r, others[i]),
            "oracle": lambda i, r: _oracle(r, self.members),
        }
        return {name: [ways[name](i, r) for i, r in enumerate(self.records)] for name in methods}

    def _by_prior(self, i: int) -> tuple[str, ...]:
        return tuple(sorted(self.members, key=lambda m: -(self.priors[i].get(m) or 0.0)))


def walk(policy: Policy, prior: Scores, record: Record, members: Sequence[str]) -> Trace:
    """The trace of a policy on one record: who is called answers with what it once wrote, or fails."""
    decision = policy.opening(prior, Expected())
    trace = Trace(Query.of(record.prompt or record.query), "routemoa", prior, decision.ranking)
    while decision.stop is None:
        layer = Layer(selected=decision.call, proposals=_said(record, decision.call), why=decision.why)
        missing = [m for m in decision.call if not _text(record, m)]
        spare = [m for m in members if m not in decision.call and m not in {p.model for p in heard(trace)}]
        for _ in missing:  # the next with an answer takes the place of one without
            if stand := next((m for m in spare if _text(record, m)), None):
                spare.remove(stand)
                layer = replace(layer, proposals=(*layer.proposals, *_said(record, (stand,))))
        done = step(policy, trace, layer)
        trace, decision = done.trace, done.decision
        if not layer.proposals:
            break
    return replace(trace, stop_reason=decision.stop, choice=decision.choice)


def _said(record: Record, models: Sequence[str]) -> tuple[Proposal, ...]:
    seconds, costs = record.seconds or {}, record.costs or {}
    return tuple(
        Proposal(m, text, Usage(None, len(text) // CHARACTERS), seconds.get(m), costs.get(m))
        for m in models
        if (text := _text(record, m))
    )


def _text(record: Record, model: str) -> str:
    return (record.responses or {}).get(model) or ""


def _ours(record: Record, trace: Trace) -> Outcome:
    steps = [_spent(record, [p.model for p in layer.proposals]) for layer in trace.layers]
    right = record.scores.get(trace.choice) if trace.choice else None
    return Outcome(
        right or 0.0,
        sum(s.calls for s in steps),
        sum(s.tokens for s in steps),
        _sum([s.cost for s in steps]),
        _sum([s.latency for s in steps]),
    )


def _panel(record: Record, members: Sequence[str]) -> Outcome:
    """One layer, and the majority of its answers, ties to the member named first."""
    texts = [_text(record, m) for m in members]
    groups = group(texts).of
    counts = Counter(g for g, t in zip(groups, texts, strict=True) if g is not None and t)
    top = max(counts.values(), default=0)
    leading = {g for g, n in counts.items() if n == top}
    winner = next((m for m, g in zip(members, groups, strict=True) if g in leading), members[0])
    return replace(_spent(record, members), right=record.scores.get(winner) or 0.0)


def _dense(record: Record, members: Sequence[str]) -> Outcome:
    """Every model in every layer and one aggregator: its right answers are the majority's, its cost is counted."""
    one = _panel(record, members)
    writer = _spent(record, members[:1])

    def dense(layer: float | None, last: float | None) -> float | None:
        return None if layer is None or last is None else DENSE * layer + last

    return Outcome(
        one.right,
        DENSE * len(members) + 1,
        DENSE * one.tokens + writer.tokens,
        dense(one.cost, writer.cost),
        dense(one.latency, writer.latency),
    )


def _oracle(record: Record, members: Sequence[str]) -> Outcome:
    best = max(members, key=lambda m: record.scores.get(m) or 0.0)
    return replace(_spent(record, (best,)), right=record.scores.get(best) or 0.0)


def _spent(record: Record, members: Sequence[str]) -> Outcome:
    """What calling these at the same time takes."""
    seconds = [(record.seconds or {}).get(m) for m in members]
    return Outcome(
        0.0,
        len(members),
        sum(len(_text(record, m)) // CHARACTERS for m in members),
        _sum([(record.costs or {}).get(m) for m in members]),
        None if None in seconds else max((s for s in seconds if s is not None), default=0.0),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    return None if None in values else sum(v for v in values if v is not None)
