"""GSM8K: grade-school word problems whose answer is a number (Cobbe et al. 2021)."""

from __future__ import annotations

from typing import Any

from routemoa.datasets.questions import Question
from routemoa.evaluation.tasks import HubDataset, parse_row

ABOUT = "GSM8K, test: 1,319 grade-school word problems (MIT)"
FILES = ("gsm8k_test", "gsm8k")
HUB = HubDataset("openai/gsm8k", "main", "test")


def question(row: dict[str, Any], number: int) -> Question:
    """The worked solution ends in "#### 18"."""
    return parse_row(row, "gsm8k", number)
