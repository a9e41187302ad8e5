"""ARC-Challenge: school science questions that simple retrieval answers wrongly (Clark et al. 2018)."""

from __future__ import annotations

from typing import Any

from routemoa.datasets.questions import Question
from routemoa.evaluation.tasks import HubDataset, build_plain_question

ABOUT = "ARC-Challenge: grade-school science, multiple choice (CC-BY-SA-4.0)"
FILES = ("arc_challenge_val", "arc_challenge_test", "arc_challenge")
HUB = HubDataset("allenai/ai2_arc", "ARC-Challenge", "test")


def build_question(row: dict[str, Any], number: int) -> Question:
    """Return the question with lettered options: some are numbered in the data."""
    return build_plain_question(row, "arc-challenge", number)
