"""The answers of a collection: finished questions in RECORDS, single answers of unfinished ones in RECORDS.part.

Each answer is written when it arrives, so that no call has to be paid for twice, however the process ends.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routemoa.datasets.appender import Appender
from routemoa.datasets.jsonl import BadLine, ErrorCollector, RecordsError, read_lines
from routemoa.datasets.questions import Question
from routemoa.datasets.records import Record, read_records

__all__ = ["AnswerCollection", "CollectedAnswer"]

Key = tuple[str, str]
"""Task and id of a question."""


class CollectedAnswer(Struct, frozen=True, omit_defaults=True):
    """The result of asking one model one question: a text, or why the call failed."""

    task: str
    id: str
    model: str
    score: float | None = None
    """In [0, 1]; None where the call failed or the answer could not be graded."""
    text: str | None = None
    cost: float | None = None
    """Dollars."""
    seconds: float | None = None
    """From the call to the end of the answer."""
    confidence: float | None = None
    failure: str | None = None


class UnknownCost(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of RECORDS.part: the dollars counted for a call whose cost is unknown, such as one that was cut off."""

    charged: float


class AnswerCollection:
    """Keeps the answers of several models to questions, on disk; use it in a `with` block.

    A record that lacks a model of `models` is reopened for that model, and for those whose calls had failed.

    Args:
        path: RECORDS, plain or (by its name) gzip.
        questions: what to answer.
        models: a question is finished once all of them have answered or failed.
        retry: reopen records in which the call of one of `models` had failed.

    Raises:
        RecordsError: a file cannot be read or written, or RECORDS holds another question under the same task and id.
    """

    def __init__(
        self, path: str | os.PathLike[str], questions: Iterable[Question], models: Sequence[str], *, retry: bool = False
    ) -> None:
        self.path = Path(path)
        self.part_path = self.path.with_name(self.path.name + ".part")
        self.answers: dict[Key, dict[str, CollectedAnswer]] = {}  # without the texts of finished questions
        self.spent = 0.0
        """Dollars of the answers that were there when it was opened, as far as their costs are known or counted."""
        self._has_unknown_costs = False
        self._questions = {q.key: q for q in questions}
        self._models = tuple(models)
        self._finished: set[Key] = set()
        self._complete: set[Key] = set()
        """Questions that wait for earlier ones, so that the records come in the order of the questions."""
        self._waiting = deque(self._questions)
        """Questions that are not in RECORDS, in their order, and some that are."""
        self._loaded = False
        self._pending = Appender(self.part_path)  # first: its lock keeps a second process out
        try:
            self._out = Appender(self.path)  # repairs a line that was cut short before anything is read
            self._load(retry)
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if hasattr(self, "_out"):
            if self._loaded:
                self._write_complete(passes_gaps=True)
            self._out.close()
            if not self.path.stat().st_size:
                self.path.unlink()
        is_saved = self._loaded and set(self.answers) <= self._finished  # RECORDS holds all that the part file holds
        is_saved &= not self._has_unknown_costs or self._questions.keys() <= self._finished
        if is_saved or not self.part_path.stat().st_size:
            self.part_path.unlink()
        self._pending.close()

    @property
    def finished_questions(self) -> int:
        """Return how many of the questions are in RECORDS."""
        return len(self._finished & self._questions.keys())

    def needs_call(self, question: Question, model: str) -> bool:
        """Return whether to ask the model this question; a failed call is final once the question is finished."""
        answer = self.answers.get(question.key, {}).get(model)
        return answer is None or (bool(answer.failure) and question.key not in self._finished)

    def add(self, answer: CollectedAnswer) -> None:
        """Write an answer, and the question's record where it and those before lack none. Raises RecordsError."""
        key = (answer.task, answer.id)
        self._pending.write(answer)
        self.answers.setdefault(key, {})[answer.model] = answer
        self._write_if_complete(key)

    def add_unknown_cost(self, dollars: float) -> None:
        """Write the dollars that count for a call of unknown cost, so that a later part of the run counts them, too."""
        self._pending.write(UnknownCost(dollars))
        self._has_unknown_costs = True

    def _write_if_complete(self, key: Key) -> None:
        if key not in self._finished and all(m in self.answers[key] for m in self._models):
            self._complete.add(key)
            self._write_complete()

    def _write_complete(self, *, passes_gaps: bool = False) -> None:
        """Write the records of complete questions, in the order of the questions, up to the first incomplete one."""
        incomplete: list[Key] = []
        while self._waiting and (
            passes_gaps or (first := self._waiting[0]) in self._complete or first in self._finished
        ):
            key = self._waiting.popleft()
            if key in self._complete:
                self._complete.remove(key)
                self._finished.add(key)
                answers = self.answers[key]
                self._out.write(_make_record(self._questions[key], answers))
                self.answers[key] = _without_texts(answers.values())
            elif key not in self._finished:
                incomplete.append(key)
        self._waiting.extendleft(reversed(incomplete))

    def _load(self, retry: bool) -> None:
        reopened = self._read_finished(retry)
        unfinished = self._read_part()
        for key, answers in reopened.items():
            known = unfinished.setdefault(key, {})
            for answer in answers:
                if answer.model not in known:
                    self._pending.write(answer)
                    known[answer.model] = answer
        if reopened:
            self._remove_records(reopened.keys())
        self.answers |= unfinished
        self._loaded = True
        for key in [k for k in unfinished if k in self._questions]:
            self._write_if_complete(key)

    def _read_finished(self, retry: bool) -> dict[Key, list[CollectedAnswer]]:
        """Read RECORDS; return the answers of the records to reopen, without the failures to retry."""
        reopened: dict[Key, list[CollectedAnswer]] = {}
        for record in read_records(self.path):
            key = (record.task, record.id)
            question = self._questions.get(key)
            if question is None:
                continue
            if question.query != record.query:
                reason = f"holds another question as task '{record.task}', id '{record.id}'; choose another --out"
                raise RecordsError([BadLine(str(self.path), 0, reason)])
            answers = _split_record(record)
            self.spent += sum(a.cost or 0.0 for a in answers)
            has_failure = any(a.failure and a.model in self._models for a in answers)
            if (retry and has_failure) or not record.scores.keys() >= set(self._models):
                reopened[key] = [a for a in answers if not a.failure or a.model not in self._models]
            else:
                self._finished.add(key)
                self.answers[key] = _without_texts(answers)
        return reopened

    def _read_part(self) -> dict[Key, dict[str, CollectedAnswer]]:
        """Return the answers of unfinished questions, without failed calls: those cost nothing to repeat."""
        unfinished: dict[Key, dict[str, CollectedAnswer]] = {}
        errors = ErrorCollector()
        for number, line in read_lines(self.part_path, errors):
            try:
                if line.startswith(b'{"charged"'):
                    self.spent += msgspec.json.decode(line, type=UnknownCost).charged
                    self._has_unknown_costs = True
                    continue
                answer = msgspec.json.decode(line, type=CollectedAnswer)
            except (msgspec.DecodeError, UnicodeDecodeError) as e:
                errors(BadLine(str(self.part_path), number, f"{e}; remove that line"))
                continue
            key = (answer.task, answer.id)
            if answer.failure or key not in self._finished:
                self.spent += answer.cost or 0.0
            if key not in self._finished and not answer.failure:
                unfinished.setdefault(key, {})[answer.model] = answer
        errors.raise_if_any()
        return unfinished

    def _remove_records(self, keys: Collection[Key]) -> None:
        """Rewrite RECORDS, in one step, without these records; the part file holds their answers."""
        with tempfile.TemporaryDirectory(dir=self.path.absolute().parent) as folder:
            rewritten = Path(folder) / self.path.name
            with Appender(rewritten) as out:
                for record in read_records(self.path):
                    if (record.task, record.id) not in keys:
                        out.write(record)
            self._out.close()
            os.replace(rewritten, self.path)
        self._out = Appender(self.path)


