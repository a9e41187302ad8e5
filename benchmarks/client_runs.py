"""Do files and objects come out whole, run after run, where answers are streamed and judges disagree?

    .venv/bin/python benchmarks/client_runs.py [--runs 100] [--only aider] [--mixture refine] [--json FILE]

aider (an edit by a streamed diff), LangChain's JsonOutputParser and Instructor's partial objects (both from a stream)
ask the mixture of `routemoa serve`, default streams, of three scripted models: they answer differently, at random
speeds, and each judges at random, itself and others. A run is right where the file or the object that came out is
exactly one model's; `agreed` counts those on which two of the three models agree. An open text is answered by one
model alone by default; under `--mixture synthesize` a panel answers and one of it writes, under `select` judges
compare the answers, under `refine` models see each other's answers and score them. Needs `make test-clients` once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, it finds tests/

from tests.clients.real.install import program
from tests.clients.real.registry import HERE
from tests.clients.real.servers import run_servers
from tests.clients.real.upstream import Upstream, call

RUN = re.compile(r"Run (\d+)[.:]")
LABEL = re.compile(r'<answer id=\\"(\w+)\\">')
MODELS = ("first", "second", "third")
MIXTURES = {
    "default": "",
    "synthesize": '[mixture]\nopen = "synthesize"\n',
    "select": '[mixture]\nopen = "select"\n',
    "refine": '[mixture]\nopen = "synthesize"\nlater_layers = "refine"\n',
}
CLIENTS = {"aider": "aider", "JsonOutputParser": "python", "instructor": "python"}


def make_object(model: str, run: int) -> dict[str, Any]:
    """Return a model's object: the first differs from the two others in every value."""
    if model == "first":
        return {"city": "Lyon", "population": 500 + run}
    order = ("city", "population") if model == "second" else ("population", "city")
    return {key: {"city": "Paris", "population": 2_100_000 + run}[key] for key in order}


def make_file(model: str, run: int) -> str:
    """Return the file as a model edits it; each edits it differently."""
    return f"def answer():\n    # {model}, run {run}\n    return {43 if model == 'third' else 42}\n"


def reply_at_random(body: dict[str, Any]) -> str | dict[str, Any]:
    """Return a model's reply, with judgments at random where it is asked for them."""
    text = json.dumps(body["messages"])
    model = str(body["model"])
    run = int(RUN.findall(text)[-1])
    for tool in body.get("tools") or ():
        return call(tool["function"]["name"], make_object(model, run))
    if "SEARCH" in text:
        new = make_file(model, run).partition("\n")[2].rstrip("\n")
        edit = f"<<<<<<< SEARCH\n    return 41\n=======\n{new}\n>>>>>>> REPLACE"
        reply = f"The edit of {model}:\n\nanswer.py\n```python\n{edit}\n```\n"
    else:
        reply = json.dumps(make_object(model, run))
    if "<assessment>" not in text or body.get("response_format"):
        return reply
    random = Random(f"{model} {run} {len(text)}")
    scores = {label: round(random.random(), 2) for label in LABEL.findall(text)}
    judged = {"self": round(random.random(), 2), **({"scores": scores} if scores else {})}
    return f"{reply}\n<assessment>{json.dumps(judged)}</assessment>"


def judge_run(client: str, run: int, got: Any) -> tuple[bool, bool]:
    """Return whether what came out is one model's, and whether two models agree on it."""
    makers = {model: make_file(model, run) if client == "aider" else make_object(model, run) for model in MODELS}
    return got in makers.values(), client != "aider" and got == makers["second"]


def run_client(client: str, runs: int, settings: str) -> dict[str, Any]:
    """Run a client so often; return the counts."""
    began = monotonic()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        run_servers(Path(name), (str(Path(__file__).resolve()), "--upstream"), settings) as targets,
    ):
        folder = Path(name)
        (folder / "targets.json").write_bytes(msgspec.json.encode(targets))
        interpreter = program(CLIENTS[client])
        command = [str(interpreter), str(HERE / "cases" / "repeated.py"), client, str(folder / "targets.json")]
        path = f"{interpreter.parent}{os.pathsep}{os.environ['PATH']}"
        environment = {"PATH": path, "HOME": name, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        with (folder / "log").open("w") as log:
            done = subprocess.run(
                [*command, str(runs)], stdout=subprocess.PIPE, stderr=log, env=environment, cwd=folder, check=True
            )
    found = [judge_run(client, run, json.loads(line)) for run, line in enumerate(done.stdout.splitlines())]
    wrong = [line.decode()[:300] for line, (right, _) in zip(done.stdout.splitlines(), found, strict=True) if not right]
    right, agreed = (sum(column) for column in zip(*found, strict=True))
    seconds = round(monotonic() - began, 1)
    return {"runs": len(found), "right": right, "agreed": agreed, "wrong": wrong, "seconds": seconds}


async def serve_upstream() -> None:
    """Be the upstream."""
    async with Upstream(reply_at_random, random_delay=0.02) as endpoint:
        print(endpoint.url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Run the clients and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--only", choices=CLIENTS)
    parser.add_argument("--mixture", choices=MIXTURES, default="default")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--upstream", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.upstream:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve_upstream())
        return
    results = {}
    for client in [options.only] if options.only else CLIENTS:
        results[client] = result = run_client(client, options.runs, MIXTURES[options.mixture])
        counts = f"{options.mixture:12}{result['right']:4} right of {result['runs']}, {result['agreed']:4} agreed"
        print(f"{client:18}{counts}, {result['seconds']:.0f} s", flush=True)
        for line in result["wrong"][:3]:
            print(f"  wrong: {line}")
    if options.json:
        before = json.loads(options.json.read_text()) if options.json.exists() else {}
        merged = {**before, options.mixture: {**before.get(options.mixture, {}), **results}}
        options.json.write_text(json.dumps(merged, indent=1) + "\n")


if __name__ == "__main__":
    main()
