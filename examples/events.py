"""Watch a mixture work, event by event:  python examples/events.py pool.toml "Why is the sky blue?" """

import asyncio
import sys

from routemoa import Pool, RouteMoA
from routemoa.core.events import AnswerDelta, Judged, Selected, Stopped


async def main(pool_file: str, question: str) -> None:
    async for event in RouteMoA(Pool.from_toml(pool_file)).stream(question):
        match event:
            case Selected(layer=layer, models=models):
                print(f"layer {layer} asks {', '.join(models)}")
            case Judged(assessments=assessments):
                print("judged:", *(f"{a.judge} -> {a.subject}: {a.value}" for a in assessments))
            case Stopped(reason=reason):
                print("stops:", reason)
            case AnswerDelta(text=text):
                print(text, end="", flush=True)
    print()


if len(sys.argv) != 3:
    sys.exit(__doc__)
asyncio.run(main(*sys.argv[1:]))
