"""Runs the code answers to a query in the sandbox, so that they are compared by what they do (`run_code`)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from time import monotonic
from typing import TypeVar

from routemoa.core.errors import NoSandbox
from routemoa.core.events import CodeCompared
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Agreement, Proposal
from routemoa.judging.answers.code.behaviour import Behaviour, collect_inputs, describe_groups, group_behaviours
from routemoa.judging.answers.code.code_calls import Example, find_examples, find_imports
from routemoa.judging.answers.code_blocks import is_code_panel
from routemoa.mixture.run import Run
from routemoa.routing.decision import latest_answers, without_refusals

__all__ = ["CodeComparison"]

logger = logging.getLogger("routemoa.mixture")

MAX_SECONDS = 10.0
"""For all answers of a query together."""
RUN_CODE_OFF = "code answers are compared as text: run_code is off"
NO_SANDBOX = "code answers are compared as text: there is no sandbox on this machine (bubblewrap)"
NO_TIME = "code answers are compared as text: no time is left to run them"
T = TypeVar("T")


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
        self._tried: dict[str, set[str]] = {}

    async def compare(self, layer: int) -> None:
        """Emit how the answers so far were compared, where they are code; one alone only where it was run."""
        if self._mixture.published:
            return
        proposals = without_refusals(latest_answers(self._run.trace))
        if not proposals or proposals[0].refusal or not is_code_panel([p.text for p in proposals]):
            return
        agreement = await self._run_answers(proposals) if self._mixture.run_code else Agreement(RUN_CODE_OFF)
        if agreement.models or len(proposals) > 1:  # else nothing was run, and there is nothing to compare
            self._run.emit(CodeCompared(layer, agreement))

    async def _run_answers(self, proposals: Sequence[Proposal]) -> Agreement:
        """Run the answers and group them by what they do; say why, where that cannot be done."""
        left = self._run.client.deadline.seconds_left
        started = monotonic()
        try:
            async with asyncio.timeout(self._seconds_left if left is None else min(self._seconds_left, left / 2)):
                return await self._observe(proposals)
        except TimeoutError:
            return Agreement(NO_TIME)
        except NoSandbox as e:
            logger.warning("run_code is on, but no code can be run: %s", e)
            return Agreement(NO_SANDBOX)
        finally:
            self._seconds_left = max(0.0, self._seconds_left - (monotonic() - started))

    async def _observe(self, proposals: Sequence[Proposal]) -> Agreement:
        """Run each answer on the inputs that are new to it, and group them. Raises NoSandbox."""
        from routemoa.datasets.grading.behaviour import observe_behaviour

        turns = [m.content for m in self._run.query.messages if m.role == "user"]
        question, texts = turns[-1] if turns else "", [p.text for p in proposals]
        examples, inputs = await _in_worker(lambda: _read_inputs(question, texts))
        names = list(dict.fromkeys(example.call.name for example in examples))
        preamble = find_imports(question)
        for text in dict.fromkeys(texts):
            tried = self._tried.setdefault(text, set())
            missing = [i for i in inputs if i not in tried]
            if not missing and text in self._done:
                continue
            found = await _in_worker(partial(observe_behaviour, text, missing, names, preamble))
            tried.update(missing)
            before = self._done.get(text, Behaviour())
            self._done[text] = Behaviour({**before.outputs, **found.outputs}, None if before.outputs else found.failure)
        groups = await _in_worker(lambda: group_behaviours([self._done[text] for text in texts], examples))
        return describe_groups(groups, [p.model for p in proposals], len(inputs))


def _read_inputs(question: str, texts: Sequence[str]) -> tuple[list[Example], tuple[str, ...]]:
    examples = find_examples(question)
    return examples, collect_inputs(examples, texts)


async def _in_worker(work: Callable[[], T]) -> T:
    """Return what `work()` returns, done in one of few threads of their own; waiting work is dropped when cancelled."""
    return await asyncio.get_running_loop().run_in_executor(_workers(), work)


@cache
def _workers() -> ThreadPoolExecutor:
    """Return the threads that wait for sandboxes: half of the processors stay free for a busy server's other work."""
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 2) // 2), "code-sandbox")
