"""Count the tokens of replayed calls, from rendered prompts and recorded replies.

Four characters are a token (types.CHARACTERS_PER_TOKEN), in prompts and replies alike: records seldom hold counts, and
counts of different tokenizers do not add up. A prompt's length is the sum of its parts, each measured once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache

from msgspec import Struct

from routemoa.core.tools import ToolCall
from routemoa.core.trace import Agreement
from routemoa.core.types import CHARACTERS_PER_TOKEN, Message
from routemoa.core.usage import add_optional
from routemoa.datasets.records import Record
from routemoa.evaluation.replay.list_prices import ListPrice
from routemoa.judging.answers.code.behaviour import (
    Behaviour,
    collect_inputs,
    describe_groups,
    group_behaviours,
    restrict_inputs,
)
from routemoa.judging.answers.code.code_calls import find_examples
from routemoa.judging.answers.code_blocks import is_code_panel
from routemoa.judging.answers.grouping import Groups, group_answers
from routemoa.judging.answers.tool_calls import group_calls
from routemoa.mixture import prompts
from routemoa.mixture.prompts import ASSESSMENT, ReplyFormat

__all__ = ["CallTotals", "ReplayQuestion", "combine_parallel"]

EMPTY_QUESTION = (Message("user", ""),)


class CallTotals(Struct, frozen=True):
    """What calls took together; None is unknown.

    Consecutive calls add with `+`, parallel ones with `combine_parallel`.
    """

    calls: int = 0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    path_tokens: float = 0.0
    """Output tokens on the critical path."""
    cost: float | None = 0.0
    """Dollars."""
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
    """Return the totals of parallel calls: all are paid for, the slowest and the longest make the critical path."""
    parts = list(calls)
    total = sum(parts, CallTotals())
    seconds = [part.seconds for part in parts]
    return CallTotals(
        total.calls,
        total.prompt_tokens,
        total.completion_tokens,
        max((part.path_tokens for part in parts), default=0.0),
        total.cost,
        None if None in seconds else max((s for s in seconds if s is not None), default=0.0),
    )


class ReplayQuestion:
    """A record prepared for a replay: the members' answers, their groups, and the tokens of calls about them."""

    def __init__(
        self,
        record: Record,
        members: Iterable[str],
        prices: Mapping[str, ListPrice] | None = None,
        behaviours: Mapping[str, Behaviour] | None = None,
        tool_calls: Mapping[str, tuple[ToolCall, ...]] | None = None,
    ) -> None:
        self.record = record
        responses = record.responses or {}
        self.texts = {m: text for m in members if (text := responses.get(m) or "").strip()}
        """Member -> its recorded answer."""
        self.behaviours = behaviours
        """Member -> what its code did, where it was run on the inputs of all members' answers."""
        self.tool_calls = tool_calls
        """Member -> the calls that it proposes, where the question came with tools; none of them is "no call"."""
        self._prices = prices or {}
        self._question_length = len(record.prompt or record.query)
        self._quote_lengths: dict[str, int] = {}

    @cached_property
    def groups(self) -> Groups:
        """The groups of equal answers, in the order of `texts`."""
        if self.tool_calls is not None:
            return group_calls([self.tool_calls.get(m, ()) for m in self.texts])
        agreement = self.compare_code(list(self.texts))
        if agreement is None:
            return group_answers(list(self.texts.values()))
        return Groups(agreement.groups, True, (None,) * len(self.texts))

    @cached_property
    def group_of(self) -> dict[str, int | None]:
        """Member -> the group of its answer; None where the answer states no result."""
        return dict(zip(self.texts, self.groups.group_of, strict=True))

    def compare_code(self, models: Sequence[str]) -> Agreement | None:
        """Return how these members' code answers compare, as the engine would after they answered; None where not run.

        Only inputs count that the question or one of these answers shows.
        """
        if self.behaviours is None or not is_code_panel([self.texts[m] for m in models]):
            return None
        examples = find_examples(self.record.prompt or self.record.query)
        inputs = set(collect_inputs(examples, [self.texts[m] for m in models]))
        behaviours = [restrict_inputs(self.behaviours[m], inputs) for m in models]
        return describe_groups(group_behaviours(behaviours, examples), models, len(inputs))

    def count_proposal(
        self,
        model: str,
        candidates: Sequence[str] = (),
        reply_format: ReplyFormat | None = None,
        system_length: int = 0,
    ) -> CallTotals:
        """Count a proposer's call that quotes the answers of `candidates`.

        `system_length` is in characters, of a system text before the prompt.
        """
        reply = len(self.texts.get(model, ""))
        judgments = _judgments_length(reply_format) if reply_format and reply else 0
        prompt = system_length + self._prompt_length("proposal", candidates, reply_format)
        return self._count_call(model, prompt, reply + judgments)

    def count_aggregation(self, model: str, candidates: Sequence[str], text_of: str) -> CallTotals:
        """Count an aggregator's call. Its answer is not recorded, so it is as long as that of `text_of`."""
        return self._count_call(model, self._prompt_length("aggregation", candidates), len(self.texts.get(text_of, "")))

    def count_moderation(self, model: str, candidates: Sequence[str], keep: int) -> CallTotals:
        """Count a moderator's call (SMoA), which replies with the labels of `keep` answers."""
        labels = list(prompts.candidate_labels(len(candidates))[:keep])
        reply = json.dumps({"best": labels, "done": False})
        return self._count_call(model, self._prompt_length("moderation", candidates, keep=keep), len(reply))

    def _count_call(self, model: str, prompt_length: float, reply_length: float) -> CallTotals:
        """Count a call of so many characters, with the recorded dollars and seconds of the model's plain call.

        Where no costs are recorded, dollars follow from the list price.
        """
        prompt_tokens, completion_tokens = prompt_length / CHARACTERS_PER_TOKEN, reply_length / CHARACTERS_PER_TOKEN
        cost: float | None = None
        if self.record.costs is not None:
            cost = self.record.costs.get(model)
        elif model in self._prices:
            cost = self._prices[model].cost(prompt_tokens, completion_tokens)
        seconds = (self.record.seconds or {}).get(model)
        return CallTotals(1, prompt_tokens, completion_tokens, completion_tokens, cost, seconds)

    def _prompt_length(
        self, kind: str, candidates: Sequence[str], reply_format: ReplyFormat | None = None, keep: int = 0
    ) -> int:
        """Return the characters of a prompt: the question, the instructions and the quoted answers."""
        instructions = _instructions_length(kind, bool(candidates), reply_format, keep)
        if not candidates:
            return self._question_length + instructions
        labels = prompts.candidate_labels(len(candidates))
        quotes = sum(self._quote_length(m) + len(label) for m, label in zip(candidates, labels, strict=True))
        return self._question_length + instructions + quotes + len("\n\n") * (len(candidates) - 1)

    def _quote_length(self, model: str) -> int:
        """Return the characters of a quoted answer, without its label."""
        if model not in self._quote_lengths:
            self._quote_lengths[model] = len(prompts.quote_answers([self.texts[model]])) - len("A")
        return self._quote_lengths[model]


@lru_cache(maxsize=1024)
def _instructions_length(kind: str, has_quotes: bool, reply_format: ReplyFormat | None, keep: int) -> int:
    """Return the characters of a prompt to an empty question, without the quoted answers."""
    candidates = ("",) if has_quotes else ()
    if kind == "proposal":
        messages = prompts.proposal_messages(EMPTY_QUESTION, candidates, reply_format)
    elif kind == "aggregation":
        messages = prompts.aggregation_messages(EMPTY_QUESTION, candidates)
    else:
        messages = prompts.moderation_messages(EMPTY_QUESTION, candidates, keep)
    return sum(len(m.content) for m in messages) - len(prompts.quote_answers(candidates))


@lru_cache(maxsize=1024)
def _judgments_length(reply_format: ReplyFormat) -> int:
    """Return the characters of the judgments in a reply."""
    judgments: dict[str, object] = {"self": 0.85} if reply_format.self_score else {}
    if reply_format.peers:
        judgments["scores"] = dict.fromkeys(reply_format.peers, 0.85)
    return len(f"\n<{ASSESSMENT}>{json.dumps(judgments)}</{ASSESSMENT}>") if judgments else 0
