"""GSM8K: grade-school word problems whose answer is a number (Cobbe et al. 2021)."""

from __future__ import annotations

from typing import Any

from routemoa.datasets.questions import Question
from routemoa.evaluation.tasks import HubDataset, build_plain_question

ABOUT = "GSM8K, test: 1,319 grade-school word problems (MIT)"
FILES = ("gsm8k_test", "gsm8k")
HUB = HubDataset("openai/gsm8k", "main", "test")


def build_question(row: dict[str, Any], number: int) -> Question:
    """Return the question; its worked solution ends in "#### 18"."""
    return build_plain_question(row, "gsm8k", number)
