"""smolagents: a ToolCallingAgent."""

import openai
from harness import Target, chunks
from smolagents import OpenAIModel, ToolCallingAgent, tool

ERRORS = {"401": openai.AuthenticationError, "400": openai.BadRequestError, "timeout": openai.APITimeoutError}


def connect(t: Target, timeout: float = 30.0, **options) -> OpenAIModel:
    client = {"timeout": timeout, "max_retries": 0}
    return OpenAIModel(t.model, api_base=t.base_url, api_key=t.key, client_kwargs=client, retry=False, **options)


def say(prompt, image=None):
    parts = [{"type": "text", "text": prompt}]
    parts += [{"type": "image_url", "image_url": {"url": image}}] if image else []
    return [{"role": "user", "content": parts}]


def ask(t, prompt, image=None, timeout=30.0, temperature=None):
    options = {} if temperature is None else {"temperature": temperature}
    return connect(t, timeout, **options)(say(prompt, image)).content


def stream(t, prompt):
    return chunks(delta.content for delta in connect(t).generate_stream(say(prompt)))


def run_tools(t, prompt, functions):
    agent = ToolCallingAgent([tool(f) for f in functions], connect(t), max_steps=4, verbosity_level=0)
    return agent.run(prompt)


def extract(t, prompt, form):
    schema = {"type": "json_schema", "json_schema": {"name": "place", "schema": form.model_json_schema()}}
    return form.model_validate_json(connect(t).generate(say(prompt), response_format=schema).content)
