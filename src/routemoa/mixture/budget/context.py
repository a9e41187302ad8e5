"""Whether a prompt fits into a model's declared context. Pure.

Without its tokenizer a prompt's tokens are only known between bounds. A token is a byte at least, so a prompt of no
more bytes than the context surely fits. A token is hardly ever more than eight characters long on average, runs of one
character aside, so a prompt of more than eight times as many characters surely does not fit. Between the two an
estimate decides, and a model that may be too small is called only where no other is left: some servers cut a prompt
short without a word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum

from routemoa.core.content.media import USUAL_SHARE
from routemoa.core.types import ModelSpec, Request
from routemoa.mixture.budget.account import FRAME_TOKENS, MIN_OUTPUT_TOKENS, token_limit

__all__ = ["ContextFit", "context_fit", "fit_texts", "least_tokens", "usual_tokens"]

MAX_CHARACTERS_PER_TOKEN = 8
USUAL_CHARACTERS_PER_TOKEN = 4
"""Of ASCII; any other character counts as a token of its own."""
RUN = re.compile(r"(.)\1{8,}", re.DOTALL)
"""Runs of one character, which some tokenizers read as one token."""


class ContextFit(IntEnum):
    """How well a prompt fits, the best last."""

    NEVER = 0
    DOUBTFUL = 1
    FITS = 2


def context_fit(model: ModelSpec, request: Request) -> ContextFit:
    """Return how well a call, with the member's system text and room for its answer, fits into the declared context."""
    texts = [model.system or "", *(m.sent_text for m in request.messages)]
    return fit_texts(model.context, texts, token_limit(model, request), sum(m.media_tokens for m in request.messages))


def fit_texts(
    context: int | None, texts: Sequence[str], answer: int | None = None, media_tokens: int = 0
) -> ContextFit:
    """Return how well texts fit into a context.

    Args:
        context: tokens of prompt and answer together; None is unknown, and everything fits.
        texts: of the prompt.
        answer: the answer's own limit in tokens; None is no limit.
        media_tokens: of images and the like at most.
    """
    if context is None:
        return ContextFit.FITS
    least_answer = MIN_OUTPUT_TOKENS if answer is None else min(answer, MIN_OUTPUT_TOKENS)
    wanted = MIN_OUTPUT_TOKENS if answer is None else answer
    frame = FRAME_TOKENS * (len(texts) + 1)
    if sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) + frame + media_tokens + wanted <= context:
        return ContextFit.FITS
    if least_tokens(texts) + least_answer > context:
        return ContextFit.NEVER
    usual = usual_tokens(texts) + round(USUAL_SHARE * media_tokens)
    return ContextFit.FITS if usual + wanted <= context else ContextFit.DOUBTFUL


def least_tokens(texts: Sequence[str]) -> int:
    """Return the tokens of texts at least."""
    return sum(len(RUN.sub(r"\1", text)) for text in texts) // MAX_CHARACTERS_PER_TOKEN


def usual_tokens(texts: Sequence[str]) -> int:
    """Return an estimate of the tokens of texts."""
    plain = sum(len(text.encode("ascii", "ignore")) for text in texts)
    return plain // USUAL_CHARACTERS_PER_TOKEN + sum(map(len, texts)) - plain
