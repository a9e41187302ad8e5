"""Runs the code answers to a query in the sandbox, so that they are compared by what they do (`run_code`)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from time import monotonic

from routemoa.core.errors import NoSandbox
from routemoa.core.events import Compared
from routemoa.core.mixture_table import Mixture
from routemoa.core.trace import Agreement, Proposal
from routemoa.judging.answers.behaviour import Behaviour, collect_inputs, describe_groups, group_behaviours
from routemoa.judging.answers.code_blocks import is_code_panel
from routemoa.judging.answers.code_calls import find_examples
from routemoa.mixture.run import Run
from routemoa.routing.decision import latest_answers, without_refusals

__all__ = ["CodeComparison"]

logger = logging.getLogger("routemoa.mixture")

MAX_SECONDS = 10.0
"""For all answers of a query together."""
MAX_ANSWER_SECONDS = 4.0
RUN_CODE_OFF = "code answers are compared as text: run_code is off"
NO_SANDBOX = "code answers are compared as text: there is no sandbox on this machine (bubblewrap)"
NO_TIME = "code answers are compared as text: no time is left to run them"

_one_at_a_time = threading.Lock()
"""One sandbox runs at a time, so that a busy server keeps its processors for other work."""


class CodeComparison:
    """Compares the code answers to one query; what was run is not run again.

    Args:
        run: the query being answered.
        mixture: says whether code is run (`run_code`). Published loops compare texts, as published.
    """

    def __init__(self, run: Run, mixture: Mixture) -> None:
        self._run = run
        self._mixture = mixture
        self._seconds_left = MAX_SECONDS
        self._done: dict[str, Behaviour] = {}
        self._cancelled = threading.Event()

    async def compare(self, layer: int) -> None:
        """Emit how the answers so far were compared, where they are code."""
        if self._mixture.published:
            return
        proposals = without_refusals(latest_answers(self._run.trace))
        if not proposals or proposals[0].refusal or not is_code_panel([p.text for p in proposals]):
            return
        self._run.emit(
            Compared(layer, await self._run_answers(proposals) if self._mixture.run_code else Agreement(RUN_CODE_OFF))
        )

    async def _run_answers(self, proposals: Sequence[Proposal]) -> Agreement:
        left = self._run.client.deadline.seconds_left
        seconds = self._seconds_left if left is None else min(self._seconds_left, left / 2)
        try:
            return await asyncio.to_thread(self._observe, proposals, monotonic() + seconds)
        except asyncio.CancelledError:
            self._cancelled.set()
            raise
        except NoSandbox as e:
            logger.warning("run_code is on, but no code can be run: %s", e)
            return Agreement(NO_SANDBOX)

    def _observe(self, proposals: Sequence[Proposal], deadline: float) -> Agreement:
        """Run each answer on the inputs that are new to it, and group them. Raises NoSandbox."""
        from routemoa.datasets.grading.behaviour import observe_behaviour

        question = self._run.query.text
        examples = find_examples(question)
        inputs = collect_inputs(examples, [p.text for p in proposals])
        names = list(dict.fromkeys(example.call.name for example in examples))
        for proposal in proposals:
            before = self._done.get(proposal.text, Behaviour())
            missing = [i for i in inputs if i not in before.outputs] if before.failure is None else []
            if not missing and proposal.text in self._done:
                continue
            with _one_at_a_time:
                started = monotonic()
                if self._cancelled.is_set() or started >= deadline:
                    return Agreement(NO_TIME)
                seconds = min(MAX_ANSWER_SECONDS, deadline - started)
                found = observe_behaviour(proposal.text, missing, names, seconds=seconds)
                self._seconds_left -= monotonic() - started
            self._done[proposal.text] = Behaviour({**before.outputs, **found.outputs}, found.failure)
        groups = group_behaviours([self._done[p.text] for p in proposals], examples)
        return describe_groups(groups, [p.model for p in proposals], len(inputs))
