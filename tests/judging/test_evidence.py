"""Evidence from judges: bounded, absent where nothing was said, and not to be gamed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.trace import Assessment
from routemoa.judging.answers.grouping import Groups
from routemoa.judging.evidence import Signals, collect_signals, credit_self_assessment, estimate_reliability, signal_log_odds
from routemoa.judging.judge_model import JudgeModel, Reliability

MODELS = "abcde"
UNKNOWN = JudgeModel()
KNOWN = JudgeModel(
    peer_judges={m: Reliability(0.6, 0.5) for m in "abcd"}, self_judges={m: Reliability(0.8, 0.4) for m in "abcd"}
)


def make_groups(of: list[int | None]) -> Groups:
    """Groups numbered by first appearance, as `group` numbers them."""
    place = {g: i for i, g in enumerate(dict.fromkeys(g for g in of if g is not None))}
    return Groups(tuple(None if g is None else place[g] for g in of), True, (None,) * len(of))


probability = st.floats(0, 1)
maybe = st.none() | probability
judge_models = st.sampled_from([UNKNOWN, KNOWN])
groupings = st.lists(st.none() | st.integers(0, 4), min_size=5, max_size=5).map(make_groups)
tables = st.dictionaries(st.tuples(st.sampled_from(MODELS), st.sampled_from(MODELS)), maybe)

ALONE = make_groups([0, 1, 2, 3, 4])


def assessments(table: Mapping[tuple[str, str], float | None]) -> list[Assessment]:
    return [Assessment(j, m, "self" if j == m else "cross", v) for (j, m), v in table.items()]


def cross_signals(
    table: Mapping[tuple[str, str], float | None], judge_model: JudgeModel = UNKNOWN, groups: Groups = ALONE
) -> list[float | None]:
    return [s.cross_assessment for s in collect_signals(MODELS, groups, assessments(table), judge_model)]


def score_table(**rows: str) -> dict[tuple[str, str], float | None]:
    """rows: a="-9111" is judge a's scores of a, b, ... in tenths; "-" is none."""
    return {(j, m): int(c) / 9 for j, row in rows.items() for m, c in zip(MODELS, row, strict=True) if c != "-"}


HONEST = score_table(a="-2316", b="8-228", c="91-27", d="823-6", e="7312-")  # all think a is good, and e rather


@given(tables, groupings, judge_models, st.dictionaries(st.sampled_from(MODELS), maybe))
def test_a_view_of_ones_own_answer_never_changes_a_peers_view(
    table: dict[tuple[str, str], float | None], groups: Groups, judge_model: JudgeModel, own: dict[str, float | None]
) -> None:
    before = cross_signals({k: v for k, v in table.items() if k[0] != k[1]}, judge_model, groups)
    assert cross_signals({**table, **{(m, m): v for m, v in own.items()}}, judge_model, groups) == before


@given(tables, groupings, probability)
def test_an_unknown_judge_with_one_score_for_all_changes_nothing(
    table: dict[tuple[str, str], float | None], groups: Groups, score: float
) -> None:
    others = {k: v for k, v in table.items() if k[0] != "e"}
    constant = {("e", m): score for m in "abcd"}
    assert cross_signals({**others, **constant}, UNKNOWN, groups) == cross_signals(others, UNKNOWN, groups)


@given(tables, groupings, judge_models)
def test_evidence_is_bounded(table: dict[tuple[str, str], float | None], groups: Groups, judge_model: JudgeModel) -> None:
    c = judge_model.coefficients
    for found in collect_signals(MODELS, groups, assessments(table), judge_model):
        assert found.self_assessment is None or -1 <= found.self_assessment <= 1
        assert found.cross_assessment is None or -1 <= found.cross_assessment <= 1
        for verbalized in (True, False):
            most = abs(c.constant) + c.cross + c.similarity + max(c.verbalized, c.logprob)
            assert abs(signal_log_odds(found, judge_model, verbalized=verbalized)) <= most + 1e-9


