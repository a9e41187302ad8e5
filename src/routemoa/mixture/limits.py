"""A contract's terms applied to a query under way: who is called, how long for, and when it is over.

Between the engine, which says what should happen, and `afford`, which says what fits: this looks up what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from routemoa.core.errors import BudgetExceeded, ConfigError, FailureKind
from routemoa.core.pool import Pool
from routemoa.core.trace import Degradation
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import ModelSpec, Request
from routemoa.mixture.budget.account import comfortable_tokens
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.budget.planner import BudgetedPlan, Resources, layer_time_limit, plan_within_budget
from routemoa.mixture.calls import WaitPolicy
from routemoa.mixture.layer import LayerRequest
from routemoa.routing.decision import Decision, failed_models, latest_answers
from routemoa.routing.latency import CallEstimates
from routemoa.routing.policy import Policy

__all__ = ["QueryLimits"]

OVER = 0.05  # of the contract's time: with less of it left, no layer begins


class QueryLimits:
    """What the contract of one query allows.

    Args:
        pool: whose models may be called.
        policy: whose view of "enough" ends a layer early.
        desk: where the calls are made.
        so_far: the trace of all that has happened.
        expected: what calls usually take, as it is known by now.
    """

    def __init__(
        self,
        pool: Pool,
        policy: Policy,
        desk: MeteredClient,
        so_far: TraceBuilder,
        expected: Callable[[], CallEstimates],
    ) -> None:
        self._pool, self._policy, self.desk, self._so_far = pool, policy, desk, so_far
        self.expected = expected

    def fit(self, decided: Decision, plan: LayerRequest) -> BudgetedPlan:
        """Whom of those that the policy wants, or else, the contract has room for. Raises OverBudget, ConfigError."""
        desk, expected = self.desk, self.expected()
        wanted = [self._pool[name] for name in decided.models]
        answers = latest_answers(self._so_far.trace)
        quoted = sum(len(p.text.encode()) for p in answers)
        means = Resources(desk.account.remaining, desk.seconds_left, expected.tokens, expected.seconds, quoted)
        others = self.reserve(decided, wanted)
        found = plan_within_budget(
            wanted, others, means, plan.request, writer=self._writer(decided), answers=len(answers)
        )
        if not found.models and not self._so_far.trace.layers:  # before anything is spent
            raise (
                ConfigError(found.reason)
                if found.unpriced
                else BudgetExceeded(f"not even one call fits: {found.reason.removeprefix('contract: ')}")
            )
        return found

    def reserve(self, decided: Decision, called: Sequence[ModelSpec]) -> list[ModelSpec]:
        """Who takes the place of one that fails, best first: in a panel that grows, none that has answered already."""
        trace = self._so_far.trace
        spared = set() if self._pool.mixture.published else {p.model for p in latest_answers(trace)}
        out = {*(m.name for m in called), *failed_models(trace), *spared}
        return [self._pool[r.model] for r in decided.ranking if r.model not in out]

    def waiting(self, called: Sequence[ModelSpec], decided: Decision) -> WaitPolicy:
        """How long the layer is waited for."""
        trace, expected = self._so_far.trace, self.expected()
        left, whole = self.desk.seconds_left, self.desk.limits.max_seconds
        seconds = None
        if left is not None and whole is not None:
            writer, answers = self._writer(decided), len(latest_answers(trace))
            seconds = layer_time_limit(
                left,
                whole,
                None if writer is None else expected.seconds.get(writer.name, writer.latency),
                writer=writer is not None and len(called) + answers > 1,
                others=len(called) + answers + len(failed_models(trace)) < len(self._pool),
            )
        # A layer of the published loops waits for all.
        return WaitPolicy(seconds, self.late, None if self._pool.mixture.published else self._enough)

    @property
    def late(self) -> Mapping[str, float]:
        """For each model, seconds after which its first token is late; empty where nobody is hedged."""
        return self.expected().hedge_after if self._pool.mixture.hedge else {}

    def _enough(self) -> bool:
        return self._policy.is_sufficient(self._so_far.trace, self.expected())

    def over(self) -> str | None:
        """Why no further layer may run, whatever the answers are."""
        left, whole = self.desk.seconds_left, self.desk.limits.max_seconds
        if left is not None and whole is not None and left < OVER * whole:
            return f"contract: {whole - left:.1f} of {whole:g} s have passed"
        return None

    def writers(
        self, candidates: Sequence[ModelSpec], request: Request
    ) -> tuple[list[ModelSpec], tuple[Degradation, ...]]:
        """Who of `candidates` can still write the answer; that the first, or none of them can is said."""
        left, expected = self.desk.seconds_left, self.expected()
        quick = [m for m in candidates if left is None or expected.seconds.get(m.name, m.latency or 0.0) <= left]
        able = [
            m
            for m in quick
            if self.desk.account.can_afford(m, request, comfortable_tokens(expected.tokens.get(m.name)))
        ]
        if candidates[:1] == able[:1]:
            return able, ()
        slow = candidates[0] not in quick
        why = f"only {left or 0.0:.1f} s are left" if slow else "too little of the contract is left"
        return able, (Degradation("model" if able else "aggregator", f"{why} for it to write", (candidates[0].name,)),)

    def beginning(self) -> str:
        """The beginning of an answer that the contract's time cut off: the best-ranked model's, or nothing."""
        if self.desk.limits.max_seconds is None:
            return ""
        trace, kinds = self._so_far.trace, (FailureKind.CANCELLED, FailureKind.TIMEOUT)
        found = {
            f.model: f.partial for done in trace.layers for f in done.failures if f.kind in kinds and f.partial.strip()
        }
        order = [r.model for r in trace.ranking]
        return found[min(found, key=order.index)] if found else ""

    def _writer(self, decided: Decision) -> ModelSpec | None:
        """Who would aggregate; nobody where a closed question's best answer is going to stand."""
        if latest_answers(self._so_far.trace) and not decided.options.quote_answers:
            return None
        chosen = self._pool.mixture.aggregator
        return self._pool[decided.ranking[0].model if chosen == "best" else chosen] if decided.ranking else None
