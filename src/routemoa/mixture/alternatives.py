"""Routes not taken: what other methods would have cost and taken for this query. Estimates, marked as such. Pure.

Tokens are those heard in this query where a model answered (by its text where nobody counted them), else what it
usually writes, else the mean of those heard; prompts grow by the answers that are shown in them. An unknown price or
latency makes a sum unknown.
"""

from __future__ import annotations

from collections.abc import Mapping

from routemoa.core.pool import Pool
from routemoa.core.trace import Alternative, Proposal, Trace
from routemoa.core.types import CHARACTERS_PER_TOKEN, ModelSpec, Usage, add_optional
from routemoa.mixture import prompts
from routemoa.routing.latency import CallEstimates

__all__ = ["estimate_alternatives"]

FRAME = len(prompts.CANDIDATES + prompts.IMPROVE) / CHARACTERS_PER_TOKEN  # tokens around quoted answers
VERDICT = 60.0  # tokens of a moderator's reply


def estimate_alternatives(trace: Trace, pool: Pool, expected: CallEstimates) -> tuple[Alternative, ...]:
    """`best-single` (the highest prior), `moa` and `smoa` for this query; none while nobody has answered."""
    heard = {p.model: p for layer in trace.layers for p in layer.proposals}
    lengths = {m: _tokens(p) for m, p in heard.items()}
    if not lengths:
        return ()
    mean = sum(lengths.values()) / len(lengths)
    tokens = {m.name: lengths.get(m.name, expected.tokens.get(m.name, mean)) for m in pool}
    seconds = {m.name: _seconds(m, heard[m.name].latency if m.name in heard else None, expected) for m in pool}
    prompt = sum(len(m.content) for m in trace.query.messages) / CHARACTERS_PER_TOKEN
    best = max(pool, key=lambda m: trace.prior.get(m.name) or 0.0)
    alone = Alternative("best-single", 1, best.cost(_usage(prompt, tokens[best.name])), seconds[best.name])
    return (
        alone,
        _mixture("moa", pool, best, prompt, tokens, seconds=seconds, shown=len(pool)),
        _mixture(
            "smoa",
            pool,
            best,
            prompt,
            tokens,
            seconds=seconds,
            shown=min(pool.mixture.dense_panel, len(pool)),
            moderated=True,
        ),
    )


def _mixture(
    name: str,
    pool: Pool,
    writer: ModelSpec,
    prompt: float,
    tokens: Mapping[str, float],
    *,
    seconds: Mapping[str, float | None],
    shown: int,
    moderated: bool = False,
) -> Alternative:
    """All models in every layer, `shown` answers of the layer before in each prompt, and a last call that writes."""
    quoted = shown * sum(tokens.values()) / len(tokens) + FRAME
    whole = sum(tokens.values())
    layers = pool.mixture.dense_layers
    cost: float | None = 0.0
    for number in range(1, layers + 1):
        read = prompt + (quoted if number > 1 else 0.0)
        for m in pool:
            cost = add_optional(cost, m.cost(_usage(read, tokens[m.name])))
        if moderated:
            cost = add_optional(cost, writer.cost(_usage(prompt + whole, VERDICT)))
    cost = add_optional(cost, writer.cost(_usage(prompt + quoted, tokens[writer.name])))
    slowest: float | None = 0.0
    for m in pool:
        slowest = None if slowest is None or seconds[m.name] is None else max(slowest, seconds[m.name] or 0.0)
    latency = add_optional(None if slowest is None else layers * slowest, seconds[writer.name])
    return Alternative(name, layers * (len(pool) + moderated) + 1, cost, latency)


def _tokens(heard: Proposal) -> float:
    counted = heard.usage.completion_tokens
    return len(heard.text) / CHARACTERS_PER_TOKEN if counted is None else float(counted)


def _seconds(spec: ModelSpec, heard: float | None, expected: CallEstimates) -> float | None:
    return heard if heard is not None else expected.seconds.get(spec.name, spec.latency)


def _usage(prompt: float, completion: float) -> Usage:
    return Usage(round(prompt), round(completion))
