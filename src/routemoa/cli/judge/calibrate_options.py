"""Check the options of `routemoa judge calibrate`: the pool, the questions, and what compares the answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from routemoa.cli.options import say
from routemoa.cli.terminal.confirm import require_prices
from routemoa.cli.terminal.files import check_writable, check_writable_folder
from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import suggest_name
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.plural import counted
from routemoa.core.types import ModelSpec
from routemoa.judging.judge_model import JudgeModel, read_judge_model
from routemoa.judging.pool_judge import read_pool_judge

if TYPE_CHECKING:
    from routemoa.datasets.pair_labels import PairLabel
    from routemoa.datasets.questions import Question
    from routemoa.evaluation.live.open_policies import AnswerPair
    from routemoa.judging.pairwise import Verdict

__all__ = ["POLICIES", "CalibrateOptions", "Calibration", "check_options"]

POLICIES = ("synthesize", "select")
REMOTE_CONCURRENCY = 4
"""Answers at a time, where no model of the pool runs on this machine."""


@dataclass(frozen=True)
class CalibrateOptions:
    """The arguments and options of `routemoa judge calibrate`."""

    task: str
    pool_file: str | None
    judge: str | None
    labels: str | None
    policies: str
    limit: int | None
    out: str | None
    folder: str | None
    concurrency: int | None
    retry: bool
    max_cost: float | None
    allow_duplicates: bool
    yes: bool
    as_json: bool


@dataclass(frozen=True)
class Calibration:
    """A run whose options are checked."""

    options: CalibrateOptions
    pool: Pool
    questions: list[Question]
    policies: tuple[str, ...]
    judge: ModelSpec | None
    labels: list[PairLabel] | None
    """None where there is no file yet."""
    out: Path
    folder: Path
    concurrency: int
    before: JudgeModel
    """What the judge file holds already."""
    warnings: tuple[str, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that answer, the model alone first."""
        from routemoa.evaluation.live.open_policies import open_methods

        return open_methods(self.policies)

    @property
    def foreign(self) -> list[tuple[AnswerPair, Verdict]]:
        """Labelled pairs from elsewhere, which only measure the judge."""
        from routemoa.evaluation.live.labelled_pairs import foreign_pairs

        return foreign_pairs(self.labels or [], {q.id for q in self.questions}) if self.judge else []


def check_options(options: CalibrateOptions) -> Calibration:
    """Load what the options name. Raises ConfigError, before anything is spent."""
    from routemoa.datasets.pair_labels import read_labels
    from routemoa.datasets.questions import name_task, read_questions
    from routemoa.evaluation.live.open_policies import select_open_questions

    pool = Pool.default(options.pool_file)
    judge = _find_judge(options, pool)
    policies, warnings = _choose_policies(options, pool)
    require_prices(pool, options.max_cost)
    asked = list(read_questions(options.task, say, allow_duplicates=options.allow_duplicates))[: options.limit]
    questions = select_open_questions(asked)
    total = counted(len(asked), "question")
    if not asked:
        raise ConfigError(f'{options.task}: no question in it; write a JSON object a line, {{"query": "..."}}')
    if not questions:
        raise ConfigError(
            f"{options.task}: it has {total} and none that is open: each asks for a result, which needs no "
            "calibration; ask for texts, such as an explanation or a draft"
        )
    if len(questions) < len(asked):
        say(f"left out, since a result is asked for: {len(asked) - len(questions):,} of {total}")
    labels = read_labels(options.labels) if options.labels and Path(options.labels).exists() else None
    if judge is None and labels is not None and all(label.winner is None for label in labels):
        raise ConfigError(
            f'{options.labels}: none of its {counted(len(labels), "line")} has a label: set "winner" to "first", '
            '"second" or "tie", or name a file that is not there yet, which is then written'
        )
    out = Path(options.out or (pool.judge if pool.judge and pool.judge.parent == pool.directory else "judge.json"))
    folder = options.folder or f"calibrate-{name_task(options.task)}"
    for file in (str(out), options.labels):
        check_writable(file)
    check_writable_folder(folder)
    return Calibration(
        options,
        pool,
        questions,
        policies,
        judge,
        labels,
        out,
        Path(folder),
        options.concurrency or (1 if any(m.local for m in pool) else REMOTE_CONCURRENCY),
        read_judge_model(out) if out.exists() else read_pool_judge(pool).base,
        warnings,
    )


def _find_judge(options: CalibrateOptions, pool: Pool) -> ModelSpec | None:
    """Return the model that compares answers, or None where people do. Raises ConfigError."""
    names = [m.name for m in pool]
    if options.judge is not None and options.judge not in pool:
        raise ConfigError(f"--judge: '{options.judge}' is no model of the pool; {suggest_name(options.judge, names)}")
    if options.judge is None and options.labels is None:
        raise ConfigError(f"name what compares the answers: --judge MODEL (of {', '.join(names)}), or --labels FILE")
    return None if options.judge is None else pool[options.judge]


def _choose_policies(options: CalibrateOptions, pool: Pool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the policies to compare, and warnings. Raises ConfigError."""
    from routemoa.mixture.baselines.best_single import choose_best_model

    policies = tuple(dict.fromkeys(p.strip() for p in options.policies.split(",") if p.strip()))
    if unknown := [p for p in policies if p not in POLICIES]:
        raise ConfigError(f"--policies: '{unknown[0]}' is unknown; {suggest_name(unknown[0], POLICIES)}")
    if pool.mixture.published:
        raise ConfigError(f'{pool.source}: fusion = "{pool.mixture.fusion}" has no policies for open questions')
    if len(pool) < 2:
        raise ConfigError(f"{pool.source}: one model has nothing to be mixed with")
    chooser = pool.mixture.judge_model
    chooser = choose_best_model(pool).spec.name if chooser == "auto" else chooser
    if "select" in policies and options.labels is None and options.judge == chooser:
        policies = tuple(p for p in policies if p != "select")
        why = f"select is left out: {chooser} chooses its answers, and would only agree with itself"
        fix = f'name another --judge, or --labels, or [mixture] judge_model other than "{chooser}"'
        if not policies:
            raise ConfigError(f"{why}; {fix}")
        return policies, (f"{why}; to measure it, {fix}",)
    if not policies:
        raise ConfigError(f"--policies: name at least one of {', '.join(POLICIES)}")
    return policies, ()
