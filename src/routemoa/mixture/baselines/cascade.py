"""A cascade (FrugalGPT, arXiv 2305.05176): the cheapest model first, a more expensive one while it is unsure."""

from __future__ import annotations

import math

from msgspec import Struct

from routemoa.core.events import Stopped
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.trace import Layer, Proposal
from routemoa.core.types import ModelSpec
from routemoa.mixture.baselines.steps import run_proposers
from routemoa.mixture.calls.admission import Admission
from routemoa.mixture.layer import LayerRequest
from routemoa.mixture.method import BaseMethod
from routemoa.mixture.run import Run

__all__ = ["LOGPROB", "SPOKEN", "Cascade"]

SPOKEN = 0.9
"""The self-score, in [0, 1], from which an answer stands: models that speak of confidence seldom say less than 0.8."""

LOGPROB = 0.85
"""The mean token probability (geometric), in [0, 1], from which an answer stands. Neither is calibrated on records."""


class Cascade(BaseMethod):
    """One model after the other, each asked the query alone; the first confident answer stands, unaggregated.

    Not as in the paper: there a trained model scores each answer, here the answering model's own assessment does.
    """

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("cascade", client, pool.limits, pool.absent)
        self.order = sorted(pool, key=_price_order)
        self.verbalized = pool.mixture.assesses_in_words
        self.threshold = SPOKEN if self.verbalized else LOGPROB

    async def run(self, run: Run) -> None:
        """Ask one model a layer. An unreadable confidence counts as low; a model that fails is skipped."""
        admission = Admission(run)
        order = sorted(self.order, key=lambda m: not admission.is_ready(m))  # one that cools down is a last resort
        for number, spec in enumerate(order, 1):
            last = number == len(order)
            request = LayerRequest(
                number, run.query, verbalized=self.verbalized, logprob=not self.verbalized, is_last=last
            )
            await run_proposers(run, request, [spec])
            answer = _read_answer(run.trace.layers[-1])
            if answer and answer.proposal.is_complete and (answer.confidence or 0.0) >= self.threshold:
                break
        answers = [a for layer in run.trace.layers if (a := _read_answer(layer))]
        if not answers:
            raise run.no_answer()
        # Among equally confident answers, a complete one; then the more expensive model's, which comes later.
        chosen = max(
            enumerate(answers),
            key=lambda i: (i[1].confidence is not None, i[1].confidence or 0.0, i[1].proposal.is_complete, i[0]),
        )[1]
        run.emit(Stopped(self._reason(chosen, len(run.trace.layers))))
        run.show_answer(chosen.proposal)

    def _reason(self, chosen: _Answer, asked: int) -> str:
        kind = "spoken" if self.verbalized else "log-probability"
        if chosen.confidence is None:
            return f"last model: {asked} of {len(self.order)} asked, no readable confidence ({kind})"
        at = f"{chosen.model} at {chosen.confidence:.3f} ({kind})"
        if chosen.confidence >= self.threshold:
            return f"confident: {at} is at least {self.threshold:g}, {asked} of {len(self.order)} asked"
        return f"last model: none is confident, the most is {at}, below {self.threshold:g}"


class _Answer(Struct, frozen=True):
    """The answer of a layer of one model; its confidence is in [0, 1], or None where it could not be read."""

    proposal: Proposal
    confidence: float | None

    @property
    def model(self) -> str:
        """The model that gave it."""
        return self.proposal.model


def _read_answer(layer: Layer) -> _Answer | None:
    own = {a.subject: a.value for a in layer.assessments if a.kind == "self"}
    return next((_Answer(p, own.get(p.model)) for p in layer.proposals), None)


def _price_order(m: ModelSpec) -> tuple[float, ...]:
    """Return output price, input price, latency, then the prior (the better first); what is unknown comes last."""
    costs = [math.inf if v is None else v for v in (m.output_price, m.input_price, m.latency)]
    return (*costs, math.inf if m.prior is None else -m.prior)
