"""What happens to a request with tools: a panel decides on each user turn, and one model goes on between them. Pure.

user: "What is the weather in Paris?"      a panel proposes calls; the chosen set goes to the caller
tool: "18 degrees"                         the model that made the call goes on alone: its prompt cache holds all of it
user: "And in Rome?"                       a panel again
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec.structs import replace

from routemoa.core.stop_reason import StopKind, StopReason
from routemoa.core.trace import Trace
from routemoa.core.types import Message, ModelSpec, Query
from routemoa.routing.decision import Decision

__all__ = ["find_step_model", "hide_thoughts", "is_tool_step", "models_going_on", "step_alone", "step_stop_reason"]

STEP = "tool step"


def is_tool_step(query: Query) -> bool:
    """Return whether a conversation waits for a model to go on after the result of a tool."""
    return bool(query.messages) and query.messages[-1].role == "tool"


def find_step_model(messages: Sequence[Message], find_caller: Callable[[object], str | None]) -> str | None:
    """Return the model that made the last calls of a conversation; None where that is another's, or unknown.

    Args:
        messages: the conversation.
        find_caller: returns the member that an id of a call names.
    """
    for message in reversed(messages):
        if message.role == "user":
            return None
        calls = message.body.get("tool_calls") if message.body is not None and message.role == "assistant" else None
        for call in calls if isinstance(calls, list) else []:
            if isinstance(call, dict) and (member := find_caller(call.get("id"))) is not None:
                return member
    return None


def models_going_on(
    query: Query, models: Iterable[ModelSpec], find_caller: Callable[[object], str | None]
) -> frozenset[str]:
    """Return the model that made the calls whose results are there now; all where that is not known; else none."""
    if not is_tool_step(query):
        return frozenset()
    caller = find_step_model(query.messages, find_caller)
    return frozenset((m.name for m in models) if caller is None else (caller,))


def hide_thoughts(messages: Sequence[Message], *, but_of_this_turn: bool) -> tuple[Message, ...]:
    """Return a conversation without the thoughts beside its calls: no model is shown those of another.

    Args:
        messages: the conversation.
        but_of_this_turn: those since the last message of the user stay: the model's own, which it may need to go on.
    """
    turn = next((i for i in range(len(messages) - 1, -1, -1) if messages[i].role == "user"), -1)
    return tuple(m if but_of_this_turn and i > turn else m.without_thoughts() for i, m in enumerate(messages))


def step_alone(decision: Decision, model: str | None, unavailable: Collection[str]) -> Decision:
    """Return the decision that lets one model go on: the one that made the call, else the best."""
    if model is None or model in unavailable:
        lacking = "no model of the pool made" if model is None else f"{model} cannot be asked, which made"
        reason = f"{STEP}: {lacking} the call, so the best one goes on alone"
        model = decision.ranking[0].model
    else:
        reason = f"{STEP}: {model} made the call and goes on alone, with its prompt cache"
    return replace(decision, models=(model,), selection_reason=reason, alone=True, stop=None)


def step_stop_reason(trace: Trace) -> StopReason | None:
    """Return why a tool step ends with its first layer; None where nothing was answered."""
    layer = trace.layers[-1]
    if not layer.proposals:
        return None
    return StopReason(StopKind.ONE_MODEL, f"{STEP}: {layer.proposals[-1].model} goes on alone until the next user turn")
