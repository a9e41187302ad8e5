"""Methods on recorded answers, without any call: each gives a choice and what it would have taken. Pure.

A replay has real answers but nobody who writes: where an aggregator would, the leading answer stands in, and a model
answers in every layer what it once wrote. Judgments are not recorded either; a `SimulatedJudge` may make them.
Tokens are told as `token_counts` says; dollars and seconds where the records hold them, else unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.errors import FailureKind
from routemoa.core.pool import Mixture
from routemoa.core.trace import Assessment, Failure, Layer, Proposal, Trace
from routemoa.core.types import ModelSpec, Query, Scores, Usage
from routemoa.evaluation.ablations import ABLATIONS, ablate
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.rejudging import apply_policy
from routemoa.evaluation.replay import baselines as rivals
from routemoa.evaluation.replay.baselines import MethodResult
from routemoa.evaluation.replay.recorded import JudgedAnswer, SimulatedJudge
from routemoa.evaluation.replay.token_counts import CallTotals, ReplayQuestion, combine_parallel
from routemoa.judging.evidence import JudgeModel
from routemoa.mixture.prompts import ReplyFormat, candidate_labels, neutralize
from routemoa.routing.decision import Decision, failed_models, last_layer_answers, latest_answers
from routemoa.routing.latency import CallEstimates
from routemoa.routing.published import Policy, build_policy

__all__ = ["ALWAYS", "METHODS", "Replay", "SimulatedRun", "simulate"]

OURS = ("routemoa", *(f"routemoa-{name}" for name in ABLATIONS if name != "no-aggregator"))
METHODS = (*OURS, "moa", "smoa", "cascade", "vote-all", "best-single", "fixed-best-3", "random", "shuffled", "oracle")
"""What can be replayed, beside single:NAME. Without an aggregator RouteMoA's replay would be the same."""
ALWAYS = ("best-single", "fixed-best-3", "random", "shuffled", "oracle")
DRAWN = ("random", "shuffled")
KEPT = 3  # answers that SMoA's moderator keeps (arXiv 2601.18130)
NOBODY = "no answer is recorded of any model that was called"


class SimulatedRun(Struct, frozen=True):
    """What a policy did on one record, with its last decision and what that took."""

    trace: Trace
    decision: Decision
    totals: CallTotals
    aggregator: str | None = None

    @property
    def panel(self) -> tuple[str, ...]:
        """Who answered."""
        return tuple(p.model for p in latest_answers(self.trace))


