"""The program that runs inside the sandbox: tries an answer's code against its tests. Standard library alone.

Two processes. `supervise` knows the seal that means "passed" and never runs a line of the answer. `attempt` is a
fresh interpreter that runs the answer; it is told the tests, and the word to say after them, only once the answer's
code has run to its end. `routemoa.datasets.grading.code` reads this file and hands its text to the sandbox.
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

__all__ = ["run_answer", "supervise"]

ANSWER = "answer"  # the module that the answer's code becomes
NEEDED = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
MOST_CUT = 200  # lines of prose after the code


def supervise(source: str, job: dict[str, object]) -> None:
    """Try the `job`'s candidates in turn until one runs to its end by itself; then that one is put to the tests.

    A candidate is a list of pieces (fenced blocks), of which those that are no Python are passed over. The seal is
    printed backwards: no traceback that shows this program's text can hold it.
    """
    candidates = job["candidates"]
    assert isinstance(candidates, list)  # noqa: S101
    for candidate in candidates:
        key, word = os.urandom(16).hex(), os.urandom(16).hex()
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-sSPB", "-c", source + "\nattempt()\n"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
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
    """Run one candidate, say so, receive the tests, run them, say so. Whatever is raised ends it unsaid."""
    # What is needed later is kept in local names now: the answer may put others into these modules.
    hear, say = os.fdopen(os.dup(0), "rb"), os.dup(1)
    void = os.open(os.devnull, os.O_RDWR)
    os.dup2(void, 0)  # input() finds the end of the file
    os.dup2(void, 1)  # what the answer prints decides nothing, and much of it must not stop it
    write, decode, shown, present = os.write, json.loads, traceback.print_exc, vars(builtins)
    originals = dict(present)
    job = decode(hear.readline())
    module = types.ModuleType(ANSWER)
    sys.modules[ANSWER] = module  # data classes and pickle look their module up
    space = module.__dict__
    made: dict[str, object] = {}
    try:
        parts = _assemble_sources(job["preamble"], job["pieces"], job["cut"])
        mains = [name for part in parts[1:] for name in _list_entry_points(part)]
        for part in parts:
            _execute(part, space, job["strict"])
            made |= {name: space[name] for name in _list_definitions(part) if callable(space.get(name))}
    except BaseException:  # SystemExit too
        shown()
        return
    present.update(originals)
    for added in [name for name in present if name not in originals]:
        del present[added]
    write(say, job["key"].encode() + b"\n")
    told = decode(hear.readline())
    # An example in a block of its own may keep a result under the function's name: area = area(2, 3).
    space.update({name: function for name, function in made.items() if not callable(space.get(name))})
    name, mains = told["name"], [main for main in mains if callable(space.get(main))]
    if name and not callable(space.get(name)) and mains:
        space[name] = space[mains[-1]]
    space["__name__"] = "__main__"
    try:
        exec(compile(told["tests"], "<tests>", "exec", dont_inherit=True), space)  # noqa: S102
    except BaseException:
        shown()
        return
    write(say, told["word"].encode() + b"\n")


def _execute(text: str, space: dict[str, object], strict: bool) -> None:
    """Execute it; unless `strict`, a statement that is neither import nor definition may fail by itself."""
    if strict:
        exec(compile(text, "<answer>", "exec", dont_inherit=True), space)  # noqa: S102
        return
    for node in ast.parse(text).body:
        statement = compile(ast.Module([node], []), "<answer>", "exec", dont_inherit=True)
        try:
            exec(statement, space)  # noqa: S102
        except Exception:
            if isinstance(node, NEEDED):
                raise


def _assemble_sources(preamble: str, pieces: list[str], cut: bool) -> list[str]:
    """What to execute: the preamble, then the pieces; or the preamble with the one that is a function's body."""
    first = preamble if _parse_source(preamble) else ""
    texts = [text for piece in pieces if (text := _find_valid_source(piece, cut))]
    if texts and (not preamble.strip() or any(_list_definitions(text) for text in texts)):
        return [first, *texts]
    for piece in pieces:
        bare = textwrap.dedent(piece)
        for body in (piece, textwrap.indent(bare, "    "), "    " + piece.lstrip()):
            if text := _find_valid_source(f"{preamble.rstrip()}\n{body}", cut):
                return [first, text]
    if not texts:
        raise SyntaxError("no Python in this answer")
    return [first, *texts]


def _find_valid_source(text: str, cut: bool) -> str:
    """The text, without an indentation common to all lines, if it is Python; with `cut` without the lines after it."""
    for candidate in (text, textwrap.dedent(text)):
        if _parse_source(candidate):
            return candidate
    lines = textwrap.dedent(text).splitlines()
    for end in range(len(lines) - 1, max(0, len(lines) - MOST_CUT), -1) if cut else ():
        if _parse_source(shorter := "\n".join(lines[:end])):
            return shorter
    return ""


def _parse_source(text: str) -> ast.Module | None:
    """None where it is no Python, or nothing at all."""
    try:
        tree = ast.parse(text)
        compile(text, "<answer>", "exec", dont_inherit=True)  # "return" outside of a function is found only here
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if tree.body else None


def _list_definitions(text: str) -> list[str]:
    """Names of functions and classes at the top."""
    tree = _parse_source(text)
    found = []
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            found += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return found


def _list_entry_points(text: str) -> list[str]:
    """Of the names defined, those that no other definition uses and that are no tests."""
    tree = _parse_source(text)
    used = {
        inner.id
        for node in (tree.body if tree else ())
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name) and inner.id != node.name
    }
    return [name for name in _list_definitions(text) if name not in used and name != "main" and not name.startswith("test")]


def _send(pipe: object, message: dict[str, object]) -> None:
    pipe.write(json.dumps(message).encode() + b"\n")  # type: ignore[attr-defined]
    pipe.flush()  # type: ignore[attr-defined]
