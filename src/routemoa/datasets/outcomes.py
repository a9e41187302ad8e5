"""Turn kept traces with feedback into outcomes: what each member's own answer was worth. Pure.

Labels are scores of members. An expected answer grades every answer with a grader that runs nothing. A thumb or score
is that of the text that was given: it holds for the members whose own answer says the same. What is not covered is
None, never 0. Of the same kind, later feedback goes before earlier; labels go before an expected answer, and that
before a score.

Of the scores that a thumb gives, only that of the answer that was given itself teaches. That another one is known
because it agrees with a right answer makes its member look better than it is (measured: docs/research/learning.md);
so it is with the answer that leads those an aggregator was given. What the
panel's other answers added to the chosen one's probability is taken into account.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.errors import MissingExtra
from routemoa.core.trace import Answer, Proposal, Trace
from routemoa.core.types import Query, Scores
from routemoa.datasets.grading import GraderName, grade, suggest_grader
from routemoa.datasets.records import Record, RecordsError, record_from_trace
from routemoa.judging.answers.grouping import group_answers, group_run_code
from routemoa.ledger.trace_store.traces import GRADERS, Feedback, StoredTrace

__all__ = ["TASK", "Outcome", "merge_feedback", "read_outcome", "record_from_stored", "score_given_text"]

TASK = "traffic"
"""The task of records that are made of traces."""
EDGE = 0.01
"""A probability nearer to 0 or 1 than this is taken as this far away."""


class Outcome(Struct, frozen=True):
    """A query, and how well the members that answered it did."""

    at: float
    """Seconds since the epoch, of the answer."""
    query: Query
    prior: Scores
    """What was predicted when the query came, in [0, 1]; None is unknown."""
    record: Record
    taught: Scores = {}
    """The scores that say how good a member is, in [0, 1]."""
    evidence: dict[str, float] = {}
    """Member -> what the panel's answers added to the log-odds of its prior, where `taught` is of a chosen answer."""

    trace: Trace | None = None
    """How the answer came about."""

    def predict(self, prior: Scores) -> Scores:
        """Return what priors become with the evidence, in [0, 1]."""
        return {m: p if p is None else _add(p, self.evidence.get(m, 0.0)) for m, p in prior.items()}

    def teach(self, prior: Scores) -> Scores:
        """Return the scores that say how good a member of these priors is.

        An answer that was chosen from several is right more often than its member is. By how much is not known of a
        member without a prior.
        """
        if self.trace is None or sum(len(layer.proposals) for layer in self.trace.layers) < 2:
            return self.taught
        return {m: s for m, s in self.taught.items() if m not in self.evidence or prior.get(m) is not None}


def read_outcome(
    stored: StoredTrace, keeps: Callable[[str], bool] = lambda _: True, unasked: Collection[str] = ()
) -> Outcome | None:
    """Return what a trace and its feedback say of the members; None where they say nothing of any.

    Args:
        stored: a trace with its feedback.
        keeps: tells whether a member counts.
        unasked: members that have a null score where they were not asked, beside those that were ranked.
    """
    trace = stored.answer.trace
    own = _list_own_answers(trace)
    said = merge_feedback(stored.feedback)
    known = _score_answers(own, said, trace.query.text)
    found = (dict.fromkeys(_list_agreeing(stored.answer, own), said.score) if said.score is not None else {}) | known
    called = [*own, *(f.model for layer in trace.layers for f in layer.failures)]
    scores: Scores = {m: found.get(m) for m in dict.fromkeys((*trace.prior, *called, *unasked)) if keeps(m)}
    if all(score is None for score in scores.values()):
        return None
    kept = [p for m, p in own.items() if m in scores]
    record = Record(
        stored.id,
        TASK,
        trace.query.text,
        scores,
        responses={p.model: p.text for p in kept if p.text} or None,
        reference=said.expected,
        costs={p.model: p.cost for p in kept if p.cost is not None} or None,
        seconds={p.model: p.latency for p in kept if p.latency is not None} or None,
    )
    written = trace.choice if trace.aggregator is None else None
    chosen = written if written in found and written not in known else None
    taught = {m: s for m, s in found.items() if m in scores and (m in known or m == chosen)}
    evidence = {chosen: _find_evidence(trace, chosen)} if chosen is not None and chosen in taught else {}
    prior = {m: p for m, p in trace.prior.items() if m in scores}
    return Outcome(stored.at, trace.query, prior, record, taught, evidence, trace)


