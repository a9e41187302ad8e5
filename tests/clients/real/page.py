"""Writes the page of clients from the results: `python -m tests.clients.real.page`."""

from __future__ import annotations

import json
from html import escape
from textwrap import fill
from typing import Any

from routemoa.gateway.chat_api.requests import REFUSED_FIELDS
from tests.clients.real.registry import CASES, CLIENTS, HERE, TARGETS, Client, setup_file

ROOT = HERE.parents[2]
RESULTS = HERE / "results.json"
PAGE = ROOT / "docs" / "clients.md"
LANGUAGES = {".py": "python", ".mjs": "js", ".sh": "bash"}
HEAD = """\
# Clients

Any client of OpenAI's chat API works with `routemoa serve`: give it the address
`http://127.0.0.1:8080/v1`, the model `routemoa`, and any key (a tenant's, where there are tenants).
These are tested, each as its users run it.

`make test-clients` installs them into an environment of their own, runs each case three times, and
writes this page: straight at a scripted endpoint as control, against a member that is passed
through, and against a mixture of three members that do not all agree.

| case | what is right |
| --- | --- |
| plain | the lines below print the answer |
| streamed | the pieces are one answer |
| tools | an agent's loop of two calls, the second with the result of the first, then an answer |
| schema | an object of the caller's type comes out |
| image | the model sees the image |
| error | a wrong key and a wrong parameter raise the client's own errors, and the reason is in them |
| timeout | the client's timeout ends the call, at the upstream as well |
| cancel | Ctrl-C, or an abort, ends a stream, at the upstream as well |

"""
MAX_REASON = 200
RUNS = ROOT / "benchmarks" / "results" / "client_runs.json"
UNSUPPORTED = """
## What no client gets

Each is a 400 that names the field and says why. A member of the pool that is named takes them all,
if its endpoint does; [Parameters](parameters.md) has every field.

| field | why the mixture refuses it |
| --- | --- |
"""
REPEATED = """
## Run after run

Files and objects that come out of default streams, where the members answer differently, at random
speeds, and judge each other at random. A run is right where what came out is exactly one member's.

```sh
python benchmarks/client_runs.py --runs 100 --json benchmarks/results/client_runs.json
```

| mixture | client | runs | right |
| --- | --- | --- | --- |
"""
SHOWN = {"refused": "server refuses", "unsupported": "unsupported", "FAIL": "FAIL", "skipped": "skipped"}


def write_page() -> None:
    """Write the page."""
    PAGE.write_text(render(json.loads(RESULTS.read_text())))


def render(results: dict[str, Any]) -> str:
    """Return the page: the matrix, the notes of its cells, and each client's lines."""
    notes: list[str] = []
    rows = [_render_row(client, results.get(client.name) or {}, notes) for client in CLIENTS]
    table = ["| client | version | " + " | ".join(CASES) + " |", "| --- " * (len(CASES) + 2) + "|", *rows]
    listed = "".join(fill(f"{n}. {note}", 99, subsequent_indent="   ") + "\n" for n, note in enumerate(notes, 1))
    text = (
        f'{HEAD}## The matrix\n\nA cell names the targets at which it is not "ok"; without a name it is all three.\n\n'
    )
    text += "\n".join(table) + "\n\n" + listed + _render_refused() + _render_runs(json.loads(RUNS.read_text()))
    return text + "\n## Set up\n" + "".join(map(_render_setup, CLIENTS))


def _render_refused() -> str:
    return UNSUPPORTED + "".join(f"| `{name}` | {why} |\n" for name, (why, _) in REFUSED_FIELDS.items())


def _render_runs(runs: dict[str, Any]) -> str:
    found = [(mixture, client, result) for mixture, results in runs.items() for client, result in results.items()]
    return REPEATED + "".join(f"| {m} | {client} | {r['runs']} | {r['right']} |\n" for m, client, r in found)


def _render_row(client: Client, result: dict[str, Any], notes: list[str]) -> str:
    cells = [_render_cell(result.get("cells", {}).get(case, {}), notes) for case in CASES]
    return f"| {client.title} | {result.get('version', '-')} | " + " | ".join(cells) + " |"


def _render_cell(outcomes: dict[str, Any], notes: list[str]) -> str:
    """Return a cell; targets with the same outcome stand together."""
    if all(outcomes.get(target) == "ok" for target in TARGETS):
        return "ok"
    groups: dict[str, list[str]] = {}
    for target in TARGETS:
        groups.setdefault(outcomes.get(target, "skipped: not run"), []).append(target)
    return "; ".join(_render_outcome(outcome, targets, notes) for outcome, targets in groups.items() if outcome != "ok")


def _render_outcome(outcome: str, targets: list[str], notes: list[str]) -> str:
    where = "" if len(targets) == len(TARGETS) else f"{', '.join(targets)}: "
    kind, _, reason = outcome.partition(": ")
    reason = escape(" ".join(reason.replace("|", "/").split())[:MAX_REASON], quote=False)
    if reason not in notes:
        notes.append(reason)
    return f"{where}{SHOWN[kind]} ({notes.index(reason) + 1})"


def _render_setup(client: Client) -> str:
    file = setup_file(client)
    path = file.relative_to(ROOT)
    return f'\n### {client.title}\n\n```{{ .{LANGUAGES[file.suffix]} }}\n--8<-- "{path}"\n```\n'


if __name__ == "__main__":
    write_page()
