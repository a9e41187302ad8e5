"""Check the options of `routemoa bench`: the pool, the methods, the questions and their graders, the judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from routemoa.cli.options import load_pool, say
from routemoa.cli.terminal.confirm import require_prices
from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import suggest_name
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import ModelSpec
from routemoa.datasets.questions import Question, name_task

__all__ = ["BenchOptions", "Benchmark", "check_options"]

REMOTE_CONCURRENCY = 4
"""Answers at a time, where no model of the pool runs on this machine."""


@dataclass(frozen=True)
class BenchOptions:
    """The arguments and options of `routemoa bench`."""

    task: str
    pool_file: str | None
    methods: str
    limit: int | None
    seed: int | None
    out: str | None
    data: str | None
    concurrency: int | None
    max_cost: float | None
    judge: str | None
    retry: bool
    engine: Literal["local", "ray"]
    address: str | None
    allow_duplicates: bool
    yes: bool
    json_file: str | None

    @property
    def task_name(self) -> str:
        """The name of the task or of its file."""
        return name_task(self.task)

    @property
    def folder(self) -> Path:
        """The folder that keeps the run."""
        return Path(self.out or f"bench-{self.task_name}")


@dataclass(frozen=True)
class Benchmark:
    """A run whose options are checked: what to ask, how, and where to keep it."""

    folder: Path
    pool: Pool
    methods: tuple[str, ...]
    questions: list[Question]
    judge: ModelSpec | None
    concurrency: int
    seed: int | None
    max_cost: float | None
    """Dollars."""
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    """Of the Ray cluster."""
    warnings: tuple[str, ...] = ()
    """Why the figures will mislead."""


def check_options(options: BenchOptions) -> Benchmark:
    """Load what the options name. Raises ConfigError, before anything is spent."""
    from routemoa.evaluation.trained_questions import warn_before_run

    pool = load_pool(options.pool_file)
    pool.require_keys()
    methods = _parse_methods(options.methods, pool)
    require_prices(pool, options.max_cost)
    questions = _load_questions(options)
    return Benchmark(
        options.folder,
        pool,
        methods,
        questions,
        _find_judge(options.judge, pool, questions),
        options.concurrency or (1 if any(m.local for m in pool) else REMOTE_CONCURRENCY),
        options.seed,
        options.max_cost,
        options.engine,
        options.address,
        tuple(warn_before_run(pool, methods, questions)),
    )


def _parse_methods(names: str, pool: Pool) -> tuple[str, ...]:
    """Return the methods of a list with commas. Raises ConfigError."""
    from routemoa.evaluation.live.methods import live_method_names

    known = live_method_names(pool)
    methods = tuple(dict.fromkeys(n.strip() for n in names.split(",") if n.strip()))
    if unknown := [n for n in methods if n not in known]:
        raise ConfigError(f"--methods: '{unknown[0]}' is unknown; {suggest_name(unknown[0], known)}")
    if not methods:
        raise ConfigError("--methods: name at least one")
    return methods


def _load_questions(options: BenchOptions) -> list[Question]:
    """Return the questions, and try each of their graders, so that one without its sandbox or extra fails here."""
    from routemoa.evaluation.tasks.loading import load_questions, sample_questions

    loaded = load_questions(options.task, options.data, say, allow_duplicates=options.allow_duplicates)
    chosen = sample_questions(loaded, options.limit, options.seed)
    for question in {q.grader: q for q in chosen}.values():
        question.grade("nothing")
    return chosen


def _find_judge(name: str | None, pool: Pool, questions: Sequence[Question]) -> ModelSpec | None:
    """Return the model that compares answers, or None. Raises ConfigError."""
    if name is not None and name not in pool:
        raise ConfigError(f"--judge: '{name}' is no model of the pool; {suggest_name(name, (m.name for m in pool))}")
    if name is None and any(q.grader == "judge" for q in questions):
        raise ConfigError("some questions are graded by a judge; name a model of the pool with --judge")
    return None if name is None else pool[name]
