"""POST /ui/api/judge: judges an answer again, under another policy where one is given. It calls no model.

The work is that of `routemoa judge replay`: the engine's own pure functions on the trace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from routemoa.core.errors import ConfigError
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Answer, Trace, upgrade_trace
from routemoa.core.types import PreferenceName
from routemoa.gateway.errors import HttpError
from routemoa.gateway.http_exchange.connection import read_json_object
from routemoa.gateway.http_exchange.json_response import json_response
from routemoa.gateway.http_exchange.response_ids import bare_id
from routemoa.gateway.ui.site import Site
from routemoa.gateway.ui.viewer import Viewer
from routemoa.judging.answers.grouping import final_answer
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.pool_judge import load_pool_judge
from routemoa.routing.latency import CallEstimates
from routemoa.routing.policies.adaptive import AdaptivePolicy
from routemoa.routing.policy import build_policy
from routemoa.routing.rejudging import models_of, rejudge
from routemoa.routing.state import PanelState

__all__ = ["PolicyChoice", "RejudgeEndpoint", "judge_again"]

MAX_LAYERS = 16
MAX_ANSWERS = 48
MAX_CHARACTERS = 2_000_000
"""Of all answers: what a foreign file may make the server read."""
MAX_LABEL = 60
"""Characters of the result that a group of answers states."""

Share = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[float, Meta(ge=0, le=20)]


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    """Log-odds per unit of each signal, as `coefficients` of a judge file; None is as the pool's."""

    votes: Weight | None = None
    verbalized: Weight | None = None
    logprob: Weight | None = None
    cross: Weight | None = None
    similarity: Weight | None = None


class PolicyChoice(Struct, frozen=True, forbid_unknown_fields=True):
    """What a policy has of its own; the rest is the pool's."""

    prefer: PreferenceName | None = None
    target: Share | None = None
    stop_confidence: Share | None = None
    max_models: Annotated[int, Meta(ge=1, le=64)] | None = None
    weights: Weights = Weights()


class JudgeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body: an answer, or the id of one that is kept."""

    id: str | None = None
    answer: dict[str, Any] | None = None
    policy: PolicyChoice = PolicyChoice()


class RejudgeEndpoint:
    """Judges one answer at a time.

    Args:
        site: its pool has the policy; its traces are those that an id may name.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._turn = asyncio.Semaphore(1)

    async def post(self, request: Request) -> Response:
        """Return what the policy makes of the answers and judgments. Raises HttpError."""
        settings = self._site.settings
        body = await read_json_object(request.scope, request.receive, settings.max_body_bytes, settings.body_seconds)
        try:
            asked = msgspec.convert(body, JudgeRequest)
        except msgspec.ValidationError as e:
            raise HttpError(400, f"The request is wrong: {e}.") from e
        trace = await self._find_trace(asked, Viewer(request, self._site))
        pool = self._site.pool
        async with self._turn:
            try:
                judge_model = await asyncio.to_thread(load_pool_judge, pool)
                found = await asyncio.to_thread(judge_again, trace, pool.mixture, judge_model, asked.policy)
            except ConfigError as e:
                raise HttpError(400, f"This answer cannot be judged again: {e}") from e
        return json_response(found, headers={"cache-control": "no-store"})

    async def _find_trace(self, asked: JudgeRequest, viewer: Viewer) -> Trace:
        if asked.answer is not None:
            return read_foreign_trace(asked.answer)
        store, id_ = self._site.state.traces, bare_id(asked.id or "")
        found = None
        if store is not None:
            found = await asyncio.to_thread(store.find, id_, viewer.caller.name, everyone=viewer.is_admin)
        if found is None:
            raise HttpError(404, f"There is no trace {id_[:64]} that this key may see.", code="trace_not_found")
        return found.answer.trace


