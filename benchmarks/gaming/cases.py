"""The cases of the benchmark: five models on one question, with recorded answers and simulated honest judges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.trace import Assessment, Layer, Proposal, Trace
from routemoa.core.types import Query, Scores
from routemoa.core.usage import Usage
from routemoa.datasets.records import Record
from routemoa.evaluation.replay.recorded import JudgedAnswer, SimulatedJudge
from routemoa.judging.answers.grouping import final_answer

__all__ = ["PANEL_SIZE", "Case", "JudgeScores", "RecordedPool", "sample_cases"]

PANEL_SIZE = 5
NO_RESULT = "I went through all of it more than once,\nand there is no result that I would put down here."
JudgeScores = Mapping[tuple[str, str], float | None]
"""Judge and subject -> score in [0, 1]."""


class RecordedPool(Struct, frozen=True):
    """The models of one file of records, whose questions are split in halves."""

    records: list[Record]
    models: list[str]
    results: list[dict[str, int | None]]
    """For each record, model -> number of the result that it states; None where it states none."""
    train: list[int]
    test: list[int]
    prior: dict[str, float]

    @classmethod
    def split(cls, records: list[Record], models: list[str], *, develop: bool) -> RecordedPool:
        """Split the records at random; `develop` splits the first half in two and leaves the second one unused."""
        results: list[dict[str, int | None]] = []
        for record in records:
            stated = {m: final_answer((record.responses or {}).get(m) or "") for m in models}
            number = {result: i for i, result in enumerate(dict.fromkeys(r for r in stated.values() if r))}
            results.append({m: number[result] if result else None for m, result in stated.items()})
        order = Random(0).sample(range(len(records)), len(records))
        half = len(order) // 2
        train, test = (order[: half // 2], order[half // 2 : half]) if develop else (order[:half], order[half:])
        prior = {m: (sum(records[i].scores[m] or 0.0 for i in train) + 1) / (len(train) + 2) for m in models}
        return cls(records, models, results, train, test, prior)


class Case(Struct, frozen=True):
    """Five models on one question, and which of them attack."""

    pool: RecordedPool
    question: int
    seed: int
    panel: tuple[str, ...]
    attackers: tuple[str, ...] = ()

    @property
    def record(self) -> Record:
        return self.pool.records[self.question]

    @property
    def truth(self) -> dict[str, float]:
        return {m: self.record.scores[m] or 0.0 for m in self.panel}

    def with_attackers(self, count: int) -> Case:
        """Choose attackers: models with wrong answers first, of two those with the same one; else right ones."""
        rng, results = Random(f"{self.seed}:{self.question}:{count}"), self.pool.results[self.question]
        ordered = rng.sample(self.panel, len(self.panel))
        wrong = Counter(results[m] for m in ordered if self.truth[m] < 0.5 and results[m] is not None)
        shared = {result for result, n in wrong.items() if n > 1} if count > 1 else set()
        ordered.sort(key=lambda m: (self.truth[m] > 0.5, results[m] not in shared, results[m] or 0))
        return replace(self, attackers=tuple(ordered[:count]))

    def text(self, model: str, form: str) -> str:
        """Return a short answer that groups as the recorded one does; without its result in the form `open`."""
        result = self.pool.results[self.question][model]
        if form == "open":
            return f"{model} went through\nall of it and puts down no result that anybody could compare"
        return NO_RESULT if result is None else f"The answer is {result}."

    def honest_scores(self) -> dict[tuple[str, str], float | None]:
        """Return the scores of honest judges, for their own answers too."""
        judge = SimulatedJudge(seed=self.seed)
        texts = {m: (self.record.responses or {}).get(m) or "" for m in self.panel}
        return {
            (j, m): judge.score(j, self.record.id, JudgedAnswer(m, texts[m], self.truth[m]))
            for j in self.panel
            for m in self.panel
        }

    def trace(self, scores: JudgeScores, form: str) -> Trace:
        """Return two layers: answers with self-scores, then the same answers with self- and cross-scores."""
        proposals = tuple(Proposal(m, self.text(m, form), Usage(), None, None) for m in self.panel)
        own = tuple(Assessment(m, m, "self", scores[m, m]) for m in self.panel)
        cross = tuple(Assessment(j, m, "cross", score) for (j, m), score in scores.items() if j != m)
        quoted = dict.fromkeys(self.panel, self.panel) if form == "copied" else {}
        layers = (
            Layer(self.panel, proposals, assessments=own),
            Layer(self.panel, proposals, assessments=own + cross, quoted=quoted),
        )
        prior: Scores = {m: self.pool.prior[m] for m in self.panel}
        return Trace(Query.from_text(self.record.query), "routemoa", prior, layers=layers)


def sample_cases(pool: RecordedPool, questions: Sequence[int], seeds: Sequence[int]) -> Iterator[Case]:
    """Yield a case with a random panel for each question and seed."""
    for seed in seeds:
        for question in questions:
            panel = Random(f"{seed}:{question}").sample(pool.models, PANEL_SIZE)
            yield Case(pool, question, seed, tuple(panel))
