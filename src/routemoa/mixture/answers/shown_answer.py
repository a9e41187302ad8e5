"""What a reader is shown of an answer before it is final: the leader's text, or its beginning where time is over."""

from __future__ import annotations

from routemoa.core.events import AnswerDelta, Degraded, Event
from routemoa.core.trace import Degradation
from routemoa.mixture.answers.structured import takes_any_text
from routemoa.mixture.calls.leader_stream import LeaderStream
from routemoa.mixture.run import ANSWER_BREAKS_OFF, Run

__all__ = ["show_leader", "write_partial_answer"]


def show_leader(run: Run) -> LeaderStream:
    """Return the leader's stream, which emits its text as the answer while the first layer runs."""
    mode = run.stream_mode if takes_any_text(run.query) else None  # anything else is checked when it is whole
    leader = LeaderStream(mode, has_tools=run.query.tools is not None)

    def show(event: Event) -> None:
        for shown in leader.observe(event):
            run.emit(shown)

    run.observe(show)
    return leader


def write_partial_answer(run: Run, text: str, leader: LeaderStream) -> None:
    """End with the beginning of an answer that the time limit cut off. Raises RouteMoAError without any."""
    if not text:
        raise run.no_answer()
    run.emit(Degraded(Degradation("ending", ANSWER_BREAKS_OFF)))
    if not leader.shown.strip():
        run.emit(AnswerDelta(text))
    run.finish("length")
