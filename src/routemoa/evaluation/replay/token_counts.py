"""What the calls of a replay take: tokens of rendered prompts and of the recorded replies.

Four characters are a token (types.CHARACTERS), in prompts and replies alike: records seldom hold counts, and counts of
different tokenizers do not add up. A prompt's length follows from the lengths of its parts, each measured once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache

from msgspec import Struct

from routemoa.core.types import CHARACTERS_PER_TOKEN, Message, add_optional
from routemoa.datasets.records import Record
from routemoa.evaluation.replay.list_prices import ListPrice
from routemoa.judging.answers.grouping import Groups, group_answers
from routemoa.mixture import prompts
from routemoa.mixture.prompts import ASSESSMENT, ReplyFormat

__all__ = ["CallTotals", "ReplayQuestion", "combine_parallel"]

EMPTY = (Message("user", ""),)


class CallTotals(Struct, frozen=True):
    """Calls, tokens, dollars and seconds; None is unknown. `path` is written on the critical path. One after the other
    adds with `+`, at the same time with `together`."""

    calls: int = 0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    path_tokens: float = 0.0
    cost: float | None = 0.0
    seconds: float | None = 0.0

    def __add__(self, other: CallTotals) -> CallTotals:
        return CallTotals(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.path_tokens + other.path_tokens,
            add_optional(self.cost, other.cost),
            add_optional(self.seconds, other.seconds),
        )


def combine_parallel(calls: Iterable[CallTotals]) -> CallTotals:
    """A layer: the slowest of its calls is waited for, all are paid."""
    done = list(calls)
    total = sum(done, CallTotals())
    seconds = [s.seconds for s in done]
    return CallTotals(
        total.calls,
        total.prompt_tokens,
        total.completion_tokens,
        max((s.path_tokens for s in done), default=0.0),
        total.cost,
        None if None in seconds else max((s for s in seconds if s is not None), default=0.0),
    )


class ReplayQuestion:
    """A record as a replay reads it: who wrote what, which of it says the same, and how long it is."""

    def __init__(self, record: Record, members: Iterable[str], prices: Mapping[str, ListPrice] | None = None) -> None:
        self.record = record
        responses = record.responses or {}
        self.texts = {m: text for m in members if (text := responses.get(m) or "").strip()}
        self._prices = prices or {}
        self._base = len(record.prompt or record.query)
        self._quoted: dict[str, int] = {}

    @cached_property
    def groups(self) -> Groups:
        """Which of all recorded answers say the same, in the order of `texts`."""
        return group_answers(list(self.texts.values()))

    @cached_property
    def group_of(self) -> dict[str, int | None]:
        """The group of answers that each model's belongs to, of all that are recorded; None: it states nothing."""
        return dict(zip(self.texts, self.groups.group_of, strict=True))

    def count_proposal(
        self, model: str, candidates: Sequence[str] = (), reply_format: ReplyFormat | None = None, system: int = 0
    ) -> CallTotals:
        """A proposer's call, shown the answers of `candidates`; `system` characters stand before its prompt."""
        reply = len(self.texts.get(model, ""))
        said = _judgment(reply_format) if reply_format and reply else 0
        return self._call(model, system + self._size("proposal", candidates, reply_format), reply + said)

    def count_aggregation(self, model: str, candidates: Sequence[str], text_of: str) -> CallTotals:
        """An aggregator's call: nobody wrote its answer, so that of `text_of` stands in for its length."""
        return self._call(model, self._size("aggregation", candidates), len(self.texts.get(text_of, "")))

    def count_moderation(self, model: str, candidates: Sequence[str], keep: int) -> CallTotals:
        """A moderator's call (SMoA), which replies with labels."""
        labels = list(prompts.candidate_labels(len(candidates))[:keep])
        reply = json.dumps({"best": labels, "done": False})
        return self._call(model, self._size("moderation", candidates, keep=keep), len(reply))

    def _call(self, model: str, prompt: float, reply: float) -> CallTotals:
        """What is recorded of the model's own call stands for dollars and seconds; else its list price."""
        sent, back = prompt / CHARACTERS_PER_TOKEN, reply / CHARACTERS_PER_TOKEN
        costs, price = self.record.costs, self._prices.get(model)
        cost = costs.get(model) if costs is not None else None if price is None else price.cost(sent, back)
        return CallTotals(1, sent, back, back, cost, (self.record.seconds or {}).get(model))

    def _size(self, kind: str, candidates: Sequence[str], asked: ReplyFormat | None = None, keep: int = 0) -> int:
        """Characters of a prompt: the question, what frames the quoted answers, and these."""
        frame = _frame(kind, bool(candidates), asked, keep)
        if not candidates:
            return self._base + frame
        labels = prompts.candidate_labels(len(candidates))
        quotes = sum(self._quote(m) + len(label) for m, label in zip(candidates, labels, strict=True))
        return self._base + frame + quotes + len("\n\n") * (len(candidates) - 1)

    def _quote(self, model: str) -> int:
        """Characters of an answer when quoted, without its label."""
        if model not in self._quoted:
            self._quoted[model] = len(prompts.quote_answers([self.texts[model]])) - len("A")
        return self._quoted[model]


@lru_cache(maxsize=1024)
def _frame(kind: str, quoting: bool, asked: ReplyFormat | None, keep: int) -> int:
    """Characters of a prompt to an empty question, without the quoted answers."""
    candidates = ("",) if quoting else ()
    if kind == "proposal":
        messages = prompts.proposal_messages(EMPTY, candidates, asked)
    elif kind == "aggregation":
        messages = prompts.aggregation_messages(EMPTY, candidates)
    else:
        messages = prompts.moderation_messages(EMPTY, candidates, keep)
    return sum(len(m.content) for m in messages) - len(prompts.quote_answers(candidates))


@lru_cache(maxsize=1024)
def _judgment(asked: ReplyFormat) -> int:
    """Characters of the judgments in a reply."""
    said: dict[str, object] = {"self": 0.85} if asked.self_score else {}
    if asked.peers:
        said["scores"] = dict.fromkeys(asked.peers, 0.85)
    return len(f"\n<{ASSESSMENT}>{json.dumps(said)}</{ASSESSMENT}>") if said else 0
