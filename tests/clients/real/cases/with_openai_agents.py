"""OpenAI's Agents SDK, with chat completions."""

import asyncio

import openai
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from harness import Target, chunks
from openai import AsyncOpenAI

ERRORS = {"401": openai.AuthenticationError, "400": openai.BadRequestError, "timeout": openai.APITimeoutError}
set_tracing_disabled(True)


def make_agent(t: Target, timeout: float = 30.0, **options) -> Agent:
    client = AsyncOpenAI(base_url=t.base_url, api_key=t.key, timeout=timeout, max_retries=0)
    return Agent("assistant", model=OpenAIChatCompletionsModel(t.model, client), **options)


def run(agent, prompt):
    return asyncio.run(Runner.run(agent, prompt)).final_output


def ask(t, prompt, image=None, timeout=30.0, temperature=None):
    content = [{"type": "input_text", "text": prompt}]
    content += [{"type": "input_image", "image_url": image, "detail": "auto"}] if image else []
    agent = make_agent(t, timeout, model_settings=ModelSettings(temperature=temperature))
    return run(agent, [{"role": "user", "content": content}])


def stream(t, prompt):
    async def collect():
        result = Runner.run_streamed(make_agent(t), prompt)
        events = [e async for e in result.stream_events() if e.type == "raw_response_event"]
        return [e.data.delta for e in events if e.data.type == "response.output_text.delta"]

    return chunks(asyncio.run(collect()))


def run_tools(t, prompt, functions):
    return run(make_agent(t, tools=[function_tool(f) for f in functions]), prompt)


def extract(t, prompt, form):
    return run(make_agent(t, output_type=form), prompt)
