"""Which further votes of a model a query may have."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from routemoa.core.content.answer_format import AnswerFormat
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.tools import ToolUse
from routemoa.core.types import ModelSpec, Query, Request
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.votes import fit_candidates
from routemoa.mixture.engine import RouteMoA
from routemoa.mixture.method_registry import build_method
from routemoa.testing import ScriptedClient

SMALL = ModelSpec("small", "http://x/v1", "s", prior=0.6, latency=1.0, orders=3, code_samples=5)
POOL = Pool((SMALL, ModelSpec("weak", "http://x/v1", "w", prior=0.2)), Mixture(prefer="quality"))
SPEED = "A train takes 3 hours for 240 km. How fast is it?"
GASES = "Which gas do plants take in?\nA. oxygen\nB. carbon dioxide\nC. helium"
CODE = "Write a function that adds two numbers."
CUPS = "A red cup, a blue pen, a green hat. What is right of the pen?\nA. Red\nB. Green\nC. White"
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def votes(query: Query, prefer: Any = "quality", *, run_code: bool = True) -> list[str]:
    mixture = Mixture(prefer=prefer, run_code=run_code)
    return [m.name for m in fit_candidates(POOL.with_votes().models, query, mixture) if m.vote > 1]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (GASES, ["small~2", "small~3"]),
        ("Which phrase has the usual order?\nA. big old cup\nB. old big cup", ["small~3"]),
        (CODE, ["small~2", "small~3", "small~4", "small~5"]),
        (CUPS, []),
        (SPEED, []),
        ("Spiders and their legs", []),
        ("Write a poem about a train.", []),
    ],
)
def test_options_are_voted_on_in_other_orders_and_code_by_further_samples(text: str, names: list[str]) -> None:
    assert votes(Query.from_text(text)) == names


def test_code_that_is_not_run_is_not_voted_on() -> None:
    assert votes(Query.from_text(CODE), run_code=False) == []
    assert votes(Query.from_text(GASES), run_code=False) == ["small~2", "small~3"]


@pytest.mark.parametrize("prefer", ["balanced", "cheap", "fast", {"quality": 0.9}])
def test_only_quality_pays_for_votes(prefer: Any) -> None:
    assert votes(Query.from_text(CODE), prefer) == []
    assert votes(replace(Query.from_text(CODE), prefer="balanced")) == []
    assert votes(replace(Query.from_text(CODE), prefer="quality"), prefer) != []


async def test_code_is_drawn_again_and_what_passes_the_example_stands() -> None:
    seen: dict[str, dict[str, Any]] = {}

    def script(spec: ModelSpec, request: Request) -> str:
        seen[spec.name] = spec.parameters
        return f"```python\ndef add(a, b):\n    return a {'+' if spec.vote > 1 else '-'} b\n```"

    small = replace(SMALL, parameters={"temperature": 0.0})
    members = Pool((small, POOL["weak"]), Mixture(prefer="quality", run_code=True))
    names = [m.name for m in members.with_votes()]
    mixture = RouteMoA(members, ScriptedClient(dict.fromkeys(names, script)), judge_model=JudgeModel())
    answer = await mixture.answer(f"{CODE} It must pass this test:\nassert add(1, 2) == 3")
    assert "a + b" in answer.text
    assert seen["small"] == {"temperature": 0.0}
    assert seen["small~2"] == {"temperature": 0.7, "seed": 1}


async def test_other_methods_know_no_votes() -> None:
    client = ScriptedClient({"small": "The answer is 80.", "weak": "9"})
    await build_method(POOL, "moa", client).answer(Query.from_text(CODE))
    assert {c.model for c in client.calls} == {"small", "weak"}


def test_tools_and_json_are_not_voted_on() -> None:
    asked = Query.from_text(CODE)
    assert votes(replace(asked, tools=ToolUse((TOOL,)))) == []
    assert votes(replace(asked, answer_format=AnswerFormat({"type": "json_object"}))) == []
