"""A contract's terms applied to a query under way: who is called, how long for, and when it is over.

Between the engine, which says what should happen, and `afford`, which says what fits: this looks up what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from routemoa.core.errors import ConfigError, Cut, OverBudget, TimedOut
from routemoa.core.pool import Pool
from routemoa.core.trace import Fold
from routemoa.core.types import GivenUp, ModelSpec, Request
from routemoa.mixture.budget.account import usual
from routemoa.mixture.budget.metering import Desk
from routemoa.mixture.budget.planner import Fitting, Means, fit, layer_seconds
from routemoa.mixture.calls import Waiting
from routemoa.mixture.layer import Plan
from routemoa.routing.decision import Decision, failed, heard
from routemoa.routing.latency import Expected
from routemoa.routing.published import Policy

__all__ = ["Terms"]

OVER = 0.05  # of the contract's time: with less of it left, no layer begins


class Terms:
    """What the contract of one query allows.

    Args:
        pool: whose models may be called.
        policy: whose view of "enough" ends a layer early.
        desk: where the calls are made.
        so_far: the trace of all that has happened.
        expected: what calls usually take, as it is known by now.
    """

    def __init__(self, pool: Pool, policy: Policy, desk: Desk, so_far: Fold, expected: Callable[[], Expected]) -> None:
        self._pool, self._policy, self.desk, self._so_far = pool, policy, desk, so_far
        self.expected = expected

    def fit(self, decided: Decision, plan: Plan) -> Fitting:
        """Whom of those that the policy wants, or else, the contract has room for. Raises OverBudget, ConfigError."""
        desk, expected = self.desk, self.expected()
        wanted = [self._pool[name] for name in decided.call]
        answers = heard(self._so_far.trace)
        quoted = sum(len(p.text.encode()) for p in answers)
        means = Means(desk.account.left, desk.seconds_left, expected.tokens, expected.seconds, quoted)
        others = self.reserve(decided, wanted)
        found = fit(wanted, others, means, plan.request, writer=self._writer(decided), heard=len(answers))
        if not found.call and not self._so_far.trace.layers:  # before anything is spent
            raise (
                ConfigError(found.why)
                if found.unpriced
                else OverBudget(f"not even one call fits: {found.why.removeprefix('contract: ')}")
            )
        return found

    def reserve(self, decided: Decision, called: Sequence[ModelSpec]) -> list[ModelSpec]:
        """Who takes the place of one that fails, best first: in a panel that grows, none that has answered already."""
        trace = self._so_far.trace
        spared = set() if self._pool.mixture.published else {p.model for p in heard(trace)}
        out = {*(m.name for m in called), *failed(trace), *spared}
        return [self._pool[r.model] for r in decided.ranking if r.model not in out]

    def waiting(self, called: Sequence[ModelSpec], decided: Decision) -> Waiting:
        """How long the layer is waited for."""
        trace, expected = self._so_far.trace, self.expected()
        left, whole = self.desk.seconds_left, self.desk.contract.max_seconds
        seconds = None
        if left is not None and whole is not None:
            writer, answers = self._writer(decided), len(heard(trace))
            seconds = layer_seconds(
                left,
                whole,
                None if writer is None else expected.seconds.get(writer.name, writer.latency),
                writer=writer is not None and len(called) + answers > 1,
                others=len(called) + answers + len(failed(trace)) < len(self._pool),
            )
        # A layer of the published loops waits for all.
        return Waiting(seconds, self.late, None if self._pool.mixture.published else self._enough)

    @property
    def late(self) -> Mapping[str, float]:
        """For each model, seconds after which its first token is late; empty where nobody is hedged."""
        return self.expected().late if self._pool.mixture.hedge else {}

    def _enough(self) -> bool:
        return self._policy.suffices(self._so_far.trace, self.expected())

    def over(self) -> str | None:
        """Why no further layer may run, whatever the answers are."""
        left, whole = self.desk.seconds_left, self.desk.contract.max_seconds
        if left is not None and whole is not None and left < OVER * whole:
            return f"contract: {whole - left:.1f} of {whole:g} s have passed"
        return None

    def writers(self, candidates: Sequence[ModelSpec], request: Request) -> tuple[list[ModelSpec], tuple[GivenUp, ...]]:
        """Who of `candidates` can still write the answer; that the first, or none of them can is said."""
        left, expected = self.desk.seconds_left, self.expected()
        quick = [m for m in candidates if left is None or expected.seconds.get(m.name, m.latency or 0.0) <= left]
        able = [m for m in quick if self.desk.account.fits(m, request, usual(expected.tokens.get(m.name)))]
        if candidates[:1] == able[:1]:
            return able, ()
        slow = candidates[0] not in quick
        why = f"only {left or 0.0:.1f} s are left" if slow else "too little of the contract is left"
        return able, (GivenUp("model" if able else "aggregator", f"{why} for it to write", (candidates[0].name,)),)

    def beginning(self) -> str:
        """The beginning of an answer that the contract's time cut off: the best-ranked model's, or nothing."""
        if self.desk.contract.max_seconds is None:
            return ""
        trace, kinds = self._so_far.trace, (Cut.__name__, TimedOut.__name__)
        found = {
            f.model: f.partial for done in trace.layers for f in done.failures if f.kind in kinds and f.partial.strip()
        }
        order = [r.model for r in trace.ranking]
        return found[min(found, key=order.index)] if found else ""

    def _writer(self, decided: Decision) -> ModelSpec | None:
        """Who would aggregate; nobody where a closed question's best answer is going to stand."""
        if heard(self._so_far.trace) and not decided.ask.quote:
            return None
        chosen = self._pool.mixture.aggregator
        return self._pool[decided.ranking[0].model if chosen == "best" else chosen] if decided.ranking else None
