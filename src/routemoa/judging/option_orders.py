"""Ask a multiple-choice question with its options in another order, and read the answer in the question's own. Pure.

    Which gas do plants take in?         Which gas do plants take in?
    A. oxygen                            A. carbon dioxide
    B. carbon dioxide              ->    B. helium                          "A" there is "B" here
    C. helium                            C. oxygen

Models favour places: one that errs names another option once the options have moved, and one that knows names the same
(arXiv 2309.03882). So answers in several orders are worth more than several samples in one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

from routemoa.core.types import ModelSpec, Query
from routemoa.judging.answers.results import extract_result
from routemoa.judging.multiple_choice import CACHED_QUESTIONS, LETTERS, MAX_LENGTH, find_named_option, find_option_lines

__all__ = ["ASK_FOR_LETTER", "ReorderedQuestion", "reorder_options", "reorder_query"]

ASK_FOR_LETTER = "Answer with one letter and nothing else.\nAnswer:"
"""Ends a question in another order: its answer is a vote, and two tokens are enough. A model of 1.5 billion
parameters keeps to these words, and not to "the letter only"."""
_NAMES_OTHERS = re.compile(
    r"(?i:\b(?:above|below|both|neither|all of|none of|all are|none are)\b)|\b[A-J] (?:and|or|&) [A-J]\b"
)
"""What an option says that is only right in its place."""
_NAMES_LETTERS = re.compile(r"(?i:\ball that apply\b|\bmore than one\b|\bletters\b|\boptions? \(?[a-j]\b)")
"""What a question says whose answer is no single letter, or that speaks of its options by their letters."""
_NUMBER = re.compile(r"\W{0,3}\d|(?:zero|one|two|three|four|five|six|seven|eight|nine|ten)\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")


class ReorderedQuestion(Struct, frozen=True):
    """A question with its options in another order."""

    text: str
    shift: int
    """By how many places the options moved up, in [1, count)."""
    options: tuple[str, ...]
    """The options' texts in the question's own order."""

    def restore(self, answer: str) -> str | None:
        """Return what an answer to this question says in the order of the original; None where it names no option."""
        place = self._read_place(answer)
        if place is None:
            return None
        original = (place + self.shift) % len(self.options)
        return f"The answer is {LETTERS[original]}. {self.options[original]}"

    def _read_place(self, answer: str) -> int | None:
        """Return the place of the option that an answer names, by its letter or else its text."""
        moved = [*self.options[self.shift :], *self.options[: self.shift]]
        form = (extract_result(answer).form or "").upper()
        if len(form) == 1 and form in LETTERS[: len(moved)]:
            return LETTERS.index(form)
        return find_named_option(answer, moved)


def reorder_query(query: Query, spec: ModelSpec) -> ReorderedQuestion | None:
    """Return a query's last message with its options as the candidate sees them; None where they keep their order.

    That is so where the answer has to have a form, may be a call of a tool, or is about more than text.
    """
    if not 1 < spec.vote <= spec.orders or query.tools is not None or query.answer_format is not None or query.media:
        return None
    last = query.messages[-1]
    if last.role != "user" or last.body is not None:
        return None
    return reorder_options(last.content, spec.vote, spec.orders)


@lru_cache(CACHED_QUESTIONS)
def reorder_options(text: str, order: int, orders: int) -> ReorderedQuestion | None:
    """Return a multiple-choice question with its options turned by a part of their number.

    Args:
        text: the question, with an option a line: "A. oxygen" or "(A) oxygen". Of several lists the last one counts.
        order: the number of the order, from 2; the first one is the question's own.
        orders: how many there are in all; they are spread evenly.

    Returns:
        None where the question has no such options or is very long, an option speaks of others ("both A and B"), its
        answer has to be worked out, or this order is the same as an earlier one, as where there are fewer options than
        orders.
    """
    if len(text) > MAX_LENGTH:
        return None
    lines = find_option_lines(text)
    count = len(lines)
    shift = (order - 1) * count // orders
    if count < 2 or shift <= (order - 2) * count // orders:
        return None
    options = [line[4].rstrip() for line in lines]
    before, after = text[: lines[0].start()], text[lines[-1].end() :]
    if any(_NAMES_OTHERS.search(option) for option in options) or _NAMES_LETTERS.search(before + after):
        return None
    if _is_worked_out(before, options):
        return None
    pieces, end = [before], lines[0].start()
    for place, line in enumerate(lines):
        pieces += [text[end : line.start(4)], options[(place + shift) % count]]
        end = line.end()
    asked = "".join([*pieces, after]).rstrip()
    return ReorderedQuestion(f"{asked}\n\n{ASK_FOR_LETTER}", shift, tuple(options))


def _is_worked_out(question: str, options: Sequence[str]) -> bool:
    """Tell whether an answer is worked out: half of the options are numbers, or two are said in the question itself.

    "A red cup, a blue pen, a green hat. What is to the right of the pen?" has its colours in it. There a letter without
    reasons is worth less than an answer with them (docs/research/evaluation.md).
    """
    if 2 * sum(_NUMBER.match(option) is not None for option in options) >= len(options):
        return True
    words = set(_WORD.findall(question.casefold()))
    return sum(words.issuperset(_WORD.findall(option.casefold())) for option in options) >= 2
