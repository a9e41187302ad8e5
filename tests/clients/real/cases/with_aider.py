"""aider, as the command that its users run, in a new git repository for each case."""

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import litellm  # noqa: F401  (aider loads it at its first request)
from aider.main import main
from harness import Target, Unsupported

QUIET = {
    "AIDER_YES_ALWAYS": "true",
    "AIDER_CHECK_UPDATE": "false",
    "AIDER_ANALYTICS": "false",
    "AIDER_SHOW_MODEL_WARNINGS": "false",
    "AIDER_AUTO_COMMITS": "false",
    "AIDER_PRETTY": "false",
    "AIDER_GITIGNORE": "false",
}
BEFORE = "def answer():\n    return 41\n"
AFTER = "def answer():\n    return 42\n"
EDIT = "Let answer() return 42."


class AiderError(Exception):
    """What aider says where a request fails; it goes on living."""


ERRORS = {"401": AiderError, "400": AiderError, "timeout": AiderError}
START_SECONDS = 20  # beside others; a timeout that is not kept is no error here but an answer, after 8 s
WRONG = {"temperature": 9.0}


def make_repository() -> Path:
    folder = Path(tempfile.mkdtemp(dir=Path.cwd()))
    (folder / "answer.py").write_text(BEFORE)
    for command in (["init", "-q"], ["add", "."], [*_identity(), "commit", "-qm", "Begin"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def _identity() -> list[str]:
    return ["-c", "user.name=Test", "-c", "user.email=test@localhost"]


def command(text: str, t: Target) -> str:
    """Return the lines of the documentation for a target: run in a repository, they show the file."""
    settings = " ".join(f"{k}={v}" for k, v in QUIET.items())
    text = text.replace("openai/routemoa", f"openai/{t.model}").replace("answer.py", "answer.py < /dev/null >&2")
    return f"cd {make_repository()}; export {settings}\n{text}\ncat answer.py"


def run(t: Target, folder: Path, *arguments: str) -> str:
    """Run aider's command; return what it prints. Ctrl-C is passed on; a request that it would try again is an error.

    It runs in a fork of this process, in which its libraries are loaded already: that saves eight seconds each time.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        _run_command(t, folder, ["--model", f"openai/{t.model}", *arguments])
    os.close(writing)
    text = ""
    try:
        with open(reading, errors="replace") as output:
            for line in output:
                text += line
                if line.startswith("Retrying in"):
                    os.kill(child, signal.SIGKILL)
    except KeyboardInterrupt:
        os.kill(child, signal.SIGINT)
        raise
    finally:
        os.waitpid(child, 0)
    if "litellm." in text:
        raise AiderError(text[text.index("litellm.") :])
    return text


def _run_command(t: Target, folder: Path, arguments: list[str]) -> None:
    """Be the command `aider`, to the end of the process."""
    try:
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
        os.chdir(folder)
        os.environ |= {**QUIET, "OPENAI_API_BASE": t.base_url, "OPENAI_API_KEY": t.key}
        main(arguments)
    except BaseException as e:
        print(repr(e))
    finally:
        sys.stdout.flush()
        os._exit(0)


def ask(t, prompt, image=None, timeout=30.0, temperature=None):
    folder = make_repository()
    settings = [f"- name: openai/{t.model}", "  edit_format: diff"]
    settings += [] if temperature is None else [f"  use_temperature: {temperature}"]
    (folder / ".aider.model.settings.yml").write_text("\n".join(settings))
    files = []
    if image:
        (folder / "picture.png").write_bytes(base64.b64decode(image.split(",")[1]))
        able = {"supports_vision": True, "litellm_provider": "openai", "mode": "chat", "max_input_tokens": 100000}
        (folder / ".aider.model.metadata.json").write_text(json.dumps({f"openai/{t.model}": able}))
        files = ["picture.png"]
    options = ["--chat-mode", "ask", "--no-stream", "--timeout", str(timeout), "--message", prompt]
    return run(t, folder, *options, *files)


def stream(t, prompt):
    """Stream an edit in the format `whole`, which rewrites the file; give the file."""
    folder = make_repository()
    if "slowly" in prompt:
        yield run(t, folder, "--chat-mode", "ask", "--stream", "--message", prompt)
        return
    run(t, folder, "--edit-format", "whole", "--stream", "--message", EDIT, "answer.py")
    text = (folder / "answer.py").read_text()
    assert text == AFTER, text
    yield text


def run_tools(t, prompt, functions):
    raise Unsupported("aider sends no tools: it reads edits from text")


def extract(t, prompt, form):
    raise Unsupported("aider asks for no schema: it reads edits from text")
