"""Compare the policies for open questions with the best model alone: which pairs there are, and what a judge says.

The answers are those of a live run with the methods of `open_methods`; a judge model or people compare them. People
get a file of pairs to label, JSON lines in which the two answers stand in an order that tells nothing.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec
from msgspec import Struct

from routemoa.core.stop_reason import StopKind
from routemoa.core.trace import Comparison
from routemoa.core.types import ModelSpec
from routemoa.datasets.collector import gather_or_cancel
from routemoa.datasets.jsonl import read_lines
from routemoa.datasets.questions import Question
from routemoa.evaluation.live.call_cache import CURRENT_QUESTION, CallCache, QuestionRun
from routemoa.evaluation.live.call_file import ABANDONED, CALLS
from routemoa.evaluation.live.methods import OPEN_POLICIES, PREFIX
from routemoa.evaluation.live.pairwise import ask_both_orders
from routemoa.evaluation.live.runner import TRACES, UnitKey
from routemoa.evaluation.outcomes import Outcome, read_outcomes
from routemoa.judging.answers.question_kind import question_kind
from routemoa.judging.compared_pair import ComparedPair
from routemoa.judging.pairwise import Verdict

__all__ = [
    "ALONE",
    "AnswerPair",
    "Orders",
    "build_pairs",
    "compare_pairs",
    "find_judged",
    "judge_pairs",
    "needs_judge",
    "open_methods",
    "select_open_questions",
]

ALONE = PREFIX + OPEN_POLICIES[0]
Orders = tuple[Verdict | None, Verdict | None]
"""What a judge prefers of two answers as it is shown them: in their order, then in the other one."""


class _Compared(Struct):
    comparisons: tuple[Comparison, ...] = ()


class _Line(Struct):
    """The part of a line of traces.jsonl that says what compared the answers."""

    method: str
    task: str
    id: str
    trace: _Compared


class _Call(Struct):
    """The part of a line of calls.jsonl that says which pair it was about."""

    method: str
    task: str
    id: str
    failure: str | None = None
    kind: str | None = None


class AnswerPair(Struct, frozen=True):
    """The best model's answer alone, and another method's, to one question."""

    task: str
    id: str
    method: str
    query: str
    alone: str
    other: str
    settled: Verdict | None = None
    """Which is better where no judge has to tell: they are equal, or one is missing. "first" is the one alone."""
    extra_calls: int = 0
    extra_cost: float | None = None
    """Dollars."""
    writers: tuple[str | None, str | None] = (None, None)
    """The models that wrote the answers."""
    judges: frozenset[str] = frozenset()
    """The models whose comparisons chose the other answer: their word on it again would say nothing."""

    @property
    def policy(self) -> str:
        """The method's name without its prefix."""
        return self.method.removeprefix(PREFIX)

    @property
    def key(self) -> UnitKey:
        """Method, task and id."""
        return self.method, self.task, self.id

    @property
    def question(self) -> str:
        """Task and id in one text."""
        return f"{self.task}/{self.id}"

    @property
    def log_length(self) -> float:
        """ln(length of the other answer / length of the one alone); 0 where one is missing."""
        lengths = len(self.alone.strip()), len(self.other.strip())
        return math.log(lengths[1] / lengths[0]) if all(lengths) else 0.0

    @property
    def is_turned(self) -> bool:
        """Tell whether people are shown the other answer first: by the question and the method, as good as a coin."""
        return zlib.crc32(f"{self.question}:{self.method}".encode()) % 2 == 1


def open_methods(policies: Sequence[str]) -> tuple[str, ...]:
    """Return the methods of a run that compares policies with the best model alone, which comes first."""
    return (ALONE, *(PREFIX + policy for policy in policies))


def select_open_questions(questions: Sequence[Question]) -> list[Question]:
    """Return the questions that do not ask for a result, which every policy treats alike."""
    return [q for q in questions if question_kind(q.text) != "result"]


def build_pairs(
    folder: str | Path, questions: Sequence[Question], methods: Sequence[str], alone: str = ALONE
) -> list[AnswerPair]:
    """Return the pairs of a run's answers, question by question.

    A question is left out where the model alone gave a result that others can confirm: then it is not an open one.

    Args:
        folder: of the run.
        questions: those to compare.
        methods: to compare with `alone`.
        alone: the method that is compared with.
    """
    outcomes = {(o.method, o.task, o.id): o for o in read_outcomes(folder)}
    judges = find_judges(folder, methods)
    pairs: list[AnswerPair] = []
    for question in questions:
        first = outcomes.get((alone, *question.key))
        if first is None or (alone == ALONE and not first.failure and not (first.stop or "").startswith(StopKind.OPEN)):
            continue
        for method in methods:
            second = outcomes.get((method, *question.key))
            if second is not None:
                pairs.append(_make_pair(question, first, second, judges.get((method, *question.key), frozenset())))
    return pairs


