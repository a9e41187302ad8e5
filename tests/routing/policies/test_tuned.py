"""The tuned policy on scripted models: what it asks, when it stops, whose answer stands; the same for a query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routemoa import RouteMoA
from routemoa.core.errors import ConfigError, ModelError
from routemoa.core.learned.cost_dial import Dial, draw_from_text
from routemoa.core.learned.tuned_policy import TunedGroup, TunedPlan, TunedPoint, TunedPolicy
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Answer
from routemoa.core.types import ModelSpec
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.policies.tuned import TunedLoop
from routemoa.routing.policy import build_policy
from routemoa.testing import ScriptedClient

NAMES = ("a", "b", "c", "dear")
SPECS = tuple(ModelSpec(n, "http://127.0.0.1:1", n, prior=0.5) for n in NAMES)


def policy_of(*plans: TunedPlan, dial: Dial = Dial(quality=1.0)) -> TunedPolicy:  # noqa: B008  (frozen)
    return TunedPolicy(
        best_single="dear",
        dial=dial,
        costs={"a": 0.1, "b": 0.1, "c": 0.2, "dear": 1.0},
        group=(TunedGroup(center={}),),
        plan=plans,
        point=tuple(
            TunedPoint(cost=(i + 1) / len(plans), quality=(i + 1) / len(plans), plans=(i,)) for i in range(len(plans))
        ),
    )


def ask(plan: TunedPlan, question: str = "What is 1 + 1?", **texts: str | None) -> tuple[Answer, list[str]]:
    script = {n: [ModelError(n, "is away") if t is None else f"The answer is {t}."] for n, t in texts.items()}
    client = ScriptedClient(script)
    pool = Pool(SPECS, Mixture(policy="p", tuned=policy_of(plan), hedge=False))
    answer = RouteMoA(pool, client).ask(question)
    return answer, [call.model for call in client.calls]


PAIR = TunedPlan(order=("a", "b", "dear"))
LENIENT = TunedPlan(order=("a", "b", "c", "dear"))
STRICT = TunedPlan(order=("a", "b", "c", "dear"), agree=3)


@pytest.mark.parametrize(
    ("plan", "texts", "called", "choice", "stop"),
    [
        (TunedPlan(order=("b",)), {"b": "2"}, ["b"], "b", "one model alone"),
        (PAIR, {"a": "2", "b": "2"}, ["a", "b"], "a", "agreed"),
        (PAIR, {"a": "2", "b": "3", "dear": "4"}, ["a", "b", "dear"], "dear", "panel complete"),
        (PAIR, {"a": "2", "b": "3", "dear": "3"}, ["a", "b", "dear"], "b", "agreed"),
        (LENIENT, {"a": "2", "b": "3", "c": "3"}, ["a", "b", "c"], "b", "agreed"),
        (LENIENT, {"a": "2", "b": "3", "c": "4", "dear": "5"}, ["a", "b", "c", "dear"], "dear", "panel complete"),
        (STRICT, {"a": "2", "b": "2", "c": "2"}, ["a", "b", "c"], "a", "agreed"),
        (STRICT, {"a": "2", "b": "2", "c": "3", "dear": "4"}, ["a", "b", "c", "dear"], "dear", "panel complete"),
        (STRICT, {"a": "2", "b": "3", "dear": "5"}, ["a", "b", "dear"], "dear", "panel complete"),
    ],
)
def test_it_asks_from_cheap_to_dear_while_too_few_agree(
    plan: TunedPlan, texts: dict[str, str], called: list[str], choice: str, stop: str
) -> None:
    answer, calls = ask(plan, **texts)
    assert calls == called
    assert answer.text == f"The answer is {texts[choice]}."
    assert (answer.trace.stop_reason or "").startswith(stop)


def test_a_failed_model_is_replaced_by_the_next_of_the_order() -> None:
    answer, calls = ask(LENIENT, a=None, b="3", c="3")
    assert sorted(calls) == ["a", "b", "c"]
    assert answer.text == "The answer is 3."
    answer, calls = ask(PAIR, a=None, b="3", dear="7")
    assert sorted(calls) == ["a", "b", "dear"]
    assert answer.text == "The answer is 7."
    answer, calls = ask(PAIR, a="3", b="4", dear=None)
    assert answer.text in {"The answer is 3.", "The answer is 4."}
    answer, calls = ask(TunedPlan(order=("a",)), a=None, b="1", c="1", dear="1")
    assert answer.text == "The answer is 1."


def test_a_rate_chooses_by_estimates_and_price() -> None:
    specs = [replace(s, prior=p) for s, p in zip(SPECS, (0.5, 0.7, 0.6, 0.9), strict=True)]
    for rate, model in ((0.0, "dear"), (0.1, "dear"), (0.3, "b"), (9.0, "b")):
        pool = Pool(tuple(specs), Mixture(policy="p", tuned=policy_of(TunedPlan(rate=rate))))
        client = ScriptedClient({n: ["The answer is 1."] for n in NAMES})
        RouteMoA(pool, client).ask("?")
        assert [call.model for call in client.calls] == [model]


@given(st.text(min_size=1).filter(str.strip))
def test_the_same_query_takes_the_same_plan(text: str) -> None:
    """Before the first call and after it: the plan follows from the query's text alone."""
    tuned = policy_of(TunedPlan(order=("a",)), TunedPlan(order=("b",)), dial=Dial(quality=0.75))
    assert tuned.mix.share == pytest.approx(0.5)
    client = ScriptedClient({n: ["The answer is 1."] * 2 for n in NAMES})
    mixture = RouteMoA(Pool(SPECS, Mixture(policy="p", tuned=tuned)), client)
    first, second = mixture.ask(text), mixture.ask(text)
    expected = "b" if draw_from_text(first.trace.query.text) < 0.5 else "a"
    assert [call.model for call in client.calls] == [expected, expected]
    assert first.trace.choice == second.trace.choice == expected


def test_it_is_the_policy_of_a_mixture_that_names_one() -> None:
    tuned = policy_of(PAIR)
    assert isinstance(build_policy(SPECS, Mixture(policy="p", tuned=tuned), JudgeModel(), ()), TunedLoop)
    with pytest.raises(ConfigError, match="made for another pool: it names dear"):
        build_policy(SPECS[:3], Mixture(policy="p", tuned=tuned), JudgeModel(), ())
