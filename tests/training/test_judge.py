"""Fitting a judge model: the parameters of simulated panels are recovered, and unknown judgments teach nothing."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Assessment, Layer, Proposal, Trace
from routemoa.core.types import ModelSpec, Query
from routemoa.core.usage import Usage
from routemoa.datasets.records import Record
from routemoa.evaluation.replay.recorded import JudgedAnswer, SimulatedJudge
from routemoa.judging.answers.grouping import Groups
from routemoa.judging.evidence import collect_signals, signal_log_odds
from routemoa.judging.judge_model import (
    Coefficients,
    JudgeModel,
    Reliability,
    encode_judge_model,
    read_judge_model,
)
from routemoa.judging.pool_judge import load_pool_judge
from routemoa.judging.posterior import ErrorCorrelation, Vote, infer
from routemoa.routing.policies.adaptive import AdaptivePolicy
from routemoa.training.judge import (
    GradedPanel,
    build_graded_panel,
    build_graded_panels,
    collect_signal_pairs,
    describe_judge_model,
    fit_error_correlation,
    fit_judge_model,
    measure_signals,
)

MODELS = tuple("abcdefgh")
PRIORS = dict(zip(MODELS, (0.8, 0.7, 0.65, 0.6, 0.5, 0.45, 0.4, 0.3), strict=True))


def wrong_answers(rng: Random, count: int, concentration: float) -> list[int]:
    """Draw the groups of wrong answers by a Chinese restaurant process."""
    tables: list[int] = []
    for n in range(count):
        new = rng.random() < concentration / (concentration + n)
        tables.append(max(tables, default=0) + 1 if new else rng.choice(tables))
    return tables


def make_panel(
    rng: Random,
    difficulty_sd: float,
    concentration: float,
    members: tuple[str, ...] = MODELS,
    copies: tuple[str, str] | None = None,
) -> GradedPanel:
    """Simulate the model of routemoa.judging.posterior; the first of `copies` answers as the second does."""
    easy = rng.gauss(0, difficulty_sd)
    right = []
    for m in members:
        ability = math.log(PRIORS[m] / (1 - PRIORS[m])) * math.sqrt(1 + 0.346 * difficulty_sd**2)
        right.append(rng.random() < 1 / (1 + math.exp(-ability - easy)))
    tables = iter(wrong_answers(rng, len(members), concentration))
    groups = [0 if y else next(tables) for y in right]
    if copies:
        one, other = (members.index(m) for m in copies)
        groups[one], right[one] = groups[other], right[other]
    number = {g: i for i, g in enumerate(dict.fromkeys(groups))}
    found = Groups(tuple(number[g] for g in groups), True, (None,) * len(members))
    return GradedPanel(PRIORS, members, found, tuple(map(float, right)), (), (False,) * len(members))


def make_panels(
    n: int, difficulty_sd: float = 1.5, concentration: float = 5.0, size: int = 8, seed: int = 0
) -> list[GradedPanel]:
    rng = Random(seed)
    return [make_panel(rng, difficulty_sd, concentration, tuple(sorted(rng.sample(MODELS, size)))) for _ in range(n)]


def add_judgments(
    data: list[GradedPanel], judges: dict[str, SimulatedJudge], own: float | None = None
) -> list[GradedPanel]:
    """Add each judge's scores of the other models' answers, and of its own where `own` is its reliability."""
    out: list[GradedPanel] = []
    for i, one in enumerate(data):
        given: list[Assessment] = []
        for m, g, y in zip(one.models, one.groups.group_of, one.right, strict=True):
            text = f"{m}{g}"
            for name, judge in judges.items():
                if name != m:
                    given.append(Assessment(name, m, "cross", judge.score(name, f"q{i}", JudgedAnswer(m, text, y))))
            if own is not None:
                itself = SimulatedJudge(self_auc=own)
                given.append(Assessment(m, m, "self", itself.score(m, f"q{i}", JudgedAnswer(m, text, y))))
        out.append(replace(one, assessments=tuple(given)))
    return out


@pytest.mark.parametrize("difficulty_sd", [0.0, 1.5, 2.5])
def test_the_spread_of_difficulty_is_recovered(difficulty_sd: float) -> None:
    assert fit_error_correlation(make_panels(500, difficulty_sd)).difficulty_sd == pytest.approx(difficulty_sd, abs=0.3)


@pytest.mark.parametrize("concentration", [2.0, 6.0, 20.0])
def test_the_error_concentration_is_recovered(concentration: float) -> None:
    assert fit_error_correlation(make_panels(500, concentration=concentration)).error_concentration == pytest.approx(
        concentration, rel=0.25
    )


def test_correlated_pairs_are_found_and_no_others() -> None:
    assert fit_error_correlation(make_panels(500)).pairwise_error_correlation == {}
    rng = Random(1)
    found = fit_error_correlation(
        [make_panel(rng, 1.5, 5.0, copies=("b", "g")) for _ in range(500)]
    ).pairwise_error_correlation
    assert list(found) == ["b|g"]
    assert 0.6 < found["b|g"] <= 1
    few = fit_error_correlation(
        [make_panel(rng, 1.5, 5.0, copies=("b", "g")) for _ in range(20)]
    ).pairwise_error_correlation
    assert few == {}  # too few to say


def test_without_data_everything_is_at_its_default() -> None:
    learned = fit_judge_model([])
    assert learned == JudgeModel()
    assert fit_judge_model(make_panels(3)).correlation.difficulty_sd == pytest.approx(1.5, abs=0.5)
    assert measure_signals(collect_signal_pairs([], learned))["posterior"] == {"ece": None, "brier": None, "auc": None}


def test_the_reliability_of_judges_is_recovered() -> None:
    judges = {"a": SimulatedJudge(0.9), "b": SimulatedJudge(0.5), "c": SimulatedJudge(0.7), "d": SimulatedJudge(0.2)}
    learned = fit_judge_model(add_judgments(make_panels(200), judges))
    weights = {m: r.weight for m, r in learned.peer_judges.items()}
    assert weights == pytest.approx({"a": 0.8, "b": 0.0, "c": 0.4, "d": 0.0}, abs=0.08)
    assert learned.self_judges == {}
    assert learned.peer_judges["a"].bias == pytest.approx(0.5, abs=0.1)
    inflated = fit_judge_model(add_judgments(make_panels(200), {}, own=0.8))
    assert inflated.peer_judges == {}
    assert set(inflated.self_judges) == set(MODELS)
    assert all((r.bias or 0) > 0.6 for r in inflated.self_judges.values())  # as simulated
    assert inflated.self_judges["a"].weight == pytest.approx(0.6, abs=0.15)


def test_missing_judgments_teach_nothing() -> None:
    data, start = make_panels(150, size=4), Coefficients()
    learned = fit_judge_model(data)
    assert (learned.peer_judges, learned.self_judges) == ({}, {})
    got = learned.coefficients
    assert (got.verbalized, got.cross, got.similarity, got.informed_vote) == (
        start.verbalized,
        start.cross,
        start.similarity,
        start.informed_vote,
    )
    unread = [
        replace(one, assessments=(Assessment("a", "b", "cross", None), Assessment("a", "a", "self", None)))
        for one in data
    ]
    assert fit_judge_model(unread) == learned


def test_ungraded_answers_do_not_count_as_wrong() -> None:
    data = make_panels(600, size=4)
    rng = Random(2)
    hidden = [replace(one, right=tuple(None if rng.random() < 0.3 else y for y in one.right)) for one in data]
    full, part = fit_judge_model(data).coefficients, fit_judge_model(hidden).coefficients
    assert part.constant == pytest.approx(full.constant, abs=0.3)
    assert part.votes == pytest.approx(full.votes, abs=0.25)
    nothing = [replace(one, right=(None,) * 4) for one in data]
    assert fit_judge_model(nothing) == JudgeModel(correlation=fit_error_correlation(nothing))


def test_ungraded_answers_to_open_questions_count_neither_way() -> None:
    open_ = Groups((0, 1), False, (0.3, 0.3))
    data = [GradedPanel({"a": 0.5, "b": 0.5}, ("a", "b"), open_, (1.0, None), (), (False, False))] * 50
    assert fit_judge_model(data).coefficients.constant > 0.2  # all that was graded was right
    assert measure_signals(collect_signal_pairs(data, fit_judge_model(data)))["posterior"]["brier"] is not None


@pytest.mark.parametrize("reliability", [None, 0.75])
def test_the_posterior_is_calibrated_on_the_other_half_and_tells_more_than_each_signal(
    reliability: float | None,
) -> None:
    data = make_panels(1200, size=4)
    if reliability is not None:
        data = add_judgments(data, dict.fromkeys("abcd", SimulatedJudge(reliability)), own=0.65)
    learned = fit_judge_model(data[::2])
    found = measure_signals(collect_signal_pairs(data[1::2], learned))
    ece = found["posterior"]["ece"]
    assert ece is not None
    assert ece < 0.05
    auc = {name: f["auc"] for name, f in found.items() if f["auc"] is not None}
    assert len(auc) == (3 if reliability is None else 5)
    assert all(auc["posterior"] > value for name, value in auc.items() if name != "posterior")


def test_uninformative_judges_get_no_weight() -> None:
    data = make_panels(400, size=4)
    good = fit_judge_model(add_judgments(data, dict.fromkeys("abcd", SimulatedJudge(0.8))))
    useless = fit_judge_model(add_judgments(data, dict.fromkeys("abcd", SimulatedJudge(0.5))))
    assert all(r.weight < 0.1 for r in useless.peer_judges.values())
    assert all(r.weight > 0.4 for r in good.peer_judges.values())


def test_the_measured_posterior_is_that_of_the_policy() -> None:
    """The regression's probabilities are those of routemoa.judging.posterior with the learned coefficients."""
    priors = {"a": 0.7, "b": 0.6, "c": 0.5}
    given = (
        Assessment("a", "a", "self", 0.9),
        Assessment("b", "b", "self", 0.2),
        Assessment("c", "a", "cross", 0.8),
        Assessment("c", "b", "cross", 0.3),
        Assessment("b", "a", "cross", 0.6),
        Assessment("b", "c", "cross", 0.5),
    )
    proposals = tuple(
        Proposal(m, t, Usage(), None, None) for m, t in (("a", "4"), ("b", "5"), ("c", "The answer is 4."))
    )
    layers = (
        Layer(proposals=proposals[:2]),
        Layer(proposals=proposals[2:], assessments=given, quoted={"c": ("a", "b")}),
    )
    trace = Trace(Query.from_text("?"), "routemoa", dict(priors), layers=layers)
    judging = JudgeModel(
        Coefficients(constant=0.2, votes=0.6, verbalized=1.5, logprob=1.0, cross=2.0, informed_vote=0.25),
        ErrorCorrelation(1.0, 4.0),
        self_judges={"a": Reliability(0.6, 0.5)},
    )
    specs = tuple(ModelSpec(m, "local", m) for m in priors)
    for name in ("spoken", "logprob"):
        state = AdaptivePolicy(specs, Mixture(self_assessment=name), judging, frozenset()).read_panel(trace)
        graded = build_graded_panel(trace, {"a": 1.0, "b": 0.0, "c": 1.0})
        assert graded.had_context == (False, False, True)
        found = measure_signals(collect_signal_pairs([graded], judging, verbalized=name == "spoken"))["posterior"]
        p, q = state.posterior.probabilities
        assert found["brier"] == pytest.approx((2 * (1 - p) ** 2 + q**2) / 3, abs=1e-5)