class Replay(Struct, frozen=True):
    """Questions with the priors of a scorer that was trained on others, and what was chosen on those others.

    Attributes:
        members: the models that both scorer and records know.
        priors: a row for each page.
        order: all members, best first on other questions: the best single model leads it, votes break ties by it.
        three: the fixed panel that was chosen there; by default the first three of `order`.
        auc: judges of this reliability score their peers' answers, and their own at the judge's default.
    """

    questions: Sequence[ReplayQuestion]
    members: tuple[str, ...]
    priors: Sequence[Scores]
    order: tuple[str, ...]
    mixture: Mixture = Mixture()
    judge_model: JudgeModel = JudgeModel()
    best_three: tuple[str, ...] = ()
    judge_auc: float | None = None
    dense_layers: int = 3  # of MoA and SMoA, as MoA's authors ran it, whatever limit the mixture sets itself
    keep_texts: bool = False  # outcomes hold the question and the chosen answer

    def restrict_to(self, members: Iterable[str]) -> Replay:
        """The same questions put to fewer models; the fixed panel is then the first three of the order."""
        kept = set(members)
        names = tuple(m for m in self.members if m in kept)
        priors = [{m: p[m] for m in names} for p in self.priors]
        order = tuple(m for m in self.order if m in kept)
        return replace(self, members=names, priors=priors, order=order, best_three=())

    def run(
        self, methods: Iterable[str], seed: int, seeds: int = 1, walks: Sequence[SimulatedRun] | None = None
    ) -> list[Outcome]:
        """Every method on every question. A method that no seed changes has outcomes for the first one alone.

        `walks`, where RouteMoA has been on its way with the first seed already, are not gone again.
        """
        wanted = list(methods)
        out: list[Outcome] = []
        for number in range(seed, seed + seeds):
            first = number == seed
            if walks is None or (self.judge_auc is not None and not first):
                walks = self.simulate_policy("routemoa", number)
            for name in wanted:
                if first or name in DRAWN or (self.judge_auc is not None and (name in OURS or name == "cascade")):
                    out += self._method(name, number, walks, first)
        return out

    def simulate_policy(self, method: str, seed: int) -> list[SimulatedRun]:
        """RouteMoA, or it without a part, on every question."""
        policy: Policy = build_policy(
            [ModelSpec(m, "local", m) for m in self.members], self.mixture, self.judge_model, ()
        )
        if method != "routemoa":
            policy = ablate(method.removeprefix("routemoa-"), policy, self._means())
        judge = self._judge(seed)
        return [
            simulate(policy, p, page, self.mixture, judge) for p, page in zip(self.priors, self.questions, strict=True)
        ]

    def _method(self, name: str, seed: int, walks: Sequence[SimulatedRun], first: bool) -> list[Outcome]:
        if name in OURS:
            walks = walks if name == "routemoa" else self.simulate_policy(name, seed)
            found = [_found(page, done) for page, done in zip(self.questions, walks, strict=True)]
        else:
            rule = self._rule(name, seed, [done.panel for done in walks])
            found = [rule(i, page) for i, page in enumerate(self.questions)]
        return [self._outcome(name, seed, i, f, first) for i, f in enumerate(found)]

    def _rule(
        self, name: str, seed: int, panels: Sequence[tuple[str, ...]]
    ) -> Callable[[int, ReplayQuestion], MethodResult]:
        """How a method other than ours goes about a question."""
        lots = Random(f"{seed}:{name}")  # noqa: S311  (a control, no secret)
        order = self.order
        if name == "random":  # as many calls as RouteMoA's, none for the difficult questions
            drawn = [tuple(lots.sample(self.members, len(p))) for p in lots.sample(panels, len(panels))]
            return lambda i, page: rivals.run_panel(page, drawn[i])
        if name == "shuffled":
            others = lots.sample(panels, len(panels))
            return lambda i, page: rivals.run_panel(page, others[i])
        if name == "cascade":
            dear, judge = self._cheapest_first(), self._judge(seed)
            return lambda i, page: rivals.run_cascade(page, dear, judge)
        same: dict[str, Callable[[ReplayQuestion], MethodResult]] = {
            "moa": lambda page: rivals.run_moa(page, order, self.dense_layers),
            "smoa": lambda page: rivals.run_smoa(page, order, self.dense_layers, KEPT),
            "vote-all": lambda page: rivals.run_panel(page, order),
            "best-single": lambda page: rivals.run_panel(page, order[:1]),
            "fixed-best-3": lambda page: rivals.run_panel(page, self.best_three or order[:3]),
            "oracle": lambda page: rivals.run_oracle(page, order),
        }
        rule = same.get(name) or (lambda page: rivals.run_panel(page, (name.removeprefix("single:"),)))
        return lambda i, page: rule(page)

    def _outcome(self, method: str, seed: int, i: int, found: MethodResult, first: bool) -> Outcome:
        page, choice, spent = self.questions[i], found.choice, found.totals
        record = page.record
        score = record.scores.get(choice) if choice is not None else None
        silent = score is None and (choice is None or choice not in page.texts)
        return Outcome(
            method,
            record.task,
            record.id,
            0.0 if silent else score,
            NOBODY if silent else None,
            spent.calls,
            spent.prompt_tokens,
            spent.completion_tokens,
            spent.cost,
            spent.seconds,
            spent.path_tokens,
            seed,
            query=record.query if self.keep_texts else "",
            reference=record.reference if self.keep_texts else None,
            text=page.texts.get(choice) if self.keep_texts and choice is not None else None,
            layers=found.layers,
            choice=choice,
            aggregator=found.aggregator,
            confidence=found.confidence,
            stop=found.stop,
            prior=self.priors[i] if method in OURS else {},
            model_scores={m: record.scores.get(m) for m in self.members} if first and self.keep_texts else {},
        )

    def _judge(self, seed: int) -> SimulatedJudge | None:
        return None if self.judge_auc is None else SimulatedJudge(self.judge_auc, seed=seed)

    def _means(self) -> Scores:
        """Each model's mean prior: all that the scorer knows without the query."""
        out: Scores = {}
        for m in self.members:
            known = [p for row in self.priors if (p := row.get(m)) is not None]
            out[m] = sum(known) / len(known) if known else None
        return out

    def _cheapest_first(self) -> tuple[str, ...]:
        """By the mean dollars of a call, where they are known of every model, else by the mean tokens it writes."""
        calls = {m: [page.count_proposal(m) for page in self.questions if m in page.texts] for m in self.members}
        costs = {m: [s.cost for s in found if s.cost is not None] for m, found in calls.items()}
        if not all(costs.values()):
            costs = {m: [s.completion_tokens for s in found] for m, found in calls.items()}
        mean = {m: sum(c) / len(c) if c else float("inf") for m, c in costs.items()}
        return tuple(sorted(self.members, key=mean.__getitem__))


