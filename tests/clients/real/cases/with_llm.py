"""llm, with the plug-in llm-routemoa."""

import base64
import os

import llm
import openai
from harness import Target, chunks
from llm_routemoa import ServedChat

ERRORS = {"401": openai.AuthenticationError, "400": openai.BadRequestError, "timeout": openai.APITimeoutError}
WRONG = {"max_tokens": -5}


def command(text: str, t: Target) -> str:
    """Return the lines of the documentation for a target; what they install is installed."""
    text = text.replace("pip install", ": installed").replace("-m routemoa", f"-m {find_name(t)}")
    return text.replace("llm -m", "llm prompt --no-log -m")


def find_name(t: Target) -> str:
    return t.model if t.model == "routemoa" else f"routemoa/{t.model}"


def connect(t: Target, timeout: float = 30.0) -> ServedChat:
    """Return the registered model, which reads the variables that a user sets."""
    os.environ |= {"ROUTEMOA_BASE_URL": t.base_url, "ROUTEMOA_API_KEY": t.key, "ROUTEMOA_TIMEOUT": str(timeout)}
    return llm.get_model(find_name(t))


def ask(t, prompt, image=None, timeout=30.0, max_tokens=None):
    data = [llm.Attachment(content=base64.b64decode(image.split(",")[1]), type="image/png")] if image else []
    options = {} if max_tokens is None else {"max_tokens": max_tokens}
    return connect(t, timeout).prompt(prompt, attachments=data, stream=False, **options).text()


def stream(t, prompt):
    return chunks(connect(t).prompt(prompt))


def run_tools(t, prompt, functions):
    return connect(t).chain(prompt, tools=functions).text()


def extract(t, prompt, form):
    return form.model_validate_json(connect(t).prompt(prompt, schema=form, stream=False).text())
