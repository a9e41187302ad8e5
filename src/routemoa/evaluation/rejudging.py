"""Judge saved traces again under another policy, without any call. Only `read_traces` reads a file; the rest is pure.

A line of a traces file is what `routemoa ask --json` prints. To fit a judge model, it also needs the scores of its
answers: `scores` (model -> 0 to 1, null where unknown, as in records), or a `reference` and, where the grader does not
follow from it, a `grader`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.mixture_table import Mixture
from routemoa.core.trace import Layer, Ranking, Trace, upgrade_trace
from routemoa.core.types import ModelSpec, Scores
from routemoa.datasets.file_heads import find_wrong_kind
from routemoa.datasets.grading import GraderName, grade, suggest_grader
from routemoa.datasets.jsonl import BadLine, explain_json_error, read_lines
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.decision import Decision, last_layer_answers, latest_answers
from routemoa.routing.latency import CallEstimates
from routemoa.routing.policy import Policy, build_policy

__all__ = [
    "PolicyStep",
    "RejudgedTrace",
    "SavedTrace",
    "apply_policy",
    "parse_trace",
    "read_traces",
    "rejudge",
    "score_answers",
]


class SavedTrace(Struct, frozen=True):
    """One line of a traces file: an answer, its trace, and the scores of the models' answers."""

    trace: Trace
    text: str = ""
    scores: dict[str, float | None] | None = None
    grades: dict[str, float | None] | None = None
    """Another name for `scores`."""
    reference: str | None = None
    grader: GraderName | None = None


class RejudgedTrace(Struct, frozen=True):
    """What a policy decides on a recorded trace."""

    choice: str | None
    """The model whose answer the policy gives."""
    text: str | None
    scores: Scores
    """The posterior."""
    stop_reason: str
    changed: bool
    """Whether the choice or the number of layers differs from the record."""
    layers: int
    """Layers that the policy needs."""
    calls: int
    """Proposals in those layers."""
    recorded: str | None
    """The choice of the record."""


class PolicyStep(Struct, frozen=True):
    """A trace extended by one layer, and the policy's decision on it."""

    trace: Trace
    decision: Decision


def read_traces(
    path: str | os.PathLike[str], on_bad_line: Callable[[BadLine], None]
) -> Iterator[tuple[int, SavedTrace]]:
    """Yield the traces of a file with their line numbers; call `on_bad_line` for lines that hold none."""
    if fault := find_wrong_kind(path, "traces", "traces"):
        on_bad_line(BadLine(os.fspath(path), 0, fault))
        return
    for number, line in read_lines(path, on_bad_line):
        saved = parse_trace(line)
        if isinstance(saved, str):
            on_bad_line(BadLine(os.fspath(path), number, saved))
        else:
            yield number, saved


def parse_trace(line: bytes) -> SavedTrace | str:
    """Return the trace in a line, of this or an earlier version, or a message that says why there is none."""
    try:
        plain = msgspec.json.decode(line)
        if isinstance(plain, dict) and isinstance(trace := plain.get("trace"), dict):
            plain["trace"] = upgrade_trace(trace)
        saved = msgspec.convert(plain, SavedTrace)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        return explain_json_error(line, e)
    return _find_fault(saved) or saved


def _find_fault(saved: SavedTrace) -> str | None:
    """Return a message about scores outside [0, 1] or a reference that cannot be graded, else None."""
    for name, values in (("scores", score_answers(saved) or {}), ("trace.prior", saved.trace.prior)):
        for model, value in values.items():
            if value is not None and not 0.0 <= value <= 1.0:
                return f"{name} of '{model}' is {value:g}, outside [0, 1]"
    if saved.reference is not None and grade("", saved.reference, kind := _find_grader(saved)) is None:
        return f"reference '{saved.reference}' cannot be graded as {kind}"
    return None


def score_answers(saved: SavedTrace) -> Mapping[str, float | None] | None:
    """Return each model's score: as given, else graded by the reference; None where the line has neither."""
    if saved.scores is not None or saved.grades is not None:
        return saved.grades if saved.scores is None else saved.scores
    if saved.reference is None:
        return None
    kind, question = _find_grader(saved), saved.trace.query.text
    return {p.model: grade(p.text, saved.reference, kind, question) for p in latest_answers(saved.trace)}


def _find_grader(saved: SavedTrace) -> GraderName:
    return saved.grader or suggest_grader(saved.reference or "", saved.trace.query.text)


def apply_policy(policy: Policy, trace: Trace, layer: Layer) -> PolicyStep:
    """Extend a trace by a layer, with the policy's own scores and ranking in place of those recorded."""
    bare = replace(layer, scores={}, ranking=())
    decision = policy.update(replace(trace, layers=(*trace.layers, bare)), CallEstimates())
    judged = replace(bare, scores=decision.scores, ranking=decision.ranking)
    return PolicyStep(replace(trace, layers=(*trace.layers, judged)), decision)


def rejudge(trace: Trace, mixture: Mixture, judge_model: JudgeModel) -> RejudgedTrace:
    """Return what a policy decides on the recorded answers and judgments, layer by layer.

    Where the policy would continue beyond the record, it chooses among the recorded answers and its reason says so.
    """
    policy = build_policy(_pool_of(trace), mixture, judge_model, ())
    decision: Decision | None = None
    judged = replace(trace, layers=())
    for layer in trace.layers:
        step = apply_policy(policy, judged, layer)
        judged, decision = step.trace, step.decision
        if decision.stop is not None:
            break
    if decision is None:
        return RejudgedTrace(None, None, {}, "the trace holds no layer", False, 0, 0, None)
    choice = _leading_model(judged, decision.ranking) if decision.choice is None else decision.choice
    text = next((p.text for p in latest_answers(judged) if p.model == choice), None)
    recorded = _recorded_choice(trace)
    return RejudgedTrace(
        choice=choice,
        text=text,
        scores=decision.scores,
        stop_reason=str(decision.stop or "the record ends here: this policy would have asked further models"),
        changed=choice != recorded or len(judged.layers) != len(trace.layers),
        layers=len(judged.layers),
        calls=sum(len(layer.proposals) for layer in judged.layers),
        recorded=recorded,
    )


def _recorded_choice(trace: Trace) -> str | None:
    """Return the model whose answer was chosen, or led, when the trace was saved."""
    if trace.choice is not None:
        return trace.choice
    return _leading_model(trace, trace.layers[-1].ranking) if trace.layers else None


def _leading_model(trace: Trace, ranking: Ranking) -> str | None:
    answers = last_layer_answers(trace, ranking)
    return answers[0].model if answers else None


def _pool_of(trace: Trace) -> list[ModelSpec]:
    """Return the models of the trace: those ranked, with price and latency, else those that answered or failed."""
    if trace.ranking:
        return [ModelSpec(r.model, "local", r.model, output_price=r.cost, latency=r.latency) for r in trace.ranking]
    names = list(trace.prior)
    for layer in trace.layers:
        names += [*(p.model for p in layer.proposals), *(f.model for f in layer.failures)]
    return [ModelSpec(name, "local", name) for name in dict.fromkeys(names)]
