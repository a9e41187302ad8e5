"""Leaves the texts out of a trace. What stays: which models were called, how they agreed, what it cost. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from routemoa.core.content.message import Message
from routemoa.core.trace import Answer, Failure, Layer, Proposal
from routemoa.core.types import Query

__all__ = ["remove_texts"]


def remove_texts(answer: Answer) -> Answer:
    """Return an answer and its trace without the texts of its question and its answers, and without tools."""
    trace = answer.trace
    layers = tuple(_strip_layer(layer) for layer in trace.layers)
    failures = tuple(map(_strip_failure, trace.failures))
    query = Query(tuple(Message(m.role, "") for m in trace.query.messages), limits=trace.query.limits)
    return Answer("", replace(trace, query=query, layers=layers, failures=failures, tool_calls=(), comparisons=()))


def _strip_layer(layer: Layer) -> Layer:
    proposals = tuple(map(_strip_proposal, layer.proposals))
    return replace(layer, proposals=proposals, failures=tuple(map(_strip_failure, layer.failures)))


def _strip_proposal(proposal: Proposal) -> Proposal:
    return replace(proposal, text="", thought="", tool_calls=(), logprobs=None)


def _strip_failure(failure: Failure) -> Failure:
    return replace(failure, partial="")