def read_foreign_trace(plain: Mapping[str, Any]) -> Trace:
    """Return the trace of an answer that a caller sent, such as a line of `routemoa ask --json`. Raises HttpError."""
    trace = plain.get("trace")
    try:
        answer = msgspec.convert({"text": "", "trace": upgrade_trace(trace) if isinstance(trace, dict) else {}}, Answer)
    except msgspec.ValidationError as e:
        raise HttpError(400, f"This is no trace: {e}.") from e
    found = answer.trace
    texts = [p.text for layer in found.layers for p in layer.proposals]
    if len(found.layers) > MAX_LAYERS or len(texts) > MAX_ANSWERS or sum(map(len, texts)) > MAX_CHARACTERS:
        raise HttpError(400, f"The trace is too large: at most {MAX_LAYERS} layers and {MAX_ANSWERS} answers.")
    scores = [found.prior, *(layer.scores for layer in found.layers)]
    if any(value is not None and not 0.0 <= value <= 1.0 for table in scores for value in table.values()):
        raise HttpError(400, "This is no trace: a probability is outside of [0, 1].")
    return found


def judge_again(trace: Trace, mixture: Mixture, judge_model: JudgeModel, choice: PolicyChoice) -> dict[str, Any]:
    """Return what a policy makes of a trace: the groups of its answers, the posterior, the choice, and why it stops.

    Args:
        trace: with the answers and judgments that were recorded.
        mixture: of the pool.
        judge_model: of the pool.
        choice: what the policy has of its own.

    Raises:
        ConfigError: the tuned policy of the pool was made for other models.
    """
    own = msgspec.structs.asdict(choice) | {"prefer": choice.prefer or trace.query.prefer}
    trace = replace(trace, query=replace(trace.query, prefer=None))
    changes = {key: own[key] for key in ("prefer", "target", "stop_confidence", "max_models") if own[key] is not None}
    if changes:
        mixture = replace(mixture, tuned=None, policy=None, **changes)
    weights = {key: value for key, value in msgspec.structs.asdict(choice.weights).items() if value is not None}
    judge_model = replace(judge_model, coefficients=replace(judge_model.coefficients, **weights))
    models = models_of(trace)
    if not models:
        return {"object": "judgment", "groups": [], "closed": False, "scores": {}, "choice": None, "stop_reason": None}
    policy = build_policy(models, mixture, judge_model, ())
    first = policy.initial(trace.prior, CallEstimates(), trace.query)
    judged = rejudge(trace, mixture, judge_model)
    plain = policy if isinstance(policy, AdaptivePolicy) else _plain_policy(policy, mixture, judge_model)
    state = plain.read_panel(trace)
    return {
        "object": "judgment",
        "choice": judged.choice,
        "stop_reason": judged.stop_reason,
        "scores": judged.scores,
        "layers": judged.layers,
        "calls": judged.calls,
        "changed": judged.changed,
        "recorded": judged.recorded,
        "first": {"models": first.models, "why": first.selection_reason or str(first.stop or "")},
        "groups": _describe_groups(state),
        "closed": state.groups.closed,
        "weights": {key: getattr(judge_model.coefficients, key) for key in Weights.__struct_fields__},
        "policy": {
            "prefer": str(mixture.prefer),
            "target": mixture.preference.target,
            "stop_confidence": mixture.confidence_threshold,
            "max_models": mixture.max_models,
        },
    }


def _plain_policy(policy: object, mixture: Mixture, judge_model: JudgeModel) -> AdaptivePolicy:
    """Return the policy that reads a panel for one that has its own way."""
    models = getattr(policy, "models", ())
    return AdaptivePolicy(models, replace(mixture, tuned=None, policy=None), judge_model, frozenset())


def _describe_groups(state: PanelState) -> list[dict[str, Any]]:
    """Return the groups of answers that say the same, in the order of their first answers."""
    return [
        {
            "models": state.supporters(group),
            "probability": state.posterior.probabilities[group],
            "states": _find_label(state, group),
            "leads": group == state.leader,
        }
        for group in range(len(state.posterior.probabilities))
    ]


def _find_label(state: PanelState, group: int) -> str | None:
    """Return the result that a group's answers state; None where they are open."""
    if not state.groups.closed:
        return None
    texts = [state.proposals[i].text for i in state.groups.members(group)]
    stated = next((form for text in texts if (form := final_answer(text))), None)
    return None if stated is None else stated[:MAX_LABEL]
