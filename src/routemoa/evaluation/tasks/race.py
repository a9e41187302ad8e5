"""RACE, high school: a passage and a question with four options (Lai et al. 2017)."""

from __future__ import annotations

from typing import Any

from routemoa.datasets.questions import Question
from routemoa.evaluation.tasks import HubDataset, format_options

ABOUT = "RACE-high, test: 3,498 questions on English reading passages (research use only)"
FILES = ("race_high_test", "race_high", "race")
HUB = HubDataset("ehovy/race", "high", "test")


def build_question(row: dict[str, Any], number: int) -> Question:
    """Return the question after its passage, so that the prompt cache serves other questions on the passage."""
    query = f"{row['article']}\n\n{format_options(row['question'], list(row['options']))}"
    ask = f"{query}\n\nEnd with one line: The answer is <letter>."
    return Question(f"race-{number}", "race", query, ask, str(row["answer"]), "choice")
