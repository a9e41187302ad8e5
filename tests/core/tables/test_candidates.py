"""One model as several candidates: samples and efforts, in the pool file and through the engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from routemoa.core.errors import ConfigError
from routemoa.core.events import ProposalDelta
from routemoa.core.learned.learned_priors import LearnedPriors
from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.core.tables.candidates import SAMPLE_TEMPERATURE, expand_candidates, find_samples
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace_builder import fold_events
from routemoa.core.types import ModelSpec, Query
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.posterior import ErrorCorrelation
from routemoa.mixture.engine import RouteMoA
from routemoa.mixture.method_registry import build_method
from routemoa.routing.policy import SAME_MEMBER_CORRELATION, relate_candidates
from routemoa.scoring.constant import load_scorer
from routemoa.testing import ScriptedClient

SMALL = ModelSpec("small", "http://x/v1", "weights", prior=0.6, parameters={"top_p": 0.9})


def pool(text: str) -> Pool:
    return parse_pool(text, "pool.toml", Path(), {})


def test_a_model_asked_once_is_itself() -> None:
    assert expand_candidates(SMALL) == (SMALL,)


def test_samples_differ_from_the_second_on() -> None:
    first, second, third = expand_candidates(SMALL, 3)
    assert [c.name for c in (first, second, third)] == ["small", "small#2", "small#3"]
    assert first.parameters == {"top_p": 0.9}
    assert second.parameters == {"top_p": 0.9, "temperature": SAMPLE_TEMPERATURE, "seed": 1}
    assert {c.member for c in (first, second, third)} == {"small"}
    assert {(c.endpoint, c.model, c.prior) for c in (first, second, third)} == {("http://x/v1", "weights", 0.6)}


@pytest.mark.parametrize(("fixed", "drawn"), [(1.2, 1.2), (0, SAMPLE_TEMPERATURE), (0.0, SAMPLE_TEMPERATURE)])
def test_the_pool_files_temperature_is_kept_and_no_sample_is_as_another(fixed: float, drawn: float) -> None:
    fixed_model = ModelSpec("fixed", "local", "w", parameters={"temperature": fixed, "seed": 7})
    first, second, third = expand_candidates(fixed_model, 3)
    assert first.parameters == {"temperature": fixed, "seed": 7}
    assert second.parameters == {"temperature": drawn, "seed": 8}
    assert third.parameters == {"temperature": drawn, "seed": 9}


def test_efforts_are_candidates_each_as_often_as_it_is_sampled() -> None:
    names = [c.name for c in expand_candidates(SMALL, 2, ("low", "high"))]
    assert names == ["small@low", "small@low#2", "small@high", "small@high#2"]
    assert expand_candidates(SMALL, 1, ("low",))[0].parameters["reasoning_effort"] == "low"


def test_an_effort_that_is_named_twice_is_asked_once() -> None:
    assert [c.name for c in expand_candidates(SMALL, 1, ("low", "low"))] == ["small@low"]


def test_a_candidate_takes_no_other_models_name() -> None:
    members = pool(
        '[[model]]\nname = "a"\nendpoint = "http://x/v1"\n[[model]]\nname = "a#2"\nendpoint = "http://y/v1"\n'
    )
    with pytest.raises(ConfigError, match="'a#2' would be the name of two models"):
        members.with_candidates(2)


def test_the_pool_file_has_both() -> None:
    members = pool(
        '[[model]]\nname = "a"\nendpoint = "http://x/v1"\nsamples = 2\n'
        '[[model]]\nname = "b"\nendpoint = "http://y/v1"\nefforts = ["low", "high"]\n'
    )
    assert [m.name for m in members] == ["a", "a#2", "b@low", "b@high"]
    assert all(m.samples == 1 and not m.efforts for m in members)
    assert members.with_candidates(5) == members  # candidates are not multiplied again


@pytest.mark.parametrize(
    "line", ["orders = 0", "orders = 9", "order = 2", "samples = 0", "samples = 99", 'samples = "two"', "member = 'a'"]
)
def test_what_is_no_candidate_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match=r"samples|member|order"):
        pool(f'[[model]]\nname = "a"\nendpoint = "http://x/v1"\n{line}\n')


def test_names_of_candidates_are_unique() -> None:
    with pytest.raises(ConfigError, match="a#2"):
        pool(
            '[[model]]\nname = "a"\nendpoint = "http://x/v1"\nsamples = 2\n'
            '[[model]]\nname = "a#2"\nendpoint = "http://x/v1"\n'
        )


def test_samples_of_a_model_are_related_until_that_is_learned() -> None:
    models = (*expand_candidates(SMALL, 3), ModelSpec("other", "local"))
    learned = ErrorCorrelation(pairwise_error_correlation={"small|small#2": 0.9})
    known = relate_candidates(learned, models)
    assert known.between("small", "small#2") == 0.9
    assert known.between("small#3", "small#2") == SAME_MEMBER_CORRELATION
    assert known.between("small", "other") == 0.0


async def test_the_panel_grows_by_samples_where_they_promise_more() -> None:
    strong = ModelSpec("strong", "http://x/v1", "s", prior=0.7)
    weak = ModelSpec("weak", "http://x/v1", "w", prior=0.2)
    said = {"strong": "The answer is 4.", "strong#2": "The answer is 5.", "strong#3": "The answer is 5.", "weak": "9"}
    client = ScriptedClient(said)
    members = Pool((*expand_candidates(strong, 3), weak))
    answer = await RouteMoA(members, client, judge_model=JudgeModel()).answer("What is 2 + 2?")
    assert [c.model for c in client.calls][:3] == ["strong", "strong#2", "strong#3"]
    assert answer.text == "The answer is 5."


QUESTION = "Which gas do plants take in?\nA. oxygen\nB. carbon dioxide\nC. helium"


def ordered_pool() -> Pool:
    small = ModelSpec("small", "http://x/v1", "s", prior=0.6, latency=1.0, orders=3)
    return Pool((small, ModelSpec("weak", "http://x/v1", "w", prior=0.2)), replace(Mixture(), prefer="quality"))


async def test_a_multiple_choice_is_asked_in_other_orders_of_its_options() -> None:
    # "A" each time: the model likes the place, and only an answer that moves with its option agrees with itself
    client = ScriptedClient({"small": "A", "small~2": "A", "small~3": "C", "weak": "C"})
    answer = await RouteMoA(ordered_pool(), client, judge_model=JudgeModel()).answer(QUESTION)
    proposals = [p for layer in answer.trace.layers for p in layer.proposals]
    texts = {p.model: p.text for p in proposals}
    assert texts["small~2"] == "The answer is B. carbon dioxide"
    assert texts["small~3"] == "The answer is B. carbon dioxide"
    assert answer.text == "The answer is B. carbon dioxide"
    asked = {c.model: c.request.messages[-1].content for c in client.calls}
    assert asked["small"] == QUESTION
    assert "A. carbon dioxide\nB. helium\nC. oxygen" in asked["small~2"]
    assert answer.trace.ranking[0].model == "small"


def test_only_the_first_sample_and_an_adaptive_panel_have_other_orders() -> None:
    members = pool('[[model]]\nname = "a"\nendpoint = "http://x/v1"\nsamples = 2\norders = 2\n').with_votes()
    assert [m.name for m in members] == ["a", "a~2", "a#2"]
    assert members.with_votes() == members
    published = replace(Mixture(), fusion="published-small")
    asked = RouteMoA(Pool(ordered_pool().models, published), ScriptedClient({}), judge_model=JudgeModel())
    assert [m.name for m in asked.pool] == ["small", "weak"]


async def test_a_letter_for_a_moved_option_is_neither_shown_nor_assessed() -> None:
    client = ScriptedClient({"small": "A", "small~2": "A", "small~3": "C", "weak": "C"})
    assessing = Mixture(prefer="quality", self_assessment="logprob")
    mixture = RouteMoA(Pool(ordered_pool().models, assessing), client, judge_model=JudgeModel())
    events = [event async for event in mixture.stream(QUESTION)]
    assert "small" in {e.model for e in events if isinstance(e, ProposalDelta)} <= {"small", "weak"}
    judges = {a.judge for layer in fold_events(events).trace.layers for a in layer.assessments}
    assert "small" in judges <= {"small", "weak"}


async def test_a_question_without_options_knows_no_orders() -> None:
    client = ScriptedClient({"small": "4", "weak": "5"})
    answer = await RouteMoA(ordered_pool(), client, judge_model=JudgeModel()).answer("What is 2 + 2?")
    assert set(answer.trace.prior) == {"small", "weak"}
    assert {c.model for c in client.calls} <= {"small", "weak"}


async def test_an_answer_that_names_no_option_is_no_vote() -> None:
    client = ScriptedClient({"small": "A", "small~2": "I cannot say.", "small~3": "C", "weak": "B"})
    answer = await RouteMoA(ordered_pool(), client, judge_model=JudgeModel()).answer(QUESTION)
    failures = {f.model: f.reason for layer in answer.trace.layers for f in layer.failures}
    assert failures["small~2"] == "it names none of the options"


async def test_other_methods_ask_in_the_order_of_the_question() -> None:
    client = ScriptedClient({"small": "A", "weak": "A"})
    await build_method(ordered_pool(), "moa", client).answer(Query.from_text(QUESTION))
    assert {c.model for c in client.calls} == {"small", "weak"}


async def test_where_quality_is_not_preferred_options_keep_their_order() -> None:
    client = ScriptedClient({"small": "A", "small~2": "A", "small~3": "C", "weak": "C"})
    mixture = RouteMoA(ordered_pool(), client, judge_model=JudgeModel())
    answer = await mixture.answer(replace(Query.from_text(QUESTION), prefer="balanced"))
    assert set(answer.trace.prior) == {"small", "weak"}
    assert {c.model for c in client.calls} <= {"small", "weak"}


async def test_in_other_orders_a_model_has_what_was_learned_of_it() -> None:
    models = (replace(SMALL, orders=2), ModelSpec("new", "local", "n", orders=2))
    members = Pool(models, learned=LearnedPriors({"small": -1.0}, {"new": 0.7}, {"small": {"t": 1.0}})).with_votes()
    scores = await load_scorer(members).score(Query.from_text("Which?"), members.models)
    assert scores["small~2"] == scores["small"] == pytest.approx(0.356, abs=0.001)
    assert scores["new~2"] == scores["new"] == 0.7


def test_further_samples_are_found_by_their_names() -> None:
    assert find_samples(["a", "a#2", "b", "a#3", "b#2", "c#2", "c#3", "d@high", "d@high#2", "d@high#3"]) == (
        (1, 3),
        (8, 9),
    )
