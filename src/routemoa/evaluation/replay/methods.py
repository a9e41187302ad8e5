"""Run methods on recorded questions, without any call: each gives an outcome with what its calls would take. Pure.

Where a method has an aggregator, the leading answer stands in for it: a replay has real answers but no model that
writes. Tokens are counted by `token_counts`; dollars and seconds are known where the records or list prices hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.system.task_engine import LocalEngine, TaskEngine
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import ModelSpec, Scores
from routemoa.evaluation.ablations import ABLATIONS, ablate
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay import baselines
from routemoa.evaluation.replay.baselines import MethodResult
from routemoa.evaluation.replay.recorded import SimulatedJudge
from routemoa.evaluation.replay.simulator import SimulatedRun, simulate
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.policy import Policy, build_policy

__all__ = ["ALWAYS", "METHODS", "ROUTERS", "Replay"]

OURS = ("routemoa", *(f"routemoa-{name}" for name in ABLATIONS if name != "no-aggregator"))
METHODS = (*OURS, "moa", "smoa", "cascade", "vote-all", "best-single", "fixed-best-3", "random", "shuffled", "oracle")
"""What can be replayed besides single:NAME. Without an aggregator, RouteMoA's replay would be the same."""
ROUTERS = ("scorer", "knn", "cluster-lookup", "task-lookup")
"""Routers, which call one model: the scorer's first choice, and what is compared with it. `knn` and `cluster-lookup`
need the scores of the training questions, which the scorer's folder keeps."""
ALWAYS = ("best-single", "fixed-best-3", "random", "shuffled", "oracle")
"""Baselines that every study has."""
SEEDED = ("random", "shuffled")
"""Baselines whose results depend on the seed."""
MODERATOR_KEEPS = 3
"""Answers that SMoA's moderator keeps (arXiv 2601.18130)."""
NO_RECORDED_ANSWER = "no answer is recorded of any model that was called"
"""The failure of an outcome."""


class SeedJob(Struct, frozen=True):
    """The part of a replay that one seed is."""

    methods: Sequence[str]
    seed: int
    is_first: bool
    panels: Sequence[tuple[str, ...]] | None = None
    """RouteMoA's, one for each question, where they do not depend on the seed and are known."""


