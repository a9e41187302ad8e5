"""`/why`: what led to an answer, as a small tree."""

from __future__ import annotations

import asyncio
import io
import re
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from routemoa.cli.chat.why import explain_answer
from routemoa.core.errors import ModelHTTPError
from routemoa.core.trace import Answer
from routemoa.core.types import Query
from routemoa.mixture.engine import RouteMoA
from routemoa.mixture.method_registry import build_method
from routemoa.testing import ScriptedClient
from tests.conftest import MakePool


def show(answer: Answer, width: int = 100) -> list[str]:
    """Return the lines of the tree."""
    console = Console(file=io.StringIO(), width=width)
    console.print(explain_answer(answer), highlight=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def ask(make_pool: MakePool, script: dict[str, Any], method: str = "routemoa", **limits: Any) -> Answer:
    pool = make_pool(*script, prior=0.6, input_price=1.0, output_price=2.0, mixture={"self_assessment": "spoken"})
    if method == "routemoa":
        return RouteMoA(pool, ScriptedClient(script)).ask("How many?", **limits)
    return asyncio.run(build_method(pool, method, ScriptedClient(script)).answer(Query.from_text("How many?")))


def test_models_that_differ_their_judgments_and_the_reason_to_stop(make_pool: MakePool) -> None:
    judged = 'The answer is {}.\n<assessment>{{"self": 0.9}}</assessment>'
    answer = ask(make_pool, {"a": judged.format(4), "b": judged.format(5), "c": judged.format(4)})
    lines = show(answer)
    assert lines[0].startswith("routemoa: 3 calls, ")
    assert lines[1] == "├── prior, before any call: a 0.60, b 0.60, c 0.60"
    assert lines[2].startswith("├── layer 1 called a, b")
    assert any(re.match(r"│   [├└]── a, \d\.\d s, judged 0\.90 by itself, now 0\.", line) for line in lines)
    assert "├── agreement: 2 of 3 agree, the other differs: 4 by a, c; 5 by b" in lines
    assert any(line.startswith("├── stopped: ") for line in lines)
    assert lines[-1] in ("└── the answer is a's", "└── the answer is c's")


def test_failures_and_limits(make_pool: MakePool) -> None:
    broken = ModelHTTPError("b", "HTTP 503: \x1b[2Jbusy", status=503)
    lines = show(ask(make_pool, {"a": "The answer is 4.", "b": broken, "c": "The answer is 5."}, max_calls=2))
    assert any("b failed: HTTP 503: busy" in line for line in lines)
    assert "\x1b" not in "".join(lines)
    alone = show(ask(make_pool, {"a": "The answer is 4.", "b": "The answer is 5."}, max_calls=1))
    assert any(line.startswith("├── limits: without b: only 1 more call is allowed") for line in alone)


def test_an_answer_that_a_model_wrote_from_others(make_pool: MakePool) -> None:
    script = {"a": "An essay about rivers and the sea.", "b": "Quite another text on mountain weather."}
    assert show(ask(make_pool, script, "moa"))[-1].startswith("└── written by ")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_the_terminal(make_pool: MakePool, width: int) -> None:
    answer = ask(make_pool, {"a": "The answer is 4. " * 20, "b": "The answer is 5."})
    assert max(map(len, show(answer, width))) <= width


def test_a_turn_that_was_stopped(make_pool: MakePool) -> None:
    answer = ask(make_pool, {"a": "The answer is 4."})
    stopped = replace(answer, text="", trace=replace(answer.trace, stop_reason=None, layers=(), latency=None))
    assert show(stopped)[-1] == "└── stopped: before the end"
