"""OpenAI's SDK for Python, at the Responses API."""

import json

from harness import Target, chunks, require_route
from with_openai_python import ERRORS, connect, describe

__all__ = ["ERRORS", "ask", "before", "extract", "run_tools", "stream"]


def before(t: Target):
    require_route(t, "/responses")


def ask(t, prompt, image=None, timeout=30.0, temperature=None):
    parts = [{"type": "input_text", "text": prompt}]
    parts += [{"type": "input_image", "image_url": image, "detail": "auto"}] if image else []
    options = {} if temperature is None else {"temperature": temperature}
    given = [{"role": "user", "content": parts}]
    return connect(t, timeout).responses.create(model=t.model, input=given, **options).output_text


def stream(t, prompt):
    with connect(t).responses.stream(model=t.model, input=prompt) as events:
        yield from chunks(event.delta for event in events if event.type == "response.output_text.delta")


def run_tools(t, prompt, functions):
    """Run a loop by hand, without state on the server."""
    client = connect(t)
    items = [{"role": "user", "content": prompt}]
    tools = [{"type": "function", **describe(f)["function"]} for f in functions]
    for _ in range(4):
        with client.responses.stream(model=t.model, input=items, tools=tools, store=False) as events:
            reply = events.get_final_response()
        called = [item for item in reply.output if item.type == "function_call"]
        if not called:
            return reply.output_text
        items += [{k: getattr(c, k) for k in ("type", "call_id", "name", "arguments")} for c in called]
        for call in called:
            (function,) = (f for f in functions if f.__name__ == call.name)
            result = json.dumps(function(**json.loads(call.arguments)))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
    return None


def extract(t, prompt, form):
    return connect(t).responses.parse(model=t.model, input=prompt, text_format=form).output_parsed
