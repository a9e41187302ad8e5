"""LangChain: langchain-openai, and an agent of `create_agent`, which is LangGraph's loop."""

import openai
from harness import Target, chunks
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

ERRORS = {"401": openai.AuthenticationError, "400": openai.BadRequestError, "timeout": openai.APITimeoutError}


def connect(t: Target, timeout: float = 30.0, **options) -> ChatOpenAI:
    return ChatOpenAI(base_url=t.base_url, api_key=t.key, model=t.model, timeout=timeout, max_retries=0, **options)


def ask(t, prompt, image=None, timeout=30.0, temperature=None):
    parts = [{"type": "text", "text": prompt}]
    parts += [{"type": "image_url", "image_url": {"url": image}}] if image else []
    options = {} if temperature is None else {"temperature": temperature}
    return connect(t, timeout, **options).invoke([{"role": "user", "content": parts}]).content


def stream(t, prompt):
    return chunks(chunk.content for chunk in connect(t).stream(prompt))


def run_tools(t, prompt, functions):
    agent = create_agent(connect(t), [tool(f, parse_docstring=True) for f in functions])
    said = None
    for state in agent.stream({"messages": [{"role": "user", "content": prompt}]}, stream_mode="values"):
        said = state["messages"][-1].content
    return said


def extract(t, prompt, form):
    return connect(t).with_structured_output(form).invoke(prompt)
