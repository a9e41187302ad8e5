"""Read what the last turn of a conversation asks, with the earlier turns that it refers to. Pure and linear.

    "What is the capital of France?" ... "And of Spain?"          # both: the last turn is too short to say it
    "What is the capital of France?" ... "Write a long poem ..."  # the last turn alone

The length decides, in any language: words that refer to something ("it", "and") did no better on recorded questions.
Turns of the assistant and the system text are not read: they are not the question.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["complete_last_turn"]

ENOUGH = 60
"""Characters that say what a turn is about."""
WIDE_FROM, WIDE = "\u2e80", 3
"""From this character on a writing system is wide, such as Chinese: a character counts as so many."""


def complete_last_turn(turns: Sequence[str]) -> str:
    """Return the last of the user's turns, after the earlier ones where these are not enough: as few as will do."""
    first = len(turns) - 1
    length = _count_up_to_enough(turns[first])
    while length < ENOUGH and first > 0:
        first -= 1
        length += _count_up_to_enough(turns[first])
    return "\n\n".join(turns[first:])


def _count_up_to_enough(turn: str) -> int:
    """Return how long a turn is; of a long one the beginning tells."""
    return sum(WIDE if c >= WIDE_FROM else 1 for c in turn.strip()[:ENOUGH])
