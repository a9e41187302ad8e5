"""Repeats what mixed streams would break: `python repeated.py WHAT TARGETS.json RUNS`, for benchmarks/client_runs.py.

Prints one line of JSON for each run: the file or the object that came out.
"""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from harness import Target
from pydantic import BaseModel

ASK = "Run {}. Reply in JSON, and with nothing else: which city is the capital of France, and what is its population?"


class City(BaseModel):
    """A city."""

    city: str
    population: int


def edit_file(t: Target, run: int) -> Any:
    """Let aider edit a file by a streamed diff; return the file."""
    import with_aider as aider

    folder = aider.make_repository()
    aider.run(
        t, folder, "--edit-format", "diff", "--stream", "--message", f"Run {run}: answer() returns 42.", "answer.py"
    )
    return (folder / "answer.py").read_text()


def parse_stream(t: Target, run: int) -> Any:
    """Stream through LangChain's JsonOutputParser; return the last of the objects that it makes of the pieces."""
    import with_langchain as langchain
    from langchain_core.output_parsers import JsonOutputParser

    *_, last = (langchain.connect(t) | JsonOutputParser()).stream(ASK.format(run))
    return last


def extract_stream(t: Target, run: int) -> Any:
    """Stream partial objects with Instructor, in turn by a tool, as JSON and by a schema; return the last."""
    import instructor
    import with_instructor

    mode = (instructor.Mode.TOOLS, instructor.Mode.JSON, instructor.Mode.JSON_SCHEMA)[run % 3]
    create = with_instructor.connect(t, mode=mode).chat.completions.create_partial
    messages = [{"role": "user", "content": ASK.format(run)}]
    *_, last = create(model=t.model, messages=messages, response_model=City)
    return last.model_dump()


WHAT = {"aider": edit_file, "JsonOutputParser": parse_stream, "instructor": extract_stream}


def main() -> None:
    """Run one of them so often."""
    what, file, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])
    target = Target(**next(t for t in json.loads(Path(file).read_text()) if t["name"] == "mixture"))
    for run in range(runs):
        try:
            with contextlib.redirect_stdout(sys.stderr):
                got = WHAT[what](target, run)
        except Exception as e:
            traceback.print_exc()
            got = {"error": repr(e)[:300]}
        print(json.dumps(got), flush=True)


if __name__ == "__main__":
    main()
