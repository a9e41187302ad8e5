"""LlamaIndex, by llama-index-llms-openai-like."""

import asyncio

import openai
from harness import Target, chunks
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.llms.openai_like import OpenAILike

ERRORS = {"401": openai.AuthenticationError, "400": openai.BadRequestError, "timeout": openai.APITimeoutError}


def connect(t: Target, timeout: float = 30.0, **options) -> OpenAILike:
    return OpenAILike(
        t.model,
        api_base=t.base_url,
        api_key=t.key,
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=0,
        timeout=timeout,
        **options,
    )


def ask(t, prompt, image=None, timeout=30.0, temperature=None):
    blocks = [TextBlock(text=prompt), *([ImageBlock(url=image)] if image else [])]
    options = {} if temperature is None else {"additional_kwargs": {"temperature": temperature}}
    return connect(t, timeout, **options).chat([ChatMessage(role="user", blocks=blocks)]).message.content


def stream(t, prompt):
    return chunks(piece.delta for piece in connect(t).stream_complete(prompt))


def run_tools(t, prompt, functions):
    async def run():
        return await FunctionAgent(tools=functions, llm=connect(t)).run(prompt)

    return asyncio.run(run())


def extract(t, prompt, form):
    return connect(t).as_structured_llm(form).complete(prompt).raw
