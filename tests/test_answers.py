"""What answers say and which say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.answers import agree, final_answer, group, likeness


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Half of 84 is 42.\nThe answer is **42**.", "42"),
        ("So \\boxed{\\frac{1}{2}}.", "0.5"),
        ("... #### 1,234", "1234"),
        ("Answer: 42.0", "42"),
        ("$18", "18"),
        ("Paris.", "paris"),
        ("The final answer is 1,000,000 dollars.", "1000000"),
        ("First thought: the answer is 3. No. The answer is 4.", "4"),
        ("A long explanation that never says plainly what the result of all of this is, in the end.", None),
        ("line one\nline two", None),
    ],
)
def test_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_agreement() -> None:
    assert agree(["The answer is 42.", "#### 42.00", "42"])
    assert not agree(["The answer is 42.", "43"])
    assert not agree(["42"])
    assert agree(["def f():\n  return 1", "def  f():\n return 1"])
    assert not agree(["def f():\n  return 1", "42"])
    assert not agree(["", ""])
