"""ARC-Challenge: school science with four options, those that simple retrieval gets wrong (Clark et al. 2018)."""

from __future__ import annotations

from typing import Any

from routemoa.datasets.questions import Question
from routemoa.evaluation.tasks import HubDataset, parse_row

ABOUT = "ARC-Challenge: grade-school science, multiple choice (CC-BY-SA-4.0)"
FILES = ("arc_challenge_val", "arc_challenge_test", "arc_challenge")
HUB = HubDataset("allenai/ai2_arc", "ARC-Challenge", "test")


def question(row: dict[str, Any], number: int) -> Question:
    """Options are lettered anew: some are numbered in the data."""
    return parse_row(row, "arc-challenge", number)
