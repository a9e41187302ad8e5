"""A `Client` that replays recorded answers, so that a whole mixture runs on real answers at no cost.

A request is matched by the question in its last user turn; the reply is the recorded text of that model. Records hold
no judgments of others' answers: a `SimulatedJudge` of stated reliability may add them, in the same reply and in the
same words as a model's, so that prompts, parsing and anonymity are those of real traffic.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from random import Random
from statistics import NormalDist

from msgspec import Struct

from routemoa.core.errors import ModelError, QueryError
from routemoa.core.types import Completion, ModelSpec, Request
from routemoa.datasets.records import Record
from routemoa.mixture.prompts import ASSESSMENT, quoted_text

__all__ = ["JudgedAnswer", "RecordedClient", "SimulatedJudge"]

_QUOTE = re.compile(r'<answer id="(\w+)">\n(.*?)\n</answer>', re.DOTALL)
_NORMAL = NormalDist()


class JudgedAnswer(Struct, frozen=True):
    """A quoted answer that a judge scores."""

    subject: str | None
    """The model that wrote it, which real judges are not told; None where no record holds the text."""
    text: str
    truth: float | None
    """Its recorded score in [0, 1]."""


class SimulatedJudge(Struct, frozen=True):
    """Gives scores of stated reliability.

    Scores are normal deviates around two means, one for right and one for wrong answers, squashed into (0, 1).
    """

    peer_auc: float = 0.7
    """AUC with which it separates others' right answers from wrong ones; below 0.5 it takes one for the other."""
    self_auc: float = 0.6
    """AUC on its own answers."""
    inflation: float = 1.0
    """Standard deviations added to scores of its own answers."""
    seed: int = 0

    def score(self, judge: str, question: str, answer: JudgedAnswer) -> float | None:
        """Return the score that `judge` gives, always the same for the same answer; None where its truth is unknown."""
        if answer.truth is None:
            return None
        is_own = answer.subject == judge
        auc = self.self_auc if is_own else self.peer_auc
        distance = _NORMAL.inv_cdf(min(max(auc, 0.001), 0.999)) * 2**0.5
        rng = Random(f"{self.seed}:{judge}:{question}:{answer.text}")  # noqa: S311  (a simulation)
        value = rng.gauss(distance * (answer.truth - 0.5), 1.0) + (self.inflation if is_own else 0.0)
        return round(_NORMAL.cdf(value), 3)


Judge = Callable[[str, str, JudgedAnswer], float | None]
"""Returns a score from the judge's name, the question's id and the answer."""


class RecordedClient:
    """Answers from records; `judge` gives the scores of judges."""

    def __init__(self, records: Iterable[Record], judge: Judge | None = None) -> None:
        self.calls = 0
        self._judge = judge
        self._records: dict[str, Record] = {}
        for record in records:
            self._records.setdefault((record.prompt or record.query).strip(), record)
            self._records.setdefault(record.query.strip(), record)

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        """Yield the recorded answer of `model`, with judgments where the request asks for them.

        Raises:
            QueryError: no record holds the question.
            ModelError: the record holds no answer of this model.
        """
        self.calls += 1
        record, instructions = self._find_record(request.messages[-1].content)
        text = (record.responses or {}).get(model.name)
        if not text:
            raise ModelError(model.name, "no answer of this model is recorded for the question")
        if self._judge and f"<{ASSESSMENT}>" in instructions:
            judgments = self._judgments(self._judge, model.name, record, text, instructions)
            text += f"\n<{ASSESSMENT}>{json.dumps(judgments)}</{ASSESSMENT}>"
        yield text
        yield Completion(text, finish_reason="stop", latency=(record.seconds or {}).get(model.name))

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _find_record(self, prompt: str) -> tuple[Record, str]:
        """Return the record of the question that a prompt begins with, and the rest of the prompt."""
        for end in [len(prompt), *(m.start() for m in re.finditer(r"(?<!\n)\n+---\n", prompt))]:
            if record := self._records.get(prompt[:end].strip()):
                return record, prompt[end:]
        raise QueryError(f"no record holds the question {prompt[:80]!r}")

    @staticmethod
    def _judgments(judge: Judge, model: str, record: Record, text: str, instructions: str) -> Mapping[str, object]:
        judgments: dict[str, object] = {}
        if '"self"' in instructions:
            judgments["self"] = judge(model, record.id, JudgedAnswer(model, text, record.scores.get(model)))
        if '"scores"' in instructions:
            # The judge's own answer comes first, so that another model's equal text overwrites it.
            responses = sorted((record.responses or {}).items(), key=lambda item: item[0] != model)
            author_of = {quoted_text(answer): author for author, answer in responses if answer}
            scores: dict[str, float | None] = {}
            for label, quoted in _QUOTE.findall(instructions):
                author = author_of.get(quoted)
                truth = record.scores.get(author) if author else None
                scores[label] = judge(model, record.id, JudgedAnswer(author, quoted, truth))
            judgments["scores"] = scores
        return judgments