def test_signals_move_the_posterior_by_their_coefficients() -> None:
    groups = Groups((0, 1), True, (None, None))
    judgments = (Assessment("c", "a", "cross", 0.9), Assessment("c", "b", "cross", 0.1))
    judging = JudgeModel()
    found = collect_signals(("a", "b"), groups, judgments, judging)
    odds = [signal_log_odds(f, judging, verbalized=True) for f in found]
    assert odds[0] > 0 > odds[1]
    votes = [Vote("a", 0.6, 0), Vote("b", 0.6, 1)]
    plain, moved = infer(votes, ErrorCorrelation()), infer(votes, ErrorCorrelation(), odds)
    assert moved.probabilities[0] > plain.probabilities[0] > moved.probabilities[1]


def test_records_become_panels_whose_prior_is_the_mean_score() -> None:
    records = [
        Record("1", "t", "q", {"a": 1.0, "b": 0.0, "c": None}, responses={"a": "4", "b": "5", "c": "6"}),
        Record("2", "t", "r", {"a": 1.0, "b": None}, responses={"a": "4", "b": "5"}),  # one graded answer says little
    ]
    (one,) = build_graded_panels(records)
    assert one.models == ("a", "b")
    assert one.right == (1.0, 0.0)
    assert one.prior == pytest.approx({"a": 3 / 4, "b": 1 / 3, "c": 1 / 2})
    assert build_graded_panels([]) == []


def test_a_fitted_judge_model_survives_its_file(tmp_path: Path) -> None:
    learned = fit_judge_model(
        add_judgments(make_panels(60), {"a": SimulatedJudge(0.8), "b": SimulatedJudge(0.6)}, own=0.6)
    )
    learned = replace(
        learned, correlation=ErrorCorrelation(1.25, 4.5, {"a|b": 0.5}), fitted={"traces": 60, "ece": 0.03}
    )
    file = tmp_path / "judge.json"
    file.write_bytes(encode_judge_model(learned))
    assert read_judge_model(file) == learned
    assert read_judge_model(file) == load_pool_judge(Pool((), judge=file))
    assert load_pool_judge(Pool(())) == JudgeModel()
    lines = describe_judge_model(learned)
    assert any("votes" in line for line in lines)
    assert "errors of a and b are correlated: 0.50" in lines


def test_a_judge_model_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone.json: cannot be read: .*routemoa judge fit"):
        read_judge_model(tmp_path / "gone.json")
    for bad in (b"", b"[]", b'{"judges": 3}', b"\xff"):
        (tmp_path / "bad.json").write_bytes(bad)
        with pytest.raises(ConfigError, match=r"bad.json: not a judge"):
            read_judge_model(tmp_path / "bad.json")
