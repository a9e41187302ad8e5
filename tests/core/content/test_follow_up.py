"""What the last turn asks: with as many earlier turns as it takes to say what it is about."""

from __future__ import annotations

from time import perf_counter

import pytest

from routemoa.core.content.follow_up import complete_last_turn

CHINESE = "运行中变压器温度最高的部分是哪一个？请选择正确的答案。"
LONG = "Maria has three apples and buys four more at the market of the old town."


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        (["And?"], "And?"),
        ([""], ""),
        ([LONG, "How many are that?"], f"{LONG}\n\nHow many are that?"),
        (["What is the capital of France?", "And of Spain?"], "What is the capital of France?\n\nAnd of Spain?"),
        (["What is the capital of France?", LONG], LONG),
        ([LONG, LONG + " How many?", "And then?"], f"{LONG} How many?\n\nAnd then?"),
        (["A", "B", "C", LONG, "D"], f"{LONG}\n\nD"),
        (["One.", "Two.", "Three."], "One.\n\nTwo.\n\nThree."),
        (["Write a poem about ships.", CHINESE], CHINESE),
        (["Опиши гавань.", "А море?"], "Опиши гавань.\n\nА море?"),
        ([LONG, " " * 100 + "So?"], f"{LONG}\n\n{' ' * 100}So?"),
    ],
)  # fmt: skip
def test_short_turns_are_read_with_those_before_them(turns: list[str], expected: str) -> None:
    assert complete_last_turn(turns) == expected


@pytest.mark.alone
def test_it_takes_time_in_proportion_to_the_text() -> None:
    started = perf_counter()
    complete_last_turn(["" for _ in range(10_000)])
    complete_last_turn(["x" * 20_000_000, "y"])
    assert perf_counter() - started < 1.0
