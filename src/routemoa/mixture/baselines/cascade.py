"""A cascade (FrugalGPT, arXiv 2305.05176): the cheapest model first, a dearer one while the answer is unsure."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec import Struct

from routemoa.core.events import AnswerDelta, Event, Stopped
from routemoa.core.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.trace import Layer
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import ModelSpec, Query
from routemoa.mixture import layer
from routemoa.mixture.baselines.base import Baseline
from routemoa.mixture.baselines.steps import no_answer_error, run_proposers
from routemoa.mixture.budget.metering import MeteredClient

__all__ = ["LOGPROB", "SPOKEN", "Cascade"]

SPOKEN = 0.9
"""The self-score, in [0, 1], from which an answer stands: models that speak of confidence seldom say less than 0.8."""

LOGPROB = 0.85
"""The mean token probability (geometric), in [0, 1], from which an answer stands. Neither is calibrated on records."""


class Cascade(Baseline):
    """One model after the other, each asked the query alone; the first confident answer stands, and nobody aggregates.

    Not as in the paper: there a trained model scores each answer, here the answering model's own assessment does.
    """

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("cascade", client, pool.limits)
        self.order = sorted(pool, key=_dearness)
        self.spoken = pool.mixture.self_assessment == "spoken"
        self.threshold = SPOKEN if self.spoken else LOGPROB

    async def walk(self, query: Query, so_far: TraceBuilder, desk: MeteredClient) -> AsyncGenerator[Event, None]:
        """A layer for each model asked. An unreadable confidence counts as low, a failed model is passed over."""
        for number, spec in enumerate(self.order, 1):
            plan = layer.LayerRequest(number, query, spoken=self.spoken, logprob=not self.spoken)
            async with aclosing(run_proposers(plan, [spec], desk)) as events:
                async for event in events:
                    yield event
            found = _answer(so_far.trace.layers[-1])
            if found and found.confidence is not None and found.confidence >= self.threshold:
                break
        given = [a for done in so_far.trace.layers if (a := _answer(done))]
        if not given:
            raise no_answer_error(so_far.trace, desk)
        # Among equally confident answers, the dearer model's: it comes later.
        chosen = max(enumerate(given), key=lambda i: (i[1].confidence is not None, i[1].confidence or 0.0, i[0]))[1]
        yield Stopped(self._reason(chosen, len(so_far.trace.layers)))
        yield AnswerDelta(chosen.text)
        yield desk.done("stop")

    def _reason(self, chosen: _Answer, asked: int) -> str:
        kind = "spoken" if self.spoken else "log-probability"
        if chosen.confidence is None:
            return f"last model: {asked} of {len(self.order)} asked, no readable confidence ({kind})"
        at = f"{chosen.model} at {chosen.confidence:.3f} ({kind})"
        if chosen.confidence >= self.threshold:
            return f"confident: {at} is at least {self.threshold:g}, {asked} of {len(self.order)} asked"
        return f"last model: none is confident, the most is {at}, below {self.threshold:g}"


class _Answer(Struct, frozen=True):
    """What a layer of one model gave; its confidence is in [0, 1], or None where it could not be read."""

    model: str
    text: str
    confidence: float | None


def _answer(done: Layer) -> _Answer | None:
    own = {a.subject: a.value for a in done.assessments if a.kind == "self"}
    return next((_Answer(p.model, p.text, own.get(p.model)) for p in done.proposals), None)


def _dearness(m: ModelSpec) -> tuple[float, ...]:
    """Output price, input price, latency, then the prior (the better first); what is unknown comes last."""
    costs = [math.inf if v is None else v for v in (m.output_price, m.input_price, m.latency)]
    return (*costs, math.inf if m.prior is None else -m.prior)
