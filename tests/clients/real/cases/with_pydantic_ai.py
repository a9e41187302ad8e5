"""Pydantic AI."""

import asyncio
import base64

from harness import Target, chunks
from openai import APITimeoutError, AsyncOpenAI
from pydantic_ai import Agent, BinaryContent, NativeOutput
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

ERRORS = {"401": ModelHTTPError, "400": ModelHTTPError, "timeout": (ModelAPIError, APITimeoutError)}


def make_agent(t: Target, **options) -> Agent:
    client = AsyncOpenAI(base_url=t.base_url, api_key=t.key, max_retries=0)
    return Agent(OpenAIChatModel(t.model, provider=OpenAIProvider(openai_client=client)), **options)


def ask(t, prompt, image=None, timeout=30.0, temperature=None):
    settings = {"timeout": timeout} | ({} if temperature is None else {"temperature": temperature})
    data = BinaryContent(base64.b64decode(image.split(",")[1]), media_type="image/png") if image else None
    return make_agent(t).run_sync([prompt, data] if data else prompt, model_settings=settings).output


def stream(t, prompt):
    async def collect():
        async with make_agent(t).run_stream(prompt) as result:
            return [text async for text in result.stream_text(delta=True, debounce_by=None)]

    return chunks(asyncio.run(collect()))


def run_tools(t, prompt, functions):
    return make_agent(t, tools=functions).run_sync(prompt).output


def extract(t, prompt, form):
    """Extract both ways: by a tool for the output, and by response_format."""
    by_tool = make_agent(t, output_type=form).run_sync(prompt).output
    native = make_agent(t, output_type=NativeOutput(form)).run_sync(prompt).output
    assert by_tool == native, (by_tool, native)
    return native