def _find_evidence(trace: Trace, model: str) -> float:
    """Return what the answers of a panel added to the log-odds of a model's prior; 0 where that is not known."""
    prior, layers = trace.prior.get(model), [layer for layer in trace.layers if layer.proposals]
    posterior = layers[-1].scores.get(model) if layers else None
    if prior is None or posterior is None or sum(len(layer.proposals) for layer in layers) < 2:
        return 0.0
    return _to_log_odds(posterior) - _to_log_odds(prior)


def _add(probability: float, log_odds: float) -> float:
    return probability if log_odds == 0.0 else 1.0 / (1.0 + math.exp(-_to_log_odds(probability) - log_odds))


def _to_log_odds(probability: float) -> float:
    held = min(max(probability, EDGE), 1.0 - EDGE)
    return math.log(held / (1.0 - held))


def record_from_stored(stored: StoredTrace, *, with_feedback: bool = False) -> Record | None:
    """Return a trace as a record; None where it has no text, or no score and one is wanted."""
    if not stored.answer.trace.query.text.strip():
        return None
    if (outcome := read_outcome(stored)) is not None:
        return outcome.record
    if with_feedback:
        return None
    try:
        return record_from_trace(stored.answer, TASK, stored.id)
    except RecordsError:
        return None


def merge_feedback(feedback: Sequence[Feedback]) -> Feedback:
    """Return all that was said of an answer as one feedback; of the same kind the later goes before the earlier."""
    merged = Feedback()
    for said in feedback:
        has_expected = said.expected is not None
        merged = Feedback(
            merged.score if said.score is None else said.score,
            said.expected if has_expected else merged.expected,
            said.grader if has_expected else merged.grader,
            {**merged.labels, **said.labels},
            merged.comment if said.comment is None else said.comment,
        )
    return merged


def _list_own_answers(trace: Trace) -> dict[str, Proposal]:
    """Return each member's first answer that it wrote without seeing the others'."""
    own: dict[str, Proposal] = {}
    seen: set[str] = set()
    for layer in trace.layers:
        for proposal in layer.proposals:
            if not layer.quoted.get(proposal.model) and proposal.model not in seen:
                own[proposal.model] = proposal
            seen.add(proposal.model)
    return own


def _score_answers(own: dict[str, Proposal], said: Feedback, question: str) -> dict[str, float | None]:
    """Return the score of each own answer that labels or an expected answer cover."""
    scores: dict[str, float | None] = {}
    if said.expected is not None:
        graded = {m: _grade(p, said.expected, said.grader, question) for m, p in own.items()}
        scores |= {m: score for m, score in graded.items() if score is not None}
    return scores | {m: score for m, score in said.labels.items() if m in own and 0.0 <= score <= 1.0}


def _grade(proposal: Proposal, expected: str, grader: str | None, question: str) -> float | None:
    """Return how right an answer is, in [0, 1]; None where it was kept without its text, or cannot be graded."""
    if not proposal.text:
        return None
    name = cast("GraderName", grader) if grader in GRADERS else suggest_grader(expected, question)
    try:
        return grade(proposal.text, expected, name, question)
    except MissingExtra:
        return None if grader == "math" else grade(proposal.text, expected, "exact", question)


def _list_agreeing(answer: Answer, own: dict[str, Proposal]) -> list[str]:
    """Return the members whose own answer is the text that was given, or says the same as it."""
    trace, given = answer.trace, answer.text
    models, texts = list(own), [p.text for p in own.values()]
    same = [m for m in models if m == trace.choice and trace.aggregator is None and own[m].text == given]
    run = group_run_code(trace, list(own.values()))
    if run is not None and same:
        chosen = run.group_of[models.index(same[0])]
        return [m for m, g in zip(models, run.group_of, strict=True) if m in same or (g is not None and g == chosen)]
    if not given.strip() or run is not None:
        return same
    groups = group_answers([given, *texts])
    if not groups.closed or groups.group_of[0] is None:
        return same
    return [m for m, g in zip(models, groups.group_of[1:], strict=True) if g == groups.group_of[0]]


def score_given_text(stored: StoredTrace) -> float | None:
    """Return the score of the text that was given, in [0, 1]; None where the feedback says nothing of it."""
    said, trace, text = merge_feedback(stored.feedback), stored.answer.trace, stored.answer.text
    own = _list_own_answers(trace)
    chosen = own.get(trace.choice or "")
    if chosen is not None and trace.aggregator is None and chosen.text == text and chosen.model in said.labels:
        return min(1.0, max(0.0, said.labels[chosen.model]))
    graded = None
    if said.expected is not None and own:
        given = replace(next(iter(own.values())), text=text)
        graded = _grade(given, said.expected, said.grader, trace.query.text)
    return said.score if graded is None else graded