def find_judges(folder: str | Path, methods: Collection[str]) -> Mapping[UnitKey, frozenset[str]]:
    """Return (method, task, id) -> the models that compared answers in that question's run."""
    lines = (msgspec.json.decode(line, type=_Line) for _, line in read_lines(Path(folder) / TRACES, lambda _: None))
    return {
        (x.method, x.task, x.id): frozenset(c.judge for c in x.trace.comparisons) for x in lines if x.method in methods
    }


async def judge_pairs(
    pairs: Sequence[AnswerPair],
    judge: ModelSpec,
    cache: CallCache,
    *,
    concurrency: int = 4,
    on_judged: Callable[[AnswerPair], None] = lambda _: None,
) -> list[Orders]:
    """Return what a judge says of each pair, two calls for each; nothing where it chose the answer itself.

    Raises:
        BudgetExceeded: the spending limit is reached; the calls so far are in the cache.
    """
    found: list[Orders] = [(None, None)] * len(pairs)

    async def work(queue: Iterator[tuple[int, AnswerPair]]) -> None:
        for i, pair in queue:
            CURRENT_QUESTION.set(QuestionRun(_judge_method(judge.name, pair.method), pair.task, pair.id))
            found[i] = await ask_both_orders(pair.query, pair.alone, pair.other, judge, cache)
            on_judged(pair)

    queue = iter([(i, p) for i, p in enumerate(pairs) if needs_judge(p, judge.name)])  # shared by the workers
    await gather_or_cancel([asyncio.create_task(work(queue)) for _ in range(concurrency)])
    return found


def find_judged(folder: str | Path, judge: str, methods: Sequence[str], *, retry: bool = False) -> set[UnitKey]:
    """Return (method, task, id) of the pairs of which a run's folder holds what a judge said in both orders.

    With `retry` without those of which a call failed.
    """
    names = {_judge_method(judge, method): method for method in methods}
    calls: Counter[UnitKey] = Counter()
    for _, line in read_lines(Path(folder) / CALLS, lambda _: None):
        call = msgspec.json.decode(line, type=_Call)
        if call.method in names and call.kind != ABANDONED and not (retry and call.failure):
            calls[names[call.method], call.task, call.id] += 1
    return {key for key, count in calls.items() if count >= 2}


def compare_pairs(
    pairs: Sequence[AnswerPair], orders: Sequence[Orders], labels: Mapping[int, Verdict] = MappingProxyType({})
) -> list[ComparedPair]:
    """Return the pairs with what a judge and people say of them, by their places in `pairs`."""
    return [
        ComparedPair(
            pair.question,
            pair.policy,
            pair.log_length,
            order,
            labels.get(i),
            pair.settled,
            pair.extra_calls,
            pair.extra_cost,
        )
        for i, (pair, order) in enumerate(zip(pairs, orders, strict=True))
    ]


def _judge_method(judge: str, method: str) -> str:
    """Return what a judge's calls are filed under."""
    return f"judge:{judge}:{method}"


def needs_judge(pair: AnswerPair, judge: str) -> bool:
    """Return whether a judge's word on a pair would say something."""
    return pair.settled is None and judge not in pair.judges


def _make_pair(question: Question, alone: Outcome, other: Outcome, judges: frozenset[str]) -> AnswerPair:
    texts = (alone.text or "").strip(), (other.text or "").strip()
    missing = not texts[0], not texts[1]
    settled: Verdict | None = "tie" if texts[0] == texts[1] else None
    if missing[0] != missing[1]:
        settled = "second" if missing[0] else "first"
    cost = None if None in (alone.cost, other.cost) else (other.cost or 0.0) - (alone.cost or 0.0)
    return AnswerPair(
        question.task,
        question.id,
        other.method,
        question.text,
        *texts,
        settled,
        extra_calls=other.calls - alone.calls,
        extra_cost=cost,
        writers=(alone.aggregator or alone.choice, other.aggregator or other.choice),
        judges=judges,
    )
