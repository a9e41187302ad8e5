"""A method of your own answers with what most of three models say:  python examples/custom_method.py"""

import asyncio

from routemoa import ModelSpec, Query
from routemoa.core.events import AnswerDelta, Selected, Stopped
from routemoa.mixture.layer import LayerRequest, run_layer
from routemoa.mixture.method import BaseMethod
from routemoa.mixture.run import Run
from routemoa.testing import ScriptedClient


class MajorityVote(BaseMethod):
    async def run(self, run: Run) -> None:
        models = [ModelSpec(name, "http://unused") for name in ("a", "b", "c")]
        run.emit(Selected(1, tuple(model.name for model in models)))
        await run_layer(run, LayerRequest(1, run.query), models)
        texts = [proposal.text for proposal in run.trace.layers[0].proposals]
        if not texts:
            raise run.no_answer()
        winner = max(texts, key=texts.count)
        run.emit(Stopped(f"{texts.count(winner)} of {len(texts)} agree"))
        run.emit(AnswerDelta(winner))
        run.finish("stop")


vote = MajorityVote("vote", ScriptedClient({"a": "4", "b": "5", "c": "4"}))
answer = asyncio.run(vote.answer(Query.from_text("What is 2 + 2?")))
print(answer.text, answer.trace.stop_reason, sep=": ")
