"""HumanEval: Python functions from their docstrings, graded by running unit tests (Chen et al. 2021)."""

from __future__ import annotations

from typing import Any

from routemoa.datasets.questions import Question
from routemoa.evaluation.tasks import HubDataset

ABOUT = "HumanEval: 164 Python functions (MIT)"
FILES = ("HumanEval", "humaneval")
HUB = HubDataset("openai/openai_humaneval", "openai_humaneval", "test")


def build_question(row: dict[str, Any], number: int) -> Question:
    """Return the question; its tests put everything before the function in the prompt before the answer."""
    begin = "Complete this function. Reply with the whole function in one ```python block."
    ask = f"{begin}\n\n```python\n{row['prompt']}```"
    checks = f"{row['prompt']}\n# --- answer ---\n{row['test']}\ncheck({row['entry_point']})\n"
    return Question(row["task_id"], "humaneval", row["prompt"], ask, checks, "code")
