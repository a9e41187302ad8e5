"""The program inside the sandbox: it tries an answer's code against its tests. Standard library only.

There are two processes. `supervise` knows the seal that means "passed" and never runs a line of the answer.
`run_answer` is a fresh interpreter that runs the answer; it receives the tests, and the word that confirms them, only
once the answer's code has run to its end. `routemoa.datasets.grading.code` sends the text of this file to the sandbox.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
import subprocess
import sys
import textwrap
import traceback
import types

TYPE_CHECKING = False
if TYPE_CHECKING:  # the sandbox need not load typing
    from typing import Any, BinaryIO

__all__ = ["run_answer", "supervise"]

ANSWER = "answer"  # the name of the answer's module
ESSENTIAL = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
MAX_TRAILING_LINES = 200  # of prose after the code


def supervise(source: str, job: dict[str, object]) -> None:
    """Try the `job`'s candidates in turn until one runs to its end, then test that one; print the seal if it passes.

    A candidate is a list of pieces (fenced blocks); those that are not Python are skipped. The job holds the seal
    backwards, so that no traceback that shows this program's text can contain it.

    Args:
        source: the text of this file.
        job: see `routemoa.datasets.grading.code.build_program`.
    """
    candidates = job["candidates"]
    assert isinstance(candidates, list)  # noqa: S101
    for candidate in candidates:
        key, word = os.urandom(16).hex(), os.urandom(16).hex()
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-sSPB", "-c", source + "\nrun_answer()\n"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdin is not None  # noqa: S101
        assert child.stdout is not None  # noqa: S101
        try:
            _send(child.stdin, {"preamble": job["preamble"], "key": key, **candidate})
            if child.stdout.readline().decode().strip() == key:
                _send(child.stdin, {"tests": job["tests"], "name": job["name"], "word": word})
                if child.stdout.readline().decode().strip() == word:
                    print(str(job["seal"])[::-1], flush=True)
                return
        except (BrokenPipeError, UnicodeDecodeError):
            pass
        finally:
            child.kill()


def run_answer() -> None:
    """Load one candidate, confirm it, receive the tests, run them, confirm them; an exception ends it unconfirmed."""
    requests, reply = _redirect_streams()
    # Local names for all that is needed later: the answer may replace what these modules and this one hold.
    write, decode, print_traceback, current = os.write, json.loads, traceback.print_exc, vars(builtins)
    originals = dict(current)
    job = decode(requests.readline())
    module = types.ModuleType(ANSWER)
    sys.modules[ANSWER] = module  # data classes and pickle look their module up
    namespace = module.__dict__
    try:
        functions, entry_points = _load_answer(job, namespace)
    except BaseException:  # SystemExit too
        print_traceback()
        return
    current.update(originals)
    for added in [name for name in current if name not in originals]:
        del current[added]
    write(reply, job["key"].encode() + b"\n")
    job = decode(requests.readline())
    # An example in a block of its own may keep a result under the function's name: area = area(2, 3).
    namespace.update({name: function for name, function in functions.items() if not callable(namespace.get(name))})
    name, entry_points = job["name"], [entry for entry in entry_points if callable(namespace.get(entry))]
    if name and not callable(namespace.get(name)) and entry_points:
        namespace[name] = namespace[entry_points[-1]]
    namespace["__name__"] = "__main__"
    try:
        exec(compile(job["tests"], "<tests>", "exec", dont_inherit=True), namespace)  # noqa: S102
    except BaseException:
        print_traceback()
        return
    write(reply, job["word"].encode() + b"\n")


def _redirect_streams() -> tuple[BinaryIO, int]:
    """Return the pipes to and from `supervise`; the answer gets an empty input and its prints are discarded."""
    requests, reply = os.fdopen(os.dup(0), "rb"), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    return requests, reply


def _load_answer(job: dict[str, Any], namespace: dict[str, Any]) -> tuple[dict[str, object], list[str]]:
    """Execute a candidate; return the functions and classes that it defines, and the names of its entry points."""
    functions: dict[str, object] = {}
    sources = _assemble_sources(job["preamble"], job["pieces"], job["cut"])
    entry_points = [name for source in sources[1:] for name in _list_entry_points(source)]
    for source in sources:
        _execute(source, namespace, job["strict"])
        functions |= {name: namespace[name] for name in _list_definitions(source) if callable(namespace.get(name))}
    return functions, entry_points


def _execute(text: str, namespace: dict[str, object], strict: bool) -> None:
    """Execute a source; unless `strict`, a statement that is neither an import nor a definition may fail."""
    if strict:
        exec(compile(text, "<answer>", "exec", dont_inherit=True), namespace)  # noqa: S102
        return
    for node in ast.parse(text).body:
        statement = compile(ast.Module([node], []), "<answer>", "exec", dont_inherit=True)
        try:
            exec(statement, namespace)  # noqa: S102
        except Exception:
            if isinstance(node, ESSENTIAL):
                raise


def _assemble_sources(preamble: str, pieces: list[str], cut: bool) -> list[str]:
    """Return what to execute: the preamble, then the pieces; or the preamble continued by a function's body."""
    first = preamble if _parse_source(preamble) else ""
    texts = [text for piece in pieces if (text := _find_valid_source(piece, cut))]
    if texts and (not preamble.strip() or any(_list_definitions(text) for text in texts)):
        return [first, *texts]
    for piece in pieces:
        bare = textwrap.dedent(piece)
        for body in (piece, textwrap.indent(bare, "    "), "    " + piece.lstrip()):  # with several indentations
            if text := _find_valid_source(f"{preamble.rstrip()}\n{body}", cut):
                return [first, text]
    if not texts:
        raise SyntaxError("no Python in this answer")
    return [first, *texts]


def _find_valid_source(text: str, cut: bool) -> str:
    """Return the text where it is Python, without common indentation; with `cut`, without the prose after the code.

    Empty where no part is Python.
    """
    for candidate in (text, textwrap.dedent(text)):
        if _parse_source(candidate):
            return candidate
    lines = textwrap.dedent(text).splitlines()
    for end in range(len(lines) - 1, max(0, len(lines) - MAX_TRAILING_LINES), -1) if cut else ():
        if _parse_source(shorter := "\n".join(lines[:end])):
            return shorter
    return ""


def _parse_source(text: str) -> ast.Module | None:
    """Return the syntax tree; None where the text is not Python, or empty."""
    try:
        tree = ast.parse(text)
        compile(text, "<answer>", "exec", dont_inherit=True)  # "return" outside of a function is found only here
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if tree.body else None


def _list_definitions(text: str) -> list[str]:
    """Return the names of functions and classes at the top level."""
    tree = _parse_source(text)
    names = []
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return names


def _list_entry_points(text: str) -> list[str]:
    """Return the defined names that no other definition uses and that are not tests."""
    tree = _parse_source(text)
    used = {
        inner.id
        for node in (tree.body if tree else ())
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name) and inner.id != node.name
    }
    return [
        name for name in _list_definitions(text) if name not in used and name != "main" and not name.startswith("test")
    ]


def _send(pipe: object, message: dict[str, object]) -> None:
    pipe.write(json.dumps(message).encode() + b"\n")  # type: ignore[attr-defined]
    pipe.flush()  # type: ignore[attr-defined]
