"""Compare two answers with a model as judge, in both orders, so that a preference for a place cancels out.

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

VERDICTS = {"a": 1.0, "b": 0.0, "c": 0.5, "tie": 0.5}


async def compare_answers(question: str, answer: str, other: str, judge: ModelSpec, client: Client) -> float | None:
    """Return 1.0 where `judge` prefers `answer`, 0.0 where it prefers `other`, 0.5 for a tie or a contradiction.

    None where either verdict failed or could not be read. Makes two calls.
    """
    first = await _request_verdict(question, answer, other, judge, client)
    second = await _request_verdict(question, other, answer, judge, client)
    if first is None or second is None:
        return None
    return 0.5 if first != 1.0 - second else first


async def _request_verdict(question: str, a: str, b: str, judge: ModelSpec, client: Client) -> float | None:
    request = Request(prompts.comparison_messages(question, a, b))
    try:
        async with aclosing(client.stream(judge, request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    return parse_verdict(piece.text)
    except ModelError:
        return None
    return None


def parse_verdict(reply: str) -> float | None:
    """Return 1.0 where the reply prefers answer A, 0.0 for B, 0.5 for a tie, None where it cannot be read."""
    marked = re.findall(r"\[\[\s*(A|B|C|tie)\s*\]\]", reply, re.IGNORECASE)
    if not marked and (bare := re.fullmatch(r"\W*(A|B|C|tie)\W*", reply.strip(), re.IGNORECASE)):
        marked = [bare[1]]
    return VERDICTS[marked[-1].casefold()] if marked else None
