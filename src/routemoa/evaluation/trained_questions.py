"""Warns where an evaluation asks the questions that the scorer or the judge model was trained on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from routemoa.datasets.training_overlap import hash_query, unpack_hashes, warn_of_overlap
from routemoa.judging.judge_model import JudgeModel
from routemoa.scoring.outcome_updates import OUTCOMES_FILE, read_outcomes
from routemoa.scoring.trained import read_training_questions

__all__ = ["read_scorer_hashes", "warn_of_training"]


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


def read_scorer_hashes(folder: str | Path) -> frozenset[bytes]:
    """Return the hashes of the questions that a scorer was trained on or has learned from. Raises ConfigError."""
    trained = [text for q in read_training_questions(folder) for text in (q.query, q.prompt) if text]
    learned = [outcome.query for outcome in read_outcomes(Path(folder) / OUTCOMES_FILE)]
    return frozenset(map(hash_query, trained + learned))
