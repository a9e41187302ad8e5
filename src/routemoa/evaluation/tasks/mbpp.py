"""MBPP, sanitized: short Python functions, graded by running their unit tests (Austin et al. 2021)."""

from __future__ import annotations

from typing import Any

from routemoa.datasets.questions import Question
from routemoa.evaluation.tasks import HubDataset

ABOUT = "MBPP sanitized, test: 257 short Python functions (CC-BY-4.0); the local file holds all 427"
FILES = ("mbpp_sanitized", "mbpp")
HUB = HubDataset("google-research-datasets/mbpp", "sanitized", "test")


def build_question(row: dict[str, Any], number: int) -> Question:
    """Return the question with the first test in its prompt: the description does not name the function."""
    tests = list(row["test_list"])
    ask = f"{row['prompt']}\n\nIt must pass this test:\n{tests[0]}\n\nReply with the function in one ```python block."
    checks = "\n".join([*row.get("test_imports", ()), "# --- answer ---", *tests])
    return Question(f"mbpp-{row['task_id']}", "mbpp", row["prompt"], ask, checks, "code")
