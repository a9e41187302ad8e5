"""Compare two answers with a model as judge, in both orders, so that a preference for a place cancels out.

After Zheng et al. 2023 (arXiv 2306.05685, section 3.4): a verdict counts when both orders agree on it.
"""

from __future__ import annotations

from contextlib import aclosing

from routemoa.core.errors import ModelError
from routemoa.core.protocols import Client
from routemoa.core.types import Completion, Message, ModelSpec, Request
from routemoa.judging.pairwise import Verdict, combine_orders, parse_verdict
from routemoa.mixture import prompts

__all__ = ["ask_both_orders", "compare_answers"]

PREFERENCES = {"first": 1.0, "second": 0.0, "tie": 0.5}


async def compare_answers(question: str, answer: str, other: str, judge: ModelSpec, client: Client) -> float | None:
    """Return 1.0 where `judge` prefers `answer`, 0.0 where it prefers `other`, 0.5 for a tie or a contradiction.

    None where either verdict failed or could not be read. Makes two calls.
    """
    verdict = combine_orders(*await ask_both_orders(question, answer, other, judge, client))
    return None if verdict is None else PREFERENCES[verdict]


async def ask_both_orders(
    question: str, first: str, second: str, judge: ModelSpec, client: Client
) -> tuple[Verdict | None, Verdict | None]:
    """Return what a judge prefers of two answers as it is shown them: in this order, then in the other one.

    None where the call failed or its reply could not be read.
    """
    forwards = await _request_verdict(question, first, second, judge, client)
    backwards = await _request_verdict(question, second, first, judge, client)
    return forwards, backwards


async def _request_verdict(question: str, a: str, b: str, judge: ModelSpec, client: Client) -> Verdict | None:
    request = Request(prompts.comparison_messages((Message("user", question),), a, b))
    try:
        async with aclosing(client.stream(judge, request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    return parse_verdict(piece.text)
    except ModelError:
        return None
    return None
