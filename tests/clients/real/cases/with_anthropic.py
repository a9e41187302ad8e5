"""Anthropic's SDK, at the Messages API."""

import anthropic
from anthropic import Anthropic, beta_tool
from harness import Target, require_route

ERRORS = {
    "401": anthropic.AuthenticationError,
    "400": anthropic.BadRequestError,
    "timeout": anthropic.APITimeoutError,
}


def before(t: Target):
    require_route(t, "/messages")


def connect(t: Target, timeout: float = 30.0) -> Anthropic:
    return Anthropic(base_url=t.base_url.removesuffix("/v1"), api_key=t.key, timeout=timeout, max_retries=0)


def ask(t, prompt, image=None, timeout=30.0, temperature=None):
    parts = [{"type": "text", "text": prompt}]
    if image:
        source = {"type": "base64", "media_type": "image/png", "data": image.split(",")[1]}
        parts.append({"type": "image", "source": source})
    # The SDK has no argument for a temperature any more: the field goes beside its own.
    options = {} if temperature is None else {"extra_body": {"temperature": temperature}}
    messages = [{"role": "user", "content": parts}]
    reply = connect(t, timeout).messages.create(model=t.model, max_tokens=500, messages=messages, **options)
    return reply.content[0].text


def stream(t, prompt):
    messages = [{"role": "user", "content": prompt}]
    with connect(t).messages.stream(model=t.model, max_tokens=500, messages=messages) as events:
        yield from events.text_stream


def run_tools(t, prompt, functions):
    def as_tool(function):
        def run(**arguments) -> str:
            return str(function(**arguments))

        run.__name__, run.__doc__, run.__annotations__ = function.__name__, function.__doc__, function.__annotations__
        run.__wrapped__ = function
        return beta_tool(run)

    messages = [{"role": "user", "content": prompt}]
    tools = [as_tool(f) for f in functions]
    runner = connect(t).beta.messages.tool_runner(
        model=t.model, max_tokens=500, messages=messages, tools=tools, thread=False
    )
    return runner.until_done().content[0].text


def extract(t, prompt, form):
    messages = [{"role": "user", "content": prompt}]
    reply = connect(t).messages.parse(model=t.model, max_tokens=500, messages=messages, output_format=form)
    return reply.parsed_output
