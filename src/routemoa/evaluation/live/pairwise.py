"""A model compares two answers, twice, with places swapped: a judge that only likes the first place says a tie.

After Zheng et al. 2023 (arXiv 2306.05685, section 3.4): a verdict counts when both orders agree on it.
"""

from __future__ import annotations

import re
from contextlib import aclosing

from routemoa.core.errors import ModelError
from routemoa.core.protocols import Client
from routemoa.core.types import Completion, ModelSpec, Request
from routemoa.mixture import prompts

__all__ = ["compare_answers", "parse_verdict"]


async def compare_answers(question: str, answer: str, other: str, judge: ModelSpec, client: Client) -> float | None:
    """How far `judge` prefers `answer` to `other`: 1.0 yes, 0.0 no, 0.5 a tie or two verdicts that contradict.

    None where either verdict could not be had or read. Two calls.
    """
    first = await _ask(question, answer, other, judge, client)
    second = await _ask(question, other, answer, judge, client)
    if first is None or second is None:
        return None
    return 0.5 if first != 1.0 - second else first


async def _ask(question: str, a: str, b: str, judge: ModelSpec, client: Client) -> float | None:
    request = Request(prompts.comparison_messages(question, a, b))
    try:
        async with aclosing(client.stream(judge, request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    return parse_verdict(piece.text)
    except ModelError:
        return None
    return None


def parse_verdict(said: str) -> float | None:
    """What a comparison's reply says of answer A: 1.0 better, 0.0 worse, 0.5 equal; None where it is unreadable."""
    found = re.findall(r"\[\[\s*(A|B|C|tie)\s*\]\]", said, re.IGNORECASE)
    if not found and (bare := re.fullmatch(r"\W*(A|B|C|tie)\W*", said.strip(), re.IGNORECASE)):
        found = [bare[1]]
    return {"a": 1.0, "b": 0.0, "c": 0.5, "tie": 0.5}[found[-1].casefold()] if found else None
