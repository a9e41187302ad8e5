"""A recorder of your own sees every call before and after it:  python examples/custom_recorder.py"""

import asyncio

from routemoa import ModelSpec, Pool, Query, RouteMoA
from routemoa.core.protocols import CallResult, CallStart
from routemoa.testing import ScriptedClient


class PrintingRecorder:
    has_budget = False  # with a budget, `start` raises BudgetExceeded where a call does not fit

    async def start(self, call: CallStart) -> int:
        print(f"calling {call.model} as {call.purpose}, at most {call.max_cost} dollars")
        return 1  # the call's number, which `finish` gets

    def finish(self, number: int, result: CallResult) -> None:
        print(f"call {number}: {result.outcome}, {result.cost} dollars")


async def main() -> None:
    pool = Pool((ModelSpec("a", "http://unused", input_price=1.0, output_price=2.0, prior=0.6),))
    mixture = RouteMoA(pool, ScriptedClient({"a": "It is 4."}))
    async for _ in mixture.stream(Query.from_text("What is 2 + 2?"), PrintingRecorder()):
        pass


asyncio.run(main())
