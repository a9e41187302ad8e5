"""Instructor, around OpenAI's SDK."""

import instructor
import with_openai_python as sdk
from harness import Target, Unsupported, chunks
from instructor import Image
from instructor.core.exceptions import InstructorRetryException

ERRORS = {kind: (error, InstructorRetryException) for kind, error in sdk.ERRORS.items()}


def connect(t: Target, timeout: float = 30.0, mode=instructor.Mode.TOOLS):
    return instructor.from_openai(sdk.connect(t, timeout), mode=mode)


def ask(t, prompt, image=None, timeout=30.0, temperature=None):
    content = [prompt, Image.from_base64(image)] if image else prompt
    options = {} if temperature is None else {"temperature": temperature}
    return connect(t, timeout).chat.completions.create(
        model=t.model, messages=[{"role": "user", "content": content}], response_model=None, max_retries=1, **options
    )


def stream(t, prompt):
    """Stream the text that instructor passes on where no object is asked for."""
    messages = [{"role": "user", "content": prompt}]
    pieces = connect(t).chat.completions.create(model=t.model, messages=messages, response_model=None, stream=True)
    return chunks(piece.choices[0].delta.content for piece in pieces if piece.choices)


def run_tools(t, prompt, functions):
    raise Unsupported("it extracts objects and runs no tools")


def extract(t, prompt, form):
    """Extract in the three modes for endpoints like OpenAI's, then in pieces as a stream."""
    messages = [{"role": "user", "content": prompt}]
    found = [
        connect(t, mode=mode).chat.completions.create(model=t.model, messages=messages, response_model=form)
        for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON, instructor.Mode.JSON_SCHEMA)
    ]
    *_, last = connect(t).chat.completions.create_partial(model=t.model, messages=messages, response_model=form)
    found.append(form(**last.model_dump()))
    assert len({f.model_dump_json() for f in found}) == 1, found
    return found[-1]
