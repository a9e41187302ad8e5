"""The public tasks, one small file each: where its data are, and how a row of them becomes a question.

A task's module has ABOUT (what, whose, licence), FILES (names of its file in a local folder, without .jsonl or .gz),
HUB (its data set there) and `question(row, number)`, which raises KeyError or TypeError on a row of another shape.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.datasets.questions import Question, question_of

__all__ = ["TASK_NAMES", "HubDataset", "Task", "format_options", "load_task", "parse_row"]

TASK_NAMES = ("arc-challenge", "gsm8k", "humaneval", "math500", "mbpp", "mmlu-pro", "race")


class HubDataset(Struct, frozen=True):
    """A data set on the Hugging Face hub."""

    dataset: str
    config: str
    split: str


class Task(Protocol):
    """What a module of this package offers."""

    ABOUT: str
    FILES: tuple[str, ...]
    HUB: HubDataset

    @staticmethod
    def question(row: dict[str, Any], number: int) -> Question:
        """The question in a row of the data set; `number` counts from 1."""
        ...


def load_task(name: str) -> Task:
    """The task called `name`. Raises ConfigError."""
    if name not in TASK_NAMES:
        raise ConfigError(f"task '{name}' is unknown; known: {', '.join(TASK_NAMES)}, or a JSONL file of your own")
    return cast(Task, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


def parse_row(row: dict[str, Any], name: str, number: int) -> Question:
    """The question in a row that routemoa.datasets.questions reads as it is. Raises ValueError."""
    found = question_of(row, name, number)
    if isinstance(found, str):
        raise ValueError(found)
    return found


def format_options(question: str, options: list[str]) -> str:
    """A question with its options, lettered."""
    return "\n".join([question, *(f"{chr(65 + i)}. {text}" for i, text in enumerate(options))])
