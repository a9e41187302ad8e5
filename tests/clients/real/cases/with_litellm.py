"""LiteLLM, as a client."""

import json

import litellm
from harness import Target, chunks
from with_openai_python import describe

ERRORS = {"401": litellm.AuthenticationError, "400": litellm.BadRequestError, "timeout": litellm.Timeout}


def complete(t: Target, messages, **options):
    options = {"timeout": 30.0, "max_retries": 0, **options}
    return litellm.completion(f"openai/{t.model}", messages, api_base=t.base_url, api_key=t.key, **options)


def say(prompt, image=None):
    parts = [{"type": "text", "text": prompt}]
    parts += [{"type": "image_url", "image_url": {"url": image}}] if image else []
    return [{"role": "user", "content": parts}]


def ask(t, prompt, image=None, timeout=30.0, temperature=None):
    options = {} if temperature is None else {"temperature": temperature}
    return complete(t, say(prompt, image), timeout=timeout, **options).choices[0].message.content


def stream(t, prompt):
    return chunks(piece.choices[0].delta.content for piece in complete(t, say(prompt), stream=True))


def run_tools(t, prompt, functions):
    """Run a loop by hand: streamed, and put together by LiteLLM's helper."""
    messages = say(prompt)
    for _ in range(4):
        pieces = [*complete(t, messages, tools=[describe(f) for f in functions], stream=True)]
        message = litellm.stream_chunk_builder(pieces, messages=messages).choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls:
            (function,) = (f for f in functions if f.__name__ == call.function.name)
            result = function(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})
    return None


def extract(t, prompt, form):
    reply = complete(t, say(prompt), response_format=form)
    return form.model_validate_json(reply.choices[0].message.content)
