"""What a collection has so far: finished questions in RECORDS, single answers of unfinished ones in RECORDS.part.

Every answer is written down as it comes, so that whenever the process ends, nothing has to be paid for twice.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routemoa.datasets import records
from routemoa.datasets.jsonl import Appender, BadLine, ErrorCollector, RecordsError, read_lines
from routemoa.datasets.questions import Question
from routemoa.datasets.records import Record

__all__ = ["AnswerCollection", "CollectedAnswer"]

Key = tuple[str, str]


class CollectedAnswer(Struct, frozen=True, omit_defaults=True):
    """What came of asking one model one question: a text, or the reason of a failure.

    `score` is in [0, 1], None where the call failed or nothing could be graded; `cost` in dollars, `seconds` from
    the call to the answer's end.
    """

    task: str
    id: str
    model: str
    score: float | None = None
    text: str | None = None
    cost: float | None = None
    seconds: float | None = None
    confidence: float | None = None
    failure: str | None = None


class AnswerCollection:
    """Takes outcomes one by one; use it in a `with` block.

    A record that lacks a model of the pool is taken up again for that model, and for those whose calls had failed.

    Args:
        path: RECORDS, plain or (by its name) gzip.
        questions: what is to be answered, in order.
        models: whose answers make a question finished.
        retry: ask again where a recorded call had failed.

    Raises:
        RecordsError: a file cannot be read or written, or RECORDS holds another question under the same task and id.
    """

    def __init__(
        self, path: str | os.PathLike[str], questions: Iterable[Question], models: Sequence[str], *, retry: bool = False
    ) -> None:
        self.path = Path(path)
        self.part_path = self.path.with_name(self.path.name + ".part")
        self.answers: dict[Key, dict[str, CollectedAnswer]] = {}  # without the texts of finished questions
        self._questions = {q.key: q for q in questions}
        self._models = tuple(models)
        self._finished: set[Key] = set()
        self._loaded = False
        self._pending = Appender(self.part_path)  # first: it keeps a second process out
        try:
            self._out = records.write(self.path)  # mends a line cut short before anything is read
            self._load(retry)
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        if hasattr(self, "_out"):
            self._out.close()
            if not self.path.stat().st_size:
                self.path.unlink()
        saved = self._loaded and set(self.answers) <= self._finished  # nothing in it that is not in RECORDS as well
        if saved or not self.part_path.stat().st_size:
            self.part_path.unlink()
        self._pending.close()

    @property
    def finished_questions(self) -> int:
        """How many of the questions are in RECORDS."""
        return len(self._finished & self._questions.keys())

    def has(self, question: Question, model: str) -> bool:
        """Whether the model need not be asked this question (again); a failure counts once the question is finished."""
        outcome = self.answers.get(question.key, {}).get(model)
        return outcome is not None and (not outcome.failure or question.key in self._finished)

    def add(self, outcome: CollectedAnswer) -> None:
        """Write one outcome down, and the question's record when it was the last. Raises RecordsError."""
        key = (outcome.task, outcome.id)
        self._pending.write(outcome)
        self.answers.setdefault(key, {})[outcome.model] = outcome
        self._write_if_complete(key)

    def _write_if_complete(self, key: Key) -> None:
        given = self.answers[key]
        if all(m in given for m in self._models):
            self._out.write(_make_record(self._questions[key], given))
            self._finished.add(key)
            self.answers[key] = {m: replace(o, text=None) for m, o in given.items()}

    def _load(self, retry: bool) -> None:
        reopened = self._read_records(retry)
        left = self._read_part()
        for key, outcomes in reopened.items():
            mine = left.setdefault(key, {})
            for outcome in outcomes:
                if outcome.model not in mine:
                    self._pending.write(outcome)
                    mine[outcome.model] = outcome
        if reopened:
            self._remove_records(reopened.keys())
        self.answers |= left
        self._loaded = True
        for key in [k for k in left if k in self._questions]:
            self._write_if_complete(key)

    def _read_records(self, retry: bool) -> dict[Key, list[CollectedAnswer]]:
        """Take in what is finished; return the outcomes of the records that must be taken up again."""
        reopened: dict[Key, list[CollectedAnswer]] = {}
        for record in records.read_records(self.path):
            key = (record.task, record.id)
            asked = self._questions.get(key)
            if asked is None:
                continue
            if asked.query != record.query:
                reason = f"holds another question as task '{record.task}', id '{record.id}'; choose another --out"
                raise RecordsError([BadLine(str(self.path), 0, reason)])
            outcomes = _split_record(record)
            again = retry and any(o.failure and o.model in self._models for o in outcomes)
            if again or not record.scores.keys() >= set(self._models):
                reopened[key] = [o for o in outcomes if not o.failure or o.model not in self._models]
            else:
                self._finished.add(key)
                self.answers[key] = {o.model: replace(o, text=None) for o in outcomes}
        return reopened

    def _read_part(self) -> dict[Key, dict[str, CollectedAnswer]]:
        """The answers of unfinished questions. Calls that failed are asked again: there was nothing to pay for."""
        left: dict[Key, dict[str, CollectedAnswer]] = {}
        complaints = ErrorCollector()
        for number, line in read_lines(self.part_path, complaints):
            try:
                outcome = msgspec.json.decode(line, type=CollectedAnswer)
            except (msgspec.DecodeError, UnicodeDecodeError) as e:
                complaints(BadLine(str(self.part_path), number, f"{e}; remove that line"))
                continue
            key = (outcome.task, outcome.id)
            if key not in self._finished and not outcome.failure:
                left.setdefault(key, {})[outcome.model] = outcome
        complaints.raise_if_any()
        return left

    def _remove_records(self, keys: Collection[Key]) -> None:
        """Rewrite RECORDS at once without the records that are taken up again; their answers are in the part file."""
        with tempfile.TemporaryDirectory(dir=self.path.absolute().parent) as folder:
            kept = Path(folder) / self.path.name
            with records.write(kept) as out:
                for record in records.read_records(self.path):
                    if (record.task, record.id) not in keys:
                        out.write(record)
            self._out.close()
            os.replace(kept, self.path)
        self._out = records.write(self.path)


def _make_record(question: Question, given: Mapping[str, CollectedAnswer]) -> Record:
    costs: dict[str, float | None] = {m: o.cost for m, o in given.items() if o.cost is not None}
    confidence: dict[str, float | None] = {m: o.confidence for m, o in given.items() if o.confidence is not None}
    return Record(
        question.id,
        question.task,
        question.query,
        {m: o.score for m, o in given.items()},
        prompt=question.prompt,
        responses={m: o.text for m, o in given.items() if o.text is not None},
        reference=question.reference,
        costs=costs or None,
        confidence=confidence or None,
        seconds={m: o.seconds for m, o in given.items() if o.seconds is not None and o.failure is None} or None,
    )


def _split_record(record: Record) -> list[CollectedAnswer]:
    """A record taken apart. A null without a text, where others have theirs, is a call that had failed."""

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
