"""Choose one of several open answers: a judge compares them in pairs, in both orders, and the winner stays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from routemoa.core.events import Compared
from routemoa.core.trace import Proposal
from routemoa.core.types import ModelSpec
from routemoa.judging.judge_model import PairwiseJudge
from routemoa.judging.pairwise import AnswerSelection, Verdict, parse_verdict
from routemoa.mixture import prompts
from routemoa.mixture.calls.separate_call import call_model
from routemoa.mixture.run import Run

__all__ = ["select_answer"]


async def select_answer(
    run: Run, answers: Sequence[Proposal], judge: ModelSpec, reliability: PairwiseJudge
) -> tuple[Proposal, ...]:
    """Return the answers with the winner of the knock-out first; two calls of the judge for each pair.

    Args:
        run: the query.
        answers: by prior, best first; the first one stands at a tie and where the judge cannot be asked.
        judge: compares them.
        reliability: how well it does.
    """
    selection = AnswerSelection(judge.name, answers, run.trace.prior, reliability)
    for first, second in selection:
        verdicts = await asyncio.gather(_ask(run, judge, first, second), _ask(run, judge, second, first))
        run.emit(Compared(selection.record(*verdicts)))
    return selection.answers


async def _ask(run: Run, judge: ModelSpec, first: Proposal, second: Proposal) -> Verdict | None:
    messages = prompts.comparison_messages(run.query.messages, first.text, second.text)
    reply = await call_model(run, "comparison", judge, messages)
    return None if reply is None else parse_verdict(reply)
