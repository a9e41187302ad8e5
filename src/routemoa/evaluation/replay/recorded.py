"""Recorded answers behind the Client protocol: a whole mixture is replayed on what models really wrote, at no cost.

A request is recognised by the question in its last user turn; the answer is the recorded text of the member's name.
What records do not hold, judgments of others' answers, a `SimulatedJudge` of stated reliability may add, in the same
reply and in the same words as a model's, so that prompts, parsing and anonymity are those of real traffic.
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
from routemoa.mixture.prompts import ASSESSMENT, neutralize

__all__ = ["JudgedAnswer", "RecordedClient", "SimulatedJudge"]

_QUOTED = re.compile(r'<answer id="(\w+)">\n(.*?)\n</answer>', re.DOTALL)
_NORMAL = NormalDist()


class JudgedAnswer(Struct, frozen=True):
    """What a judge could see of one quoted answer: who wrote it (judges are not told), its text, and its true score."""

    subject: str | None
    text: str
    truth: float | None


class SimulatedJudge(Struct, frozen=True):
    """Scores of stated reliability: `cross` and `own` are the AUC with which they tell right answers from wrong ones
    (below 0.5: they take the one for the other).

    Scores are normal deviates around two means, squashed into (0, 1); `inflation` moves a judge's view of itself.
    """

    peer_auc: float = 0.7
    self_auc: float = 0.6
    inflation: float = 1.0
    seed: int = 0

    def score(self, judge: str, question: str, verdict: JudgedAnswer) -> float | None:
        """The score that `judge` gives, the same each time it is asked; None where the truth was not recorded."""
        if verdict.truth is None:
            return None
        mine = verdict.subject == judge
        distance = _NORMAL.inv_cdf(min(max(self.self_auc if mine else self.peer_auc, 0.001), 0.999)) * 2**0.5
        rng = Random(f"{self.seed}:{judge}:{question}:{verdict.text}")  # noqa: S311  (a simulation)
        value = rng.gauss(distance * (verdict.truth - 0.5), 1.0) + (self.inflation if mine else 0.0)
        return round(_NORMAL.cdf(value), 3)


Judge = Callable[[str, str, JudgedAnswer], float | None]


class RecordedClient:
    """Answers from records; `judge` says what a judge makes of an answer, by its name, the question and the answer."""

    def __init__(self, records: Iterable[Record], judge: Judge | None = None) -> None:
        self.calls = 0
        self._judge = judge
        self._records: dict[str, Record] = {}
        for record in records:
            self._records.setdefault((record.prompt or record.query).strip(), record)
            self._records.setdefault(record.query.strip(), record)

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        """The recorded answer of `model`, with judgments where they are asked for.

        Raises:
            QueryError: no record holds the question.
            ModelError: the record holds no answer of this model.
        """
        self.calls += 1
        record, asked = self._find(request.messages[-1].content)
        text = (record.responses or {}).get(model.name)
        if not text:
            raise ModelError(model.name, "no answer of this model is recorded for the question")
        if self._judge and f"<{ASSESSMENT}>" in asked:
            text += f"\n<{ASSESSMENT}>{json.dumps(self._judgments(model.name, record, text, asked))}</{ASSESSMENT}>"
        yield text
        yield Completion(text, finish_reason="stop", latency=(record.seconds or {}).get(model.name))

    async def close(self) -> None:
        """Nothing to let go of."""

    def _find(self, asked: str) -> tuple[Record, str]:
        """The record of the question, and what is asked besides it."""
        for end in [len(asked), *(m.start() for m in re.finditer(r"\n+---\n", asked))]:
            if record := self._records.get(asked[:end].strip()):
                return record, asked[end:]
        raise QueryError(f"no record holds the question {asked[:80]!r}")

    def _judgments(self, judge: str, record: Record, text: str, asked: str) -> Mapping[str, object]:
        assert self._judge is not None  # noqa: S101  (asked only then)
        out: dict[str, object] = {}
        if '"self"' in asked:
            out["self"] = self._judge(judge, record.id, JudgedAnswer(judge, text, record.scores.get(judge)))
        if '"scores"' in asked:
            given = sorted((record.responses or {}).items(), key=lambda pair: pair[0] != judge)
            wrote = {
                neutralize(t.strip()): m for m, t in given if t
            }  # what others wrote in the same words is not its own
            scores: dict[str, float | None] = {}
            for label, quoted in _QUOTED.findall(asked):
                subject = wrote.get(quoted)
                truth = record.scores.get(subject) if subject else None
                scores[label] = self._judge(judge, record.id, JudgedAnswer(subject, quoted, truth))
            out["scores"] = scores
        return out
