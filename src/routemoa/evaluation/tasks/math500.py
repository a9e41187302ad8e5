"""MATH-500: competition mathematics, five levels, answers in LaTeX (Hendrycks et al. 2021; Lightman et al. 2023)."""

from __future__ import annotations

from typing import Any

from routemoa.datasets.questions import Question
from routemoa.evaluation.tasks import HubDataset

ABOUT = "MATH-500: 500 competition problems (MIT)"
FILES = ("math500", "MATH-500")
HUB = HubDataset("HuggingFaceH4/MATH-500", "default", "test")


def build_question(row: dict[str, Any], number: int) -> Question:
    """Return the question, graded by mathematical equivalence."""
    ask = f"{row['problem']}\n\nWork it out, then end with the final answer alone in \\boxed{{}}."
    return Question(
        str(row.get("unique_id") or f"math500-{number}"), "math500", row["problem"], ask, row["answer"], "math"
    )
