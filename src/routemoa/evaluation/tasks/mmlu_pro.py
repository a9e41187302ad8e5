"""MMLU-Pro: fourteen subjects, up to ten options (Wang et al. 2024)."""

from __future__ import annotations

from typing import Any

from routemoa.datasets.questions import Question
from routemoa.evaluation.tasks import HubDataset, format_options

ABOUT = "MMLU-Pro, test: 12,032 questions of 14 subjects, up to ten options (MIT)"
FILES = ("mmlu_pro_test", "mmlu_pro")
HUB = HubDataset("TIGER-Lab/MMLU-Pro", "default", "test")


def build_question(row: dict[str, Any], number: int) -> Question:
    """Return the question; the subject is part of the task's name, so that a report separates subjects."""
    query = format_options(row["question"], list(row["options"]))
    ask = f"{query}\n\nThink it through, then end with one line: The answer is <letter>."
    id_ = f"mmlu-pro-{row.get('question_id', number)}"
    return Question(id_, f"mmlu-pro/{row['category']}", query, ask, str(row["answer"]), "choice")
