"""Which members a query may call: not those that cool down after failures, nor those that cannot hold the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.clients.endpoints.placed_call import SLOW_SECONDS
from routemoa.clients.faults import Fault
from routemoa.core.content.media import Modality
from routemoa.core.errors import QueryError
from routemoa.core.failure_kind import FailureKind
from routemoa.core.trace import Skip
from routemoa.core.types import ModelSpec, Request
from routemoa.mixture.budget.context import ContextFit, context_fit, least_tokens
from routemoa.mixture.calls.call_guard import Ticket
from routemoa.mixture.run import Run

__all__ = ["Admission", "leave_out_misfits", "leave_out_unable", "skip_cooling", "takes"]


class Admission:
    """Lets the calls of a group be made, by what the client remembers of the members.

    Args:
        force: call the least bad member where none is ready.
    """

    def __init__(self, run: Run, *, force: bool = True) -> None:
        self._run = run
        self._may_force = force
        self._memory = run.client.memory

    def is_ready(self, spec: ModelSpec) -> bool:
        """Return whether a model may be called now."""
        return self._memory.skip_seconds(spec) is None

    def admit(self, spec: ModelSpec) -> Ticket | None:
        """Return the right to call a model; None, and a note in the trace, while it cools down."""
        ticket = self._memory.acquire(spec)
        if ticket is None:
            self._run.skip(skip_cooling(spec, self._memory))
        return ticket

    def force(self, specs: Sequence[ModelSpec]) -> tuple[ModelSpec, Ticket] | None:
        """Return the model whose cool-down ends first, where nothing was answered yet; note the others in the trace."""
        answered = any(layer.proposals for layer in self._run.trace.layers)
        forced = self._memory.force(specs) if self._may_force and not answered else None
        for spec in specs:
            if not self.is_ready(spec) and (forced is None or spec.name != forced[0].name):
                self._run.skip(skip_cooling(spec, self._memory))
        return forced

    def report_slow(self, spec: ModelSpec, seconds: float) -> None:
        """Let a model cool down as long as it was waited for in vain."""
        if seconds >= SLOW_SECONDS and self._run.client.remembers:
            fault = Fault(FailureKind.TIMEOUT, wasted=seconds, opens_at_once=True)
            for place in self._run.client.awaited_places(spec):
                self._memory.note_fault(place, fault, self._memory.clock() - seconds)


def skip_cooling(spec: ModelSpec, memory: MemberMemory) -> Skip:
    """Return the note that a model cools down."""
    seconds, fault = memory.skip_seconds(spec) or 1.0, memory.breaker(spec).fault
    cause = "" if fault is None else f" after {fault}"
    reason = f"skipped: cooling down {ceil(seconds)} s{cause}"
    return Skip(spec.name, "cooling", reason, seconds, None if fault is None else fault.status)


def leave_out_unable(run: Run, models: Sequence[ModelSpec]) -> list[ModelSpec]:
    """Return the models without those that cannot do what the query asks for; note these in the trace.

    Raises:
        QueryError: none can.
    """
    able = _leave_out_toolless(run, models) if run.query.tools is not None else list(models)
    if not (media := run.query.media):
        return able
    lacking = {m.name: sorted(k for k in media if not takes(run, m, k)) for m in able}
    for model in able:
        if missing := lacking[model.name]:
            run.skip(Skip(model.name, "modality", f"skipped: it takes no {' and no '.join(missing)}"))
    seeing = [m for m in able if not lacking[m.name]]
    if not seeing:
        kinds = [k for k in sorted(media) if all(k in missing for missing in lacking.values())]
        what = f"no {' and no '.join(kinds)}" if kinds else f"not all of {', '.join(sorted(media))} together"
        fix = "send it without, or name a member that does in `modalities` of the pool file"
        raise QueryError(f"the models of the pool take {what}; {fix}", "messages")
    return seeing


def takes(run: Run, model: ModelSpec, kind: Modality) -> bool:
    """Return whether a model takes an image, audio or a file, as far as it is known."""
    if model.modalities is not None:
        return kind in model.modalities
    return kind == "text" or not run.client.memory.lacks(model, kind)


def _leave_out_toolless(run: Run, models: Sequence[ModelSpec]) -> list[ModelSpec]:
    able = [m for m in models if m.tools is not False and not run.client.memory.lacks(m, "tools")]
    if not able:
        raise QueryError("no model of the pool can call tools; send the request without 'tools'", "tools")
    for model in models:
        if model not in able:
            run.skip(Skip(model.name, "tools", "skipped: it cannot call tools"))
    return able


def leave_out_misfits(
    run: Run, selected: Sequence[ModelSpec], reserve: Sequence[ModelSpec], request: Callable[[ModelSpec], Request]
) -> tuple[list[ModelSpec], list[ModelSpec]]:
    """Return the models to call and their reserve without those whose context is too short; note these in the trace.

    A model that may be too small is called only where none is left that is large enough. Models of the reserve take the
    places of those that are left out.
    """
    models = [*selected, *reserve]
    if all(m.context is None for m in models):
        return list(selected), list(reserve)
    fits = [context_fit(m, request(m)) for m in models]
    best = max(fits)
    left = [m for m, fit in zip(models, fits, strict=True) if fit is best is not ContextFit.NEVER]
    for model, fit in zip(models, fits, strict=True):
        if model not in left:
            run.skip(_skip_misfit(model, request(model), fit))
    return left[: len(selected)], left[len(selected) :]


def _skip_misfit(model: ModelSpec, request: Request, fit: ContextFit) -> Skip:
    held = f"its context of {model.context:,} tokens"
    if fit is ContextFit.NEVER:
        texts = [model.system or "", *(m.sent_text for m in request.messages)]
        reason = f"skipped: the prompt has {least_tokens(texts):,} tokens at least, and {held} cannot hold it"
    else:
        reason = f"skipped: the prompt may not fit into {held}"
    return Skip(model.name, "context", reason)