@given(st.dictionaries(st.tuples(st.sampled_from(MODELS), st.sampled_from(MODELS)), st.none()), groupings, judge_models)
def test_what_could_not_be_read_is_absent(table: dict[tuple[str, str], None], groups: Groups, judge_model: JudgeModel) -> None:
    for found in collect_signals(MODELS, groups, assessments(table), judge_model):
        assert found == Signals()
        assert signal_log_odds(found, judge_model, verbalized=True) == judge_model.coefficients.constant


@given(tables, groupings, judge_models)
def test_the_order_of_the_judgments_does_not_matter(
    table: dict[tuple[str, str], float | None], groups: Groups, judge_model: JudgeModel
) -> None:
    for x, y in zip(cross_signals(table, judge_model, groups), cross_signals(dict(reversed(table.items())), judge_model, groups), strict=True):
        assert x == y or (x is not None and y is not None and math.isclose(x, y, abs_tol=1e-12))


def test_peers_scores_count() -> None:
    a, b, c, d, e = (x or 0.0 for x in cross_signals(HONEST))
    assert a > e > 0 > max(b, c, d)


def test_the_later_judgment_counts() -> None:
    again = assessments({("b", "a"): 0.0, ("b", "c"): 1.0}) + assessments({("b", "a"): 1.0, ("b", "c"): 0.0})
    found = collect_signals(MODELS, ALONE, again, UNKNOWN)
    assert found[0].cross_assessment == -(found[2].cross_assessment or 0.0) > 0


def test_a_single_score_needs_a_judge_that_is_known() -> None:
    assert cross_signals({("b", "a"): 0.9})[0] is None
    assert cross_signals({("b", "a"): 0.9}, KNOWN)[0] == pytest.approx(0.3 * 0.5 / 1.5)


def test_verbalized_praise_of_oneself_does_not_count_and_doubt_does() -> None:
    assert credit_self_assessment(0.4, verbalized=True) == 0.0
    assert credit_self_assessment(-0.4, verbalized=True) == -0.4
    assert credit_self_assessment(0.4, verbalized=False) == 0.4  # a log-probability is not said
    assert credit_self_assessment(None, verbalized=True) is None


@pytest.mark.parametrize("known", [UNKNOWN, KNOWN])
def test_low_scores_for_all_others_move_no_answer_past_another(judge_model: JudgeModel) -> None:
    signals = collect_signals(MODELS, ALONE, assessments({**HONEST, **score_table(b="0-000")}), judge_model)
    values = [x.cross_assessment or 0.0 for x in signals]
    assert values[0] == max(values)
    assert values[1] < values[4]


def test_two_judges_that_praise_each_other_are_not_believed() -> None:
    colluding = {**HONEST, **score_table(b="0-900", c="09-00")}
    a, b, c, _, e = (x or 0.0 for x in cross_signals(colluding))
    assert a > e > max(b, c)


def test_a_favour_that_is_not_returned_is_a_judgment() -> None:
    assert cross_signals({**HONEST, **score_table(b="0-900")}) != cross_signals({**HONEST, **score_table(b="0--00")})


def test_a_judge_that_puts_another_answer_above_its_own_counts_less() -> None:
    orders = score_table(a="-0900", b="0-900", d="009-0", e="0090-")  # four obey what stands in c's answer
    alone = cross_signals(orders)[2] or 0.0
    agreed = cross_signals(orders, groups=make_groups([0, 0, 1, 0, 0]))[1]  # what they say themselves, they all score with 0
    assert agreed is not None
    assert 0 < agreed < 0.6 * alone


def test_a_judge_that_contradicts_all_others_counts_less() -> None:
    lying = {**HONEST, **score_table(b="0-998")}
    values = [x or 0.0 for x in cross_signals(lying)]
    assert values[0] == max(values)


def test_reliability_from_graded_judgments() -> None:
    assert estimate_reliability([]) == Reliability()
    assert estimate_reliability([(0.75, 1.0), (0.25, 1.0)]) == Reliability(0.5, 0.0)  # never saw a wrong one
    good = estimate_reliability([(0.9, 1.0), (0.1, 0.0)] * 50)
    assert good.bias == pytest.approx(0.5)
    assert good.weight == pytest.approx(100 / 120)
    assert (
        estimate_reliability([(0.1, 1.0), (0.9, 0.0)] * 50).weight == 0.0
    )  # upside down is not believed, nor turned round
