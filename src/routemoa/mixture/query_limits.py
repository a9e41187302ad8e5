"""The limits of one query while it runs: which models are called, how long they are waited for, when time is over.

The engine says what should happen, `budget.planner` says what fits; this looks up what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from routemoa.clients.endpoints.placed_call import SLOW_SECONDS
from routemoa.core.errors import BudgetExceeded, ConfigError
from routemoa.core.failure_kind import FailureKind
from routemoa.core.pool_file.pool import Pool
from routemoa.core.stop_reason import StopKind, StopReason
from routemoa.core.trace import Degradation
from routemoa.core.types import ModelSpec, Request
from routemoa.mixture.budget.account import comfortable_tokens
from routemoa.mixture.budget.planner import BudgetedPlan, Resources, layer_time_limit, plan_within_budget
from routemoa.mixture.calls.admission import leave_out_misfits, leave_out_unable, skip_cooling
from routemoa.mixture.calls.call_group import WaitPolicy
from routemoa.mixture.layer import LayerRequest
from routemoa.mixture.run import Run
from routemoa.routing.decision import Decision, failed_models, latest_answers, reserve_models
from routemoa.routing.latency import CallEstimates
from routemoa.routing.policy import Policy

__all__ = ["QueryLimits"]

MIN_TIME_SHARE = 0.05
"""Of `max_seconds`: with less of it left, no layer begins."""
LATE_FACTOR = 3.0
"""A first token is given up after so many times the seconds of a usual call, measured or declared."""
MAX_DOUBLINGS = 6
"""Of SLOW_SECONDS, one each time that a model of unknown speed was given up: 64 times, or 32 minutes."""


class QueryLimits:
    """What the limits of one query allow.

    Args:
        pool: the models that may be called.
        policy: decides when the answers of a layer suffice.
        run: the query.
        estimates: returns what calls usually take, as far as it is known by now.
    """

    def __init__(self, pool: Pool, policy: Policy, run: Run, estimates: Callable[[], CallEstimates]) -> None:
        self._pool, self._policy, self._run = pool, policy, run
        self.estimates = estimates
        self.cooling: list[ModelSpec] = []
        """The models that cool down: a last resort, where all the others have failed."""

    def leave_out_unavailable(self, candidates: Sequence[ModelSpec], request: LayerRequest) -> CallEstimates:
        """Return the estimates without the models that this query does not call, and note these in the trace.

        Args:
            candidates: the models that the query may be asked of.
            request: of the first layer.

        Raises:
            ContextExceeded: no model can hold the prompt.
            QueryError: no model can do what the request asks for, such as call tools.
            AllModelsFailed: every model that could asked to be left alone for a while.
        """
        run, memory = self._run, self._run.client.memory
        able = leave_out_unable(run, candidates)
        fitting, _ = leave_out_misfits(run, able, (), request.request_for)
        ready = [m for m in fitting if memory.skip_seconds(m) is None]
        if not ready:
            forced = sorted(filter(memory.can_force, fitting), key=lambda m: memory.breaker(m).wait(memory.clock()))
            ready = forced[:1]
        self.cooling = [m for m in fitting if m not in ready]
        for model in self.cooling:
            run.skip(skip_cooling(model, memory))
        if not ready:
            raise run.no_answer()
        skipped = frozenset(s.model for s in run.trace.skipped)
        return replace(self.estimates(), unavailable=skipped) if skipped else self.estimates()

    def plan_layer(self, decision: Decision, request: LayerRequest) -> BudgetedPlan:
        """Return the part of the policy's choice that fits, or what fits in its place.

        Raises:
            BudgetExceeded: not even the first call of the query fits.
            ConfigError: no model has a price, and a limit in dollars is set.
        """
        trace, client, estimates = self._run.trace, self._run.client, self.estimates()
        wanted = [self._pool[name] for name in decision.models]
        answers = latest_answers(trace)
        quoted = sum(len(p.text.encode()) for p in answers)
        resources = Resources(
            client.account.remaining, client.deadline.seconds_left, estimates.tokens, estimates.seconds, quoted
        )
        plan = plan_within_budget(
            wanted,
            self.reserve(decision, wanted),
            resources,
            request.request_for,
            writer=self._writer(decision),
            answers=len(answers),
        )
        if not plan.models and not trace.layers:  # before anything is spent
            if plan.unpriced:
                raise ConfigError(plan.reason)
            raise BudgetExceeded(f"not even one call fits: {plan.reason}")
        return plan

    def is_only_call(self, called: Sequence[ModelSpec]) -> bool:
        """Return whether this call is the only one of the query, so that a self-assessment would change nothing."""
        calls_left = self._run.client.account.remaining.calls
        return len(called) == 1 and calls_left == 1 and not latest_answers(self._run.trace)

    def reserve(self, decision: Decision, called: Sequence[ModelSpec]) -> list[ModelSpec]:
        """Return the models that replace failed ones, best first; an adaptive panel asks no model twice."""
        names = [m.name for m in called]
        reserve = reserve_models(self._run.trace, decision, names, repeat=self._pool.mixture.published)
        return [self._pool[name] for name in reserve]

    def wait_policy(self, called: Sequence[ModelSpec], decision: Decision) -> WaitPolicy:
        """Return how long the layer is waited for; a layer of the published loops waits for all."""
        trace, deadline, estimates = self._run.trace, self._run.client.deadline, self.estimates()
        left, limit = deadline.seconds_left, deadline.limit
        seconds = None
        if left is not None and limit is not None:
            writer, answers = self._writer(decision), len(latest_answers(trace))
            seconds = layer_time_limit(
                left,
                limit,
                None if writer is None else estimates.seconds.get(writer.name, writer.latency),
                writer=writer is not None and len(called) + answers > 1,
                others=len(called) + answers + len(failed_models(trace)) < len(self._pool),
            )
        is_sufficient = None if self._pool.mixture.published else self._is_sufficient
        if not self._pool.mixture.hedge:
            return WaitPolicy(seconds, {}, is_sufficient)
        give_up_after = self._give_up_after()
        return WaitPolicy(seconds, {**give_up_after, **estimates.hedge_after}, is_sufficient, give_up_after)

    @property
    def hedge_after(self) -> Mapping[str, float]:
        """Model -> seconds without a first token after which it is hedged; empty where no model is."""
        return {**self._give_up_after(), **self.estimates().hedge_after} if self._pool.mixture.hedge else {}

    def _give_up_after(self) -> dict[str, float]:
        """Model -> seconds without a first token after which it is not waited for, where another has answered.

        Far more than the model is known to need: what its `patience` says, else by its usual time. A model of unknown
        speed gets twice the time after each time that it was given up, so that a slow one comes to answer.
        """
        estimates, memory, after = self.estimates(), self._run.client.memory, dict[str, float]()
        for model in self._pool:
            unknown = SLOW_SECONDS * 2.0 ** min(memory.breaker(model).openings, MAX_DOUBLINGS)
            known = (model.latency, estimates.seconds.get(model.name), estimates.hedge_after.get(model.name))
            usual = LATE_FACTOR * max(seconds or 0.0 for seconds in known)
            patience = model.patience.first or self._pool.patience.first
            after[model.name] = max(unknown, usual) if patience is None else patience
        return after

    def time_over(self) -> StopReason | None:
        """Return why no further layer may run, whatever the answers are; None where one may."""
        left, limit = self._run.client.deadline.seconds_left, self._run.client.deadline.limit
        if left is not None and limit is not None and left < MIN_TIME_SHARE * limit:
            return StopReason(StopKind.LIMITS, f"{limit - left:.1f} of {limit:g} s have passed")
        return None

    def able_writers(
        self, candidates: Sequence[ModelSpec], request: Request
    ) -> tuple[list[ModelSpec], tuple[Degradation, ...]]:
        """Return the candidates that can still write the answer, and what that gives up of the first choice."""
        account, left, estimates = self._run.client.account, self._run.client.deadline.seconds_left, self.estimates()
        quick = [m for m in candidates if left is None or estimates.seconds.get(m.name, m.latency or 0.0) <= left]
        able = [m for m in quick if account.can_afford(m, request, comfortable_tokens(estimates.tokens.get(m.name)))]
        if candidates[:1] == able[:1]:
            return able, ()
        slow = candidates[0] not in quick
        why = f"only {left or 0.0:.1f} s are left" if slow else "too little of the limits is left"
        return able, (Degradation("model" if able else "aggregator", f"{why} for it to write", (candidates[0].name,)),)

    def partial_answer(self) -> str:
        """Return the beginning of an answer that the time limit cut off: the best-ranked model's, or nothing."""
        if self._run.client.deadline.limit is None:
            return ""
        trace, kinds = self._run.trace, (FailureKind.CANCELLED, FailureKind.TIMEOUT)
        failures = [f for layer in trace.layers for f in layer.failures]
        partial = {f.model: f.partial for f in failures if f.kind in kinds and f.partial.strip()}
        order = [r.model for r in trace.ranking]
        return partial[min(partial, key=order.index)] if partial else ""

    def _is_sufficient(self) -> bool:
        return self._policy.is_sufficient(self._run.trace, self.estimates())

    def _writer(self, decision: Decision) -> ModelSpec | None:
        """Return the model that would aggregate; None where a closed question's best answer is going to stand."""
        if latest_answers(self._run.trace) and not decision.options.quote_answers:
            return None
        chosen = self._pool.mixture.aggregator
        if not decision.ranking:
            return None
        return self._pool[decision.ranking[0].model if chosen == "best" else chosen]