class Replay(Struct, frozen=True):
    """Recorded questions, with what a scorer learned on other questions."""

    questions: Sequence[ReplayQuestion]
    members: tuple[str, ...]
    """The models that both the scorer and the records know."""
    priors: Sequence[Scores]
    """The scorer's estimates, one row for each question."""
    order: tuple[str, ...]
    """The members, best first on the other questions: its first is the best single model; it breaks ties of votes."""
    mixture: Mixture = Mixture()
    judge_model: JudgeModel = JudgeModel()
    best_three: tuple[str, ...] = ()
    """The best panel of three on the other questions; the first three of `order` where empty."""
    judge_auc: float | None = None
    """Simulate judges with this AUC on their peers' answers; None simulates none."""
    dense_layers: int = 3
    """Layers of MoA and SMoA, as MoA's authors ran it, whatever the mixture's own limit."""
    routers: Mapping[str, Sequence[Scores]] = {}
    """Router -> its value of each model, one row for each question; the model with the highest is called."""
    keep_texts: bool = False
    """Outcomes hold the question, the chosen answer and the models' scores."""

    def missing_routers(self, methods: Iterable[str]) -> list[str]:
        """Return the routers among methods that nothing is known of."""
        return [m for m in methods if m in ROUTERS and m != "scorer" and m not in self.routers]

    def restrict_to(self, members: Iterable[str]) -> Replay:
        """Return the replay with fewer members; its fixed panel is the first three of the order."""
        kept = set(members)
        names = tuple(m for m in self.members if m in kept)
        priors = [{m: row[m] for m in names} for row in self.priors]
        order = tuple(m for m in self.order if m in kept)
        return replace(self, members=names, priors=priors, order=order, best_three=())

    def run(
        self,
        methods: Iterable[str],
        seed: int,
        seeds: int = 1,
        runs: Sequence[SimulatedRun] | None = None,
        engine: TaskEngine = LocalEngine(),  # noqa: B008  (it holds nothing)
    ) -> list[Outcome]:
        """Return the outcome of every method on every question.

        A method that does not depend on the seed has outcomes for the first seed only. Where judges are simulated, each
        seed is a part of its own, on which the engine may work at the same time. `runs` are RouteMoA's runs with the
        first seed, where they are simulated already.
        """
        names = list(methods)
        first, later = SeedJob(names, seed, True), range(seed + 1, seed + seeds)
        if runs is None and self.judge_auc is not None:
            jobs = [first, *(SeedJob(names, number, False) for number in later)]
            return [outcome for part in engine.map(_run_seed, self, jobs) for outcome in part]
        runs = self.simulate_policy("routemoa", seed) if runs is None else runs
        panels = None if self.judge_auc is not None else [run.panel for run in runs]
        jobs = [SeedJob(names, number, False, panels) for number in later]
        outcomes = self._run_seed(first, runs)
        return outcomes + [outcome for part in engine.map(_run_seed, self, jobs) for outcome in part]

    def _run_seed(self, job: SeedJob, runs: Sequence[SimulatedRun] | None = None) -> list[Outcome]:
        """Return the outcomes of one seed; `runs` are RouteMoA's, where they are simulated already."""
        panels = job.panels
        if panels is None:
            runs = self.simulate_policy("routemoa", job.seed) if runs is None else runs
            panels = [run.panel for run in runs]
        outcomes: list[Outcome] = []
        for name in job.methods:
            uses_judges = self.judge_auc is not None and (name in OURS or name == "cascade")
            if job.is_first or name in SEEDED or uses_judges:
                outcomes += self._run_method(name, job, runs or (), panels)
        return outcomes

    def simulate_policy(self, method: str, seed: int) -> list[SimulatedRun]:
        """Simulate RouteMoA, or one of its ablations, on every question."""
        specs = [ModelSpec(m, "local", m) for m in self.members]
        policy: Policy = build_policy(specs, self.mixture, self.judge_model, ())
        if method != "routemoa":
            policy = ablate(method.removeprefix("routemoa-"), policy, self._mean_priors())
        judge = self._simulated_judge(seed)
        return [
            simulate(policy, prior, question, self.mixture, judge)
            for prior, question in zip(self.priors, self.questions, strict=True)
        ]

    def _run_method(
        self, name: str, job: SeedJob, runs: Sequence[SimulatedRun], panels: Sequence[tuple[str, ...]]
    ) -> list[Outcome]:
        if name in OURS:
            runs = runs if name == "routemoa" else self.simulate_policy(name, job.seed)
            results = [_method_result(run) for run in runs]
        else:
            baseline = self._baseline(name, job.seed, panels)
            results = [baseline(i, question) for i, question in enumerate(self.questions)]
        return [self._outcome(name, job.seed, i, result, job.is_first) for i, result in enumerate(results)]

    def _baseline(
        self, name: str, seed: int, panels: Sequence[tuple[str, ...]]
    ) -> Callable[[int, ReplayQuestion], MethodResult]:
        """Return the function that runs a baseline on a question, given its index; `panels` are RouteMoA's."""
        rng = Random(f"{seed}:{name}")  # noqa: S311  (a control, no secret)
        order = self.order
        if name == "random":  # as many calls as RouteMoA's, but not more for difficult questions
            sampled = [tuple(rng.sample(self.members, len(p))) for p in rng.sample(panels, len(panels))]
            return lambda i, question: baselines.run_panel(question, sampled[i])
        if name == "shuffled":
            shuffled = rng.sample(panels, len(panels))
            return lambda i, question: baselines.run_panel(question, shuffled[i])
        if name == "cascade":
            cheapest_first, judge = self._cheapest_first(), self._simulated_judge(seed)
            return lambda i, question: baselines.run_cascade(question, cheapest_first, judge)
        if name in ROUTERS:
            values = self.priors if name == "scorer" else self.routers[name]
            return lambda i, question: baselines.run_panel(question, (self._choose_first(values[i]),))
        fixed: dict[str, Callable[[ReplayQuestion], MethodResult]] = {
            "moa": lambda question: baselines.run_moa(question, order, self.dense_layers),
            "smoa": lambda question: baselines.run_smoa(question, order, self.dense_layers, MODERATOR_KEEPS),
            "vote-all": lambda question: baselines.run_panel(question, order),
            "best-single": lambda question: baselines.run_panel(question, order[:1]),
            "fixed-best-3": lambda question: baselines.run_panel(question, self.best_three or order[:3]),
            "oracle": lambda question: baselines.run_oracle(question, order),
        }
        run = fixed.get(name) or (lambda question: baselines.run_panel(question, (name.removeprefix("single:"),)))
        return lambda i, question: run(question)

    def _choose_first(self, values: Scores) -> str:
        """Return the member with the highest value, of equals the best on the other questions."""
        return max(self.order, key=lambda m: value if (value := values.get(m)) is not None else -1.0)

    def _outcome(self, method: str, seed: int, index: int, result: MethodResult, is_first: bool) -> Outcome:
        question, choice, totals = self.questions[index], result.choice, result.totals
        record = question.record
        score = record.scores.get(choice) if choice is not None else None
        is_failure = score is None and (choice is None or choice not in question.texts)
        return Outcome(
            method,
            record.task,
            record.id,
            0.0 if is_failure else score,
            failure=NO_RECORDED_ANSWER if is_failure else None,
            calls=totals.calls,
            prompt_tokens=totals.prompt_tokens,
            completion_tokens=totals.completion_tokens,
            cost=totals.cost,
            seconds=totals.seconds,
            path_tokens=totals.path_tokens,
            seed=seed,
            query=record.query if self.keep_texts else "",
            reference=record.reference if self.keep_texts else None,
            text=question.texts.get(choice) if self.keep_texts and choice is not None else None,
            layers=result.layers,
            choice=choice,
            aggregator=result.aggregator,
            confidence=result.confidence,
            stop=result.stop,
            prior=self.priors[index] if method in OURS else {},
            model_scores={m: record.scores.get(m) for m in self.members} if is_first and self.keep_texts else {},
        )

    def _simulated_judge(self, seed: int) -> SimulatedJudge | None:
        return None if self.judge_auc is None else SimulatedJudge(self.judge_auc, seed=seed)

    def _mean_priors(self) -> Scores:
        """Return each model's mean prior: what the scorer knows without the query."""
        means: Scores = {}
        for model in self.members:
            known = [p for row in self.priors if (p := row.get(model)) is not None]
            means[model] = sum(known) / len(known) if known else None
        return means

    def _cheapest_first(self) -> tuple[str, ...]:
        """Return the members by mean dollars of a call where known for every model, else by mean output tokens."""
        calls = {
            m: [question.count_proposal(m) for question in self.questions if m in question.texts] for m in self.members
        }
        costs = {m: [call.cost for call in own if call.cost is not None] for m, own in calls.items()}
        if not all(costs.values()):
            costs = {m: [call.completion_tokens for call in own] for m, own in calls.items()}
        means = {m: sum(own) / len(own) if own else float("inf") for m, own in costs.items()}
        return tuple(sorted(self.members, key=means.__getitem__))


def _run_seed(replay: Replay, job: SeedJob) -> list[Outcome]:
    """Return the outcomes of one seed: what an engine works on."""
    return replay._run_seed(job)


def _method_result(run: SimulatedRun) -> MethodResult:
    trace, choice = run.trace, run.decision.choice
    return MethodResult(
        choice,
        run.totals,
        tuple((*(p.model for p in layer.proposals), *(f.model for f in layer.failures)) for layer in trace.layers),
        trace.stop_reason or "",
        run.aggregator,
        run.decision.scores.get(choice) if choice is not None else None,
    )
