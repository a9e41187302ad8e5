"""The fusions that are attacked: the two published ones, and ours with three judge models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from cases import Case, RecordedPool, sample_cases

from routemoa.core.tables.mixture_table import Fusion, Mixture
from routemoa.core.trace import Trace
from routemoa.core.types import ModelSpec
from routemoa.judging.answers.grouping import final_answer
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.latency import CallEstimates
from routemoa.routing.policy import Policy, build_policy
from routemoa.training.judge import GradedPanel, build_graded_panel, fit_judge_model

__all__ = ["FUSIONS", "build_policies", "choose", "fit_judge_models", "published_fusion"]

FUSIONS = ("published-small", "published-large", "ours", "ours, fitted", "ours, consensus")


def fit_judge_models(pool: RecordedPool, form: str, seeds: int) -> dict[str, JudgeModel]:
    """Return ours: without knowledge, fitted on graded traces, and with reliabilities learned from consensus alone."""
    graded: list[GradedPanel] = []
    by_consensus: list[GradedPanel] = []
    for case in sample_cases(pool, pool.train, range(seeds)):
        trace = case.trace(case.honest_scores(), form)
        graded.append(build_graded_panel(trace, case.truth))
        by_consensus.append(build_graded_panel(trace, _majority_scores(trace)))
    learned = fit_judge_model(by_consensus)
    consensus = JudgeModel(peer_judges=learned.peer_judges, self_judges=learned.self_judges)
    return {"ours": JudgeModel(), "ours, fitted": fit_judge_model(graded), "ours, consensus": consensus}


def _majority_scores(trace: Trace) -> dict[str, float | None]:
    """Score answers 1 in the only largest group of two or more, else 0; None where there is no such group."""
    results = {p.model: final_answer(p.text) for p in trace.layers[-1].proposals}
    counts = Counter(r for r in results.values() if r).most_common(2)
    if not counts or counts[0][1] < 2 or (len(counts) > 1 and counts[1][1] == counts[0][1]):
        return dict.fromkeys(results)
    return {m: float(r == counts[0][0]) for m, r in results.items()}


def published_fusion(name: str) -> Fusion:
    """Return the published fusion of this name."""
    return "published-small" if "small" in name else "published-large"


def build_policies(case: Case, judge_models: Mapping[str, JudgeModel]) -> dict[str, Policy]:
    """Return a policy for each of FUSIONS."""
    specs = tuple(ModelSpec(m, "local", m, prior=case.pool.prior[m]) for m in case.panel)
    policies: dict[str, Policy] = {}
    for name in FUSIONS:
        fusion: Fusion = "adaptive" if name in judge_models else published_fusion(name)
        mixture = Mixture(fusion=fusion, later_layers="refine")
        policies[name] = build_policy(specs, mixture, judge_models.get(name, JudgeModel()), ())
    return policies


def choose(policy: Policy, trace: Trace) -> str:
    """Return the model chosen after the last layer; the best-ranked that answered where the policy would continue."""
    decision = policy.update(trace, CallEstimates())
    answered = {p.model for layer in trace.layers for p in layer.proposals}
    return decision.choice or next(r.model for r in decision.ranking if r.model in answered)
