"""OpenAI's SDK for Python."""

import json
from inspect import signature

import openai
from harness import Target, chunks
from openai import OpenAI

ERRORS = {"401": openai.AuthenticationError, "400": openai.BadRequestError, "timeout": openai.APITimeoutError}
JSON_TYPES = {str: "string", float: "number"}


def connect(t: Target, timeout: float = 30.0) -> OpenAI:
    return OpenAI(base_url=t.base_url, api_key=t.key, timeout=timeout, max_retries=0)


def ask(t, prompt, image=None, timeout=30.0, temperature=None):
    parts = [{"type": "text", "text": prompt}]
    parts += [{"type": "image_url", "image_url": {"url": image}}] if image else []
    messages = [{"role": "user", "content": parts}]
    options = {} if temperature is None else {"temperature": temperature}
    reply = connect(t, timeout).chat.completions.create(model=t.model, messages=messages, **options)
    return reply.choices[0].message.content


def stream(t, prompt):
    messages = [{"role": "user", "content": prompt}]
    with connect(t).chat.completions.stream(model=t.model, messages=messages) as events:
        yield from chunks(event.delta for event in events if event.type == "content.delta")


def describe(function):
    """Return a function as a tool with a strict schema."""
    types = {n: {"type": JSON_TYPES[p.annotation]} for n, p in signature(function, eval_str=True).parameters.items()}
    schema = {"type": "object", "properties": types, "required": [*types], "additionalProperties": False}
    described = {"name": function.__name__, "description": function.__doc__, "parameters": schema, "strict": True}
    return {"type": "function", "function": described}


def run_tools(t, prompt, functions):
    """Run a loop by hand, each step streamed and put together by the SDK's helper."""
    client = connect(t)
    messages = [{"role": "user", "content": prompt}]
    for _ in range(4):
        tools = [describe(f) for f in functions]
        with client.chat.completions.stream(model=t.model, messages=messages, tools=tools) as events:
            message = events.get_final_completion().choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
        for call in message.tool_calls:
            (function,) = (f for f in functions if f.__name__ == call.function.name)
            result = function(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})
    return None


def extract(t, prompt, form):
    messages = [{"role": "user", "content": prompt}]
    reply = connect(t).chat.completions.parse(model=t.model, messages=messages, response_format=form)
    return reply.choices[0].message.parsed