def simulate(
    policy: Policy,
    prior: Scores,
    page: ReplayQuestion,
    mixture: Mixture | None = None,
    judge: SimulatedJudge | None = None,
) -> SimulatedRun:
    """A policy on one record, as the engine would go: who is called answers with what it once wrote, or fails."""
    mixture = mixture or Mixture()
    decision = policy.initial(prior, CallEstimates())
    trace = Trace(Query.from_text(page.record.prompt or page.record.query), "routemoa", prior, decision.ranking)
    spent = CallTotals()
    while decision.stop is None:
        layer, took = _layer(page, trace, decision, mixture, judge)
        done = apply_policy(policy, trace, layer)
        trace, decision, spent = done.trace, done.decision, spent + took
    trace = replace(trace, stop_reason=decision.stop, choice=decision.choice)
    if not decision.aggregate or decision.choice is None:
        return SimulatedRun(trace, decision, spent)
    out = failed_models(trace)
    ranked = [r.model for r in decision.ranking if r.model not in out]
    writer = mixture.aggregator if mixture.aggregator in ranked else ranked[0]
    spent += page.count_aggregation(writer, [p.model for p in decision.final_answers], decision.choice)
    return SimulatedRun(trace, decision, spent, writer)


def _layer(
    page: ReplayQuestion, trace: Trace, decision: Decision, mixture: Mixture, judge: SimulatedJudge | None
) -> tuple[Layer, CallTotals]:
    """What happens in a layer, and what it takes. The next as ranked takes the place of one without an answer."""
    out = {
        *decision.models,
        *failed_models(trace),
        *(() if mixture.published else (p.model for p in latest_answers(trace))),
    }
    reserve = [r.model for r in decision.ranking if r.model not in out]
    called = list(decision.models)
    for m in called:  # grows on the way
        if m not in page.texts and reserve:
            called.append(reserve.pop(0))
    answered = [m for m in called if m in page.texts]
    ask = decision.options
    given = last_layer_answers(trace, decision.ranking) if decision.references is None else decision.references
    shown = [p.model for p in given] if ask.quote_answers else []
    spoken = ask.self_assessment and mixture.self_assessment == "spoken"
    asked = ReplyFormat(spoken, candidate_labels(len(shown)) if ask.cross_assessment else ())
    judged = [a for m in answered for a in _judgments(page, m, shown, asked, judge)] if judge else []
    layer = Layer(
        decision.models,
        tuple(_said(page, m) for m in answered),
        tuple(
            Failure(m, "no answer is recorded", FailureKind.OTHER, Usage(), None, None)
            for m in called
            if m not in answered
        ),
        tuple(judged),
        why=decision.why,
        quoted={m: tuple(shown) for m in called} if shown else {},
    )
    return layer, combine_parallel(page.count_proposal(m, shown, asked) for m in called)


def _said(page: ReplayQuestion, model: str) -> Proposal:
    one = page.count_proposal(model)
    return Proposal(model, page.texts[model], Usage(None, int(one.completion_tokens)), one.seconds, one.cost)


def _judgments(
    page: ReplayQuestion, by: str, shown: Sequence[str], asked: ReplyFormat, judge: SimulatedJudge
) -> Iterable[Assessment]:
    """The judgments in a reply, as routemoa.testing.RecordedClient would put them there."""
    record = page.record
    if asked.self_score:
        own = judge.score(by, record.id, JudgedAnswer(by, page.texts[by], record.scores.get(by)))
        yield Assessment(by, by, "self", own)
    for m in shown if asked.peers else ():
        if m != by:
            verdict = JudgedAnswer(m, neutralize(page.texts[m].strip()), record.scores.get(m))
            yield Assessment(by, m, "cross", judge.score(by, record.id, verdict))


def _found(page: ReplayQuestion, done: SimulatedRun) -> MethodResult:
    trace, choice = done.trace, done.decision.choice
    return MethodResult(
        choice,
        done.totals,
        tuple((*(p.model for p in layer.proposals), *(f.model for f in layer.failures)) for layer in trace.layers),
        trace.stop_reason or "",
        done.aggregator,
        done.decision.scores.get(choice) if choice is not None else None,
    )
