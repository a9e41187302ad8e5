"""A scorer of your own predicts which models answer well:  python examples/custom_scorer.py"""

from collections.abc import Sequence

from routemoa import ModelSpec, Pool, Query, RouteMoA
from routemoa.testing import ScriptedClient


class KeywordScorer:
    """Prefers the model whose name is in the question."""

    async def score(self, query: Query, pool: Sequence[ModelSpec]) -> dict[str, float | None]:
        return {model.name: 0.99 if model.name in query.text else 0.5 for model in pool}

    def knows(self, model: ModelSpec) -> bool:
        return True


pool = Pool((ModelSpec("poem", "http://unused"), ModelSpec("code", "http://unused")))
client = ScriptedClient({"poem": "Roses are red.", "code": "print('hello')"})
answer = RouteMoA(pool, client, scorer=KeywordScorer()).ask("Write code that says hello.")
print(answer.text)
print("called:", [call.model for call in client.calls])
