"""The public tasks: where each data set is, and how one of its rows becomes a question.

A task's module has ABOUT (contents and licence), FILES (names of its file in a local folder, without .jsonl or .gz),
HUB (its data set on the Hugging Face hub) and `build_question(row, number)`, which raises KeyError or TypeError on a
row of another shape.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.datasets.questions import Question, question_from_json

__all__ = ["TASK_NAMES", "HubDataset", "Task", "build_plain_question", "format_options", "load_task"]

TASK_NAMES = ("arc-challenge", "gsm8k", "humaneval", "math500", "mbpp", "mmlu-pro", "race")


class HubDataset(Struct, frozen=True):
    """A data set on the Hugging Face hub."""

    dataset: str
    config: str
    split: str


class Task(Protocol):
    """A module of this package."""

    ABOUT: str
    FILES: tuple[str, ...]
    HUB: HubDataset

    @staticmethod
    def build_question(row: dict[str, Any], number: int) -> Question:
        """Return the question in a row of the data set; `number` counts from 1."""
        ...


def load_task(name: str) -> Task:
    """Return the module of a task.

    Raises:
        ConfigError: there is no such task.
    """
    if name not in TASK_NAMES:
        raise ConfigError(f"task '{name}' is unknown; known: {', '.join(TASK_NAMES)}, or a file of your own")
    return cast(Task, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


def build_plain_question(row: dict[str, Any], task: str, number: int) -> Question:
    """Return the question in a row that `routemoa.datasets.questions` reads as it is.

    Raises:
        ValueError: it cannot be read.
    """
    question = question_from_json(row, task, number)
    if isinstance(question, str):
        raise ValueError(question)
    return question


def format_options(question: str, options: list[str]) -> str:
    """Return a question followed by its options, each with a letter."""
    return "\n".join([question, *(f"{chr(65 + i)}. {text}" for i, text in enumerate(options))])
