"""Warns where an evaluation asks the questions that the scorer or the judge model was trained on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from routemoa.core.pool_file.pool import Pool
from routemoa.datasets.questions import Question
from routemoa.datasets.training_overlap import hash_query, unpack_hashes, warn_of_overlap
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.pool_judge import load_pool_judge
from routemoa.mixture.pool_warnings import list_pool_warnings
from routemoa.scoring.outcome_updates import OUTCOMES_FILE, read_outcomes
from routemoa.scoring.trained import read_training_questions

__all__ = ["read_scorer_hashes", "warn_before_run", "warn_of_training"]


def warn_of_training(
    questions: Sequence[Collection[str | None]], scorer: str | Path | None, judge_model: JudgeModel | None = None
) -> list[str]:
    """Return warnings about questions that the scorer or the judge model has seen with their answers.

    Args:
        questions: the texts of each: the query, and what was sent where that differs.
        scorer: its folder.
        judge_model: fitted; one of an earlier version does not say on which questions.

    Raises:
        ConfigError: the scorer's training questions cannot be read.
    """
    texts = [[text for text in versions if text] for versions in questions]
    warnings = []
    if scorer is not None:
        warnings.append(warn_of_overlap(texts, read_scorer_hashes(scorer), f"the scorer in {scorer}"))
    if judge_model is not None and judge_model.questions:
        warnings.append(warn_of_overlap(texts, unpack_hashes(judge_model.questions), "the judge model"))
    return [warning for warning in warnings if warning]


def warn_before_run(pool: Pool, methods: Sequence[str], questions: Sequence[Question]) -> list[str]:
    """Return what is wrong with a pool before methods answer questions live; single models alone need nothing of it.

    Raises:
        ConfigError: the scorer's training questions or the judge model cannot be read.
    """
    if all(method.startswith("single:") for method in methods):
        return []
    texts = [(question.query, question.prompt) for question in questions]
    return [*list_pool_warnings(pool), *warn_of_training(texts, pool.scorer, load_pool_judge(pool))]


def read_scorer_hashes(folder: str | Path) -> frozenset[bytes]:
    """Return the hashes of the questions that a scorer was trained on or has learned from. Raises ConfigError."""
    trained = [text for q in read_training_questions(folder) for text in (q.query, q.prompt) if text]
    learned = [outcome.query for outcome in read_outcomes(Path(folder) / OUTCOMES_FILE)]
    return frozenset(map(hash_query, trained + learned))
