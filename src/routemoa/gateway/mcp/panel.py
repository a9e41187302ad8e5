"""Ask several members the same question at once: what each says, and which of them agree."""

from __future__ import annotations

from collections.abc import Sequence

from routemoa.core.events import AnswerDelta, Stopped
from routemoa.core.protocols import Client
from routemoa.core.types import Limits, ModelSpec
from routemoa.mixture.baselines.steps import run_proposers
from routemoa.mixture.layer import LayerRequest
from routemoa.mixture.method import BaseMethod
from routemoa.mixture.run import Run
from routemoa.routing.state import group_panel

__all__ = ["Panel"]


class Panel(BaseMethod):
    """All of some members, asked once; the answer of the largest group stands, the earlier member's among equals."""

    def __init__(self, members: Sequence[ModelSpec], client: Client, limits: Limits) -> None:
        super().__init__("panel", client, limits)
        self._members = members

    async def run(self, run: Run) -> None:
        """Ask all members and end with the answer that most of them give."""
        await run_proposers(run, LayerRequest(1, run.query), self._members)
        proposals = run.trace.layers[0].proposals
        if not proposals:
            raise run.no_answer()
        groups = group_panel(run.trace).group_of
        place = {m.name: i for i, m in enumerate(self._members)}
        best = max(
            range(len(proposals)),
            key=lambda i: (groups.count(groups[i]) if groups[i] is not None else 0, -place[proposals[i].model]),
        )
        run.emit(Stopped(f"all {len(self._members)} members were asked", proposals[best].model))
        run.emit(AnswerDelta(proposals[best].text))
        run.finish_with(proposals[best])
