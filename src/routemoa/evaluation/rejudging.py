"""Saved traces judged and ranked again under another policy, without any call. Reading is thin, `rejudge` is pure.

A line of a traces file is what `routemoa ask --json` prints; for fitting it also says how right the answers are:
`scores` (model -> 0 to 1, null where nobody knows, as in records), or a `reference` and, where it does not follow from
that, a `grader`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.pool import Mixture
from routemoa.core.trace import Layer, Trace, upgrade_trace
from routemoa.core.types import ModelSpec, Scores
from routemoa.datasets.grading import GraderName, grade, suggest_grader
from routemoa.datasets.jsonl import BadLine, explain_json_error, read_lines
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.decision import Decision, last_layer_answers, latest_answers
from routemoa.routing.latency import CallEstimates
from routemoa.routing.policy import Policy, build_policy

__all__ = ["RejudgedTrace", "SavedTrace", "apply_policy", "parse_trace", "read_traces", "rejudge", "score_answers"]


class SavedTrace(Struct, frozen=True):
    """One line: a text, its trace, and what is known of how right its answers are."""

    trace: Trace
    text: str = ""
    scores: dict[str, float | None] | None = None
    grades: dict[str, float | None] | None = None  # the same by another name
    reference: str | None = None
    grader: GraderName | None = None


class RejudgedTrace(Struct, frozen=True):
    """What a policy makes of a trace: whose answer it would have given, each model's probability, and why it stops.

    `changed` is whether choice or length of the loop differ from what was recorded; `layers` is how many it needs, and
    `calls` how many proposals those hold.
    """

    choice: str | None
    text: str | None
    scores: Scores
    stop_reason: str
    changed: bool
    layers: int
    calls: int
    recorded: str | None


def read_traces(path: str | os.PathLike[str], complain: Callable[[BadLine], None]) -> Iterator[tuple[int, SavedTrace]]:
    """Yield the traces of a file with their line numbers; lines that are none go to `complain`."""
    for number, line in read_lines(path, complain):
        saved = parse_trace(line)
        if isinstance(saved, str):
            complain(BadLine(os.fspath(path), number, saved))
        else:
            yield number, saved


def parse_trace(line: bytes) -> SavedTrace | str:
    """Return the trace in a line, of this or an earlier version, or a sentence that says why there is none."""
    try:
        plain = msgspec.json.decode(line)
        if isinstance(plain, dict) and isinstance(trace := plain.get("trace"), dict):
            plain["trace"] = upgrade_trace(trace)
        saved = msgspec.convert(plain, SavedTrace)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        return explain_json_error(line, e)
    return _fault(saved) or saved


def _fault(saved: SavedTrace) -> str | None:
    for name, values in (("scores", score_answers(saved) or {}), ("trace.prior", saved.trace.prior)):
        for model, value in values.items():
            if value is not None and not 0.0 <= value <= 1.0:
                return f"{name} of '{model}' is {value:g}, outside [0, 1]"
    if (
        saved.reference is not None
        and grade("", saved.reference, saved.grader or suggest_grader(saved.reference)) is None
    ):
        return f"reference '{saved.reference}' cannot be graded as {saved.grader or suggest_grader(saved.reference)}"
    return None


def score_answers(saved: SavedTrace) -> Mapping[str, float | None] | None:
    """How right each model's latest answer is: as given, else by the reference; None where neither is there."""
    if saved.scores is not None or saved.grades is not None:
        return saved.grades if saved.scores is None else saved.scores
    if saved.reference is None:
        return None
    kind = saved.grader or suggest_grader(saved.reference)
    return {p.model: grade(p.text, saved.reference, kind) for p in latest_answers(saved.trace)}


class PolicyStep(Struct, frozen=True):
    """A trace that ends in a layer as a policy judged it, and what the policy decided."""

    trace: Trace
    decision: Decision


def apply_policy(policy: Policy, trace: Trace, layer: Layer) -> PolicyStep:
    """What a policy makes of one more layer, whatever another one had made of it."""
    bare = replace(layer, scores={}, ranking=())
    decision = policy.update(replace(trace, layers=(*trace.layers, bare)), CallEstimates())
    judged = replace(bare, scores=decision.scores, ranking=decision.ranking)
    return PolicyStep(replace(trace, layers=(*trace.layers, judged)), decision)


def rejudge(trace: Trace, mixture: Mixture, judge_model: JudgeModel) -> RejudgedTrace:
    """What a policy would have decided on the recorded answers and judgments, layer by layer.

    A policy that would have gone on beyond what was recorded chooses from what there is, and its reason says so.
    """
    policy = build_policy(_models(trace), mixture, judge_model, ())
    decision: Decision | None = None
    so_far = replace(trace, layers=())
    for layer in trace.layers:
        done = apply_policy(policy, so_far, layer)
        so_far, decision = done.trace, done.decision
        if decision.stop is not None:
            break
    if decision is None:
        return RejudgedTrace(None, None, {}, "the trace holds no layer", False, 0, 0, None)
    choice = decision.choice
    if choice is None and (given := last_layer_answers(so_far, decision.ranking)):
        choice = given[0].model
    text = next((p.text for p in latest_answers(so_far) if p.model == choice), None)
    reason = str(decision.stop or "the record ends here: this policy would have asked further models")
    before = _recorded(trace)
    changed = choice != before or len(so_far.layers) != len(trace.layers)
    calls = sum(len(layer.proposals) for layer in so_far.layers)
    return RejudgedTrace(choice, text, decision.scores, reason, changed, len(so_far.layers), calls, before)


def _recorded(trace: Trace) -> str | None:
    """Whose answer stood or led when the trace was saved."""
    if trace.choice is not None:
        return trace.choice
    given = last_layer_answers(trace, trace.layers[-1].ranking) if trace.layers else ()
    return given[0].model if given else None


def _models(trace: Trace) -> list[ModelSpec]:
    """The pool as far as the trace tells: who was ranked, with price and latency, else who answered or failed."""
    if trace.ranking:
        return [ModelSpec(r.model, "local", r.model, output_price=r.cost, latency=r.latency) for r in trace.ranking]
    named = list(trace.prior)
    for layer in trace.layers:
        named += [*(p.model for p in layer.proposals), *(f.model for f in layer.failures)]
    return [ModelSpec(name, "local", name) for name in dict.fromkeys(named)]
