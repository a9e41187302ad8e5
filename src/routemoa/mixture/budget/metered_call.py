"""One call under way: what comes of it, and how it is settled."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING

from msgspec import structs

from routemoa.core.content.media import USUAL_SHARE
from routemoa.core.errors import ModelError
from routemoa.core.protocols import CallResult
from routemoa.core.text.quoted import Quoted
from routemoa.core.types import CHARACTERS_PER_TOKEN, Completion, ModelSpec, Request, Thinking
from routemoa.core.usage import Usage
from routemoa.mixture.budget.account import Reservation
from routemoa.mixture.budget.plausibility import UsageBounds, bound_usage

if TYPE_CHECKING:
    from routemoa.mixture.budget.metering import MeteredClient

__all__ = ["NO_USAGE", "MeteredCall", "estimate_usage", "fill_usage"]

LOG = logging.getLogger("routemoa.usage")
NO_USAGE = Usage(0, 0, 0, 0)
"""Of a call that was never answered."""
CANCELLED = "cut"
"""The outcome of a call that we cancelled, as ledgers have it."""

_warned: set[str] = set()
"""Models whose figures were too large: the log says so once."""


class MeteredCall:
    """One call under way: its reservation and what has come of it. It must be closed, however it ends.

    A call that is closed with neither a completion nor a failure was cancelled.
    """

    def __init__(
        self,
        client: MeteredClient,
        model: ModelSpec,
        reservation: Reservation,
        bounds: UsageBounds,
        number: int | None,
    ) -> None:
        self.request = reservation.request
        self._client, self._model, self._reservation, self._number = client, model, reservation, number
        self._bounds = bounds
        self._started = perf_counter()
        self._began = client.memory.clock()
        self._produced = 0  # characters of the answer and of thoughts
        self._usage: Usage | None = None
        self._outcome = CANCELLED
        self._waiting = client.memory.start_waiting(model)
        if model.place is not None:
            client.awaited[self] = model

    def add(self, piece: str | Thinking | Completion) -> str | Thinking | Completion:
        """Add a piece of the answer, or its end; return it, with the usage within its bounds."""
        if isinstance(piece, Completion):
            has_answered = bool(piece.text or piece.tool_calls) or piece.thought_length > 0
            usage = self.complete(piece.usage, has_answered=has_answered)
            return structs.replace(piece, usage=usage, endpoint=self._model.place)
        if self._produced == 0:
            self.answered()
        self._produced += piece.characters if isinstance(piece, Thinking) else len(piece)
        return piece

    def answered(self) -> None:
        """Note that the endpoint answers, or that its answer is complete, so that others may call it, too."""
        self._client.memory.succeed(self._model, self._began)
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        self._waiting.end()
        if self._model.place is not None:
            self._client.awaited.pop(self, None)

    def complete(self, usage: Usage, *, has_answered: bool = True) -> Usage:
        """Note that the answer is complete, and what the endpoint counted; return that within its bounds."""
        self.answered()
        self._usage, self._outcome = self._bound(usage, has_answered=has_answered), "ok"
        return self._usage

    def fail(self, error: ModelError) -> None:
        """Note that the call failed. Refused or never sent: nothing was used; else what the endpoint says, if it does.

        The usage of `error` is brought within its bounds.
        """
        self._outcome = error.kind.value
        if self._client.remembers:
            self._client.memory.fail(self._model, error, self._began)
        if error.usage is not None:
            unused = error.usage.is_zero and not error.produced
            error.usage = NO_USAGE if unused else self._bound(error.usage, has_answered=error.produced)
            self._usage = error.usage
        elif not error.may_be_billed:
            self._usage = NO_USAGE

    def _bound(self, usage: Usage, *, has_answered: bool) -> Usage:
        bounded = bound_usage(self._model, usage, self._bounds, has_answered=has_answered)
        name = self._model.name
        if bounded.problem and name not in _warned:
            _warned.add(name)
            figures = Quoted(bounded.problem, "left out")
            LOG.warning("model %s: its endpoint's figures cannot be right and are bounded: %s", name, figures)
        return bounded

    def close(self) -> None:
        """Settle the call.

        The limits count never less than it can have used; a recorder is charged what a cancelled stream produced.
        """
        self._stop_waiting()
        client, reservation = self._client, self._reservation
        usage = self._usage or Usage()
        cost = 0.0 if usage is NO_USAGE else self._model.cost(usage)
        client.settle(reservation, cost, usage.completion_tokens)
        filled = fill_usage(usage, reservation.request, self._produced)
        if self._produced or self._outcome in (CANCELLED, "ok") or self._usage is not None:
            client.count(filled, is_estimated=filled is not usage)
        client.unpriced |= cost is None and reservation.max_cost is None
        if client.recorder is None or self._number is None:
            return
        charged = self._charge() if cost is None else cost
        seconds = perf_counter() - self._started
        tokens = (filled.prompt_tokens or 0) + (filled.completion_tokens or 0)
        result = CallResult(usage, cost, charged, seconds, self._outcome, usage.problem, tokens)
        client.recorder.finish(self._number, result)

    def _charge(self) -> float | None:
        """Return the dollars to charge for a call of unknown cost, at most what was reserved; None is unknown."""
        most = self._reservation.max_cost
        if self._outcome == "ok":
            return most
        produced = self._model.cost(estimate_usage(self._reservation.request, self._produced))
        return produced if most is None else most if produced is None else min(produced, most)


def estimate_usage(request: Request, characters: int) -> Usage:
    """Estimate the tokens of a cancelled call from what was sent and had come: about four characters to a token."""
    prompt = sum(len(m.sent_text) for m in request.messages) // CHARACTERS_PER_TOKEN
    prompt += round(USUAL_SHARE * sum(m.media_tokens for m in request.messages))
    return Usage(max(1, prompt), characters // CHARACTERS_PER_TOKEN)


def fill_usage(usage: Usage, request: Request, characters: int) -> Usage:
    """Return the usage with an estimate in place of what the endpoint did not report; the same one if it did."""
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    if prompt is not None and completion is not None:
        return usage
    estimate = estimate_usage(request, characters)
    return structs.replace(
        usage,
        prompt_tokens=estimate.prompt_tokens if prompt is None else prompt,
        completion_tokens=estimate.completion_tokens if completion is None else completion,
    )