def _without_texts(answers: Iterable[CollectedAnswer]) -> dict[str, CollectedAnswer]:
    """Return model -> answer, without the texts, which are the bulk of a collection."""
    return {a.model: replace(a, text=None) for a in answers}


def _make_record(question: Question, answers: Mapping[str, CollectedAnswer]) -> Record:
    costs: dict[str, float | None] = {m: a.cost for m, a in answers.items() if a.cost is not None}
    confidence: dict[str, float | None] = {m: a.confidence for m, a in answers.items() if a.confidence is not None}
    return Record(
        question.id,
        question.task,
        question.query,
        {m: a.score for m, a in answers.items()},
        prompt=question.prompt,
        responses={m: a.text for m, a in answers.items() if a.text is not None},
        reference=question.reference,
        costs=costs or None,
        confidence=confidence or None,
        seconds={m: a.seconds for m, a in answers.items() if a.seconds is not None and a.failure is None} or None,
    )


def _split_record(record: Record) -> list[CollectedAnswer]:
    """Return a record's answers. A null score without a text, where other models have theirs, is a failed call."""

    def of(values: Mapping[str, float | None] | None, model: str) -> float | None:
        return None if values is None else values.get(model)

    return [
        CollectedAnswer(
            record.task,
            record.id,
            model,
            score,
            text := None if record.responses is None else record.responses.get(model),
            of(record.costs, model),
            of(record.seconds, model),
            of(record.confidence, model),
            "failed when it was recorded" if score is None and text is None and record.responses is not None else None,
        )
        for model, score in record.scores.items()
    ]
