"""A client of your own calls the models, here a function without any network:  python examples/custom_client.py"""

from collections.abc import AsyncGenerator

from routemoa import Completion, ModelSpec, Pool, Request, RouteMoA, Usage


class EchoClient:
    """Answers every request with the model's name and the length of the prompt."""

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        prompt = request.messages[-1].content
        text = f"{model.name} read {len(prompt)} characters."
        yield text  # pieces as they come, then the whole
        yield Completion(text, Usage(prompt_tokens=len(prompt) // 4, completion_tokens=6), finish_reason="stop")

    async def close(self) -> None:
        pass


pool = Pool((ModelSpec("echo", "http://unused", prior=0.6),))
answer = RouteMoA(pool, EchoClient()).ask("Why is the sky blue?")
print(answer.text)
print("calls:", answer.trace.calls, " tokens:", answer.trace.usage.completion_tokens)
