"""The program inside the sandbox that tries an answer's main function on inputs. Standard library only.

`routemoa.datasets.grading.behaviour` sends the text of this file to the sandbox, after those of `sandbox_harness` and
`judging.answers.canonical_output`, whose functions it uses.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import random
import signal
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:  # the sandbox need not load typing
    from collections.abc import Callable
    from typing import Any

    from routemoa.datasets.grading.sandbox_harness import ANSWER, _load_answer, _redirect_streams
    from routemoa.judging.answers.code.canonical_output import encode_output

__all__ = ["observe"]

LOAD_SECONDS = 1.0  # of processor time
CALL_SECONDS = 0.5  # of processor time, so that a busy machine changes no verdict
WAIT_FACTOR = 3  # times as long by the clock, for code that waits
MAX_TIMEOUTS = 3  # calls that take too long, until no other is tried
MAX_PRINTED = 4000  # characters that a call prints
NOT_LOADED = 3  # the exit code of a candidate that does not load


class TooSlow(BaseException):
    """A call takes too long."""


class _Printed:
    """What is printed, up to a limit."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: object) -> int:
        """Keep a text."""
        self.text += str(text)[: max(0, MAX_PRINTED - len(self.text))]
        return len(str(text))

    def flush(self) -> None:
        """Do nothing."""


def observe(job: dict[str, Any]) -> None:
    """Try the `job`'s candidates in turn, each in a process of its own, until one loads; print a line for each input.

    A line is {"input": text} with "value", "error" or neither, where the input has another number of arguments.
    """
    for candidate in job["candidates"]:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os._exit(_observe_candidate({"preamble": job["preamble"], **candidate}, job["names"], job["inputs"]))
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != NOT_LOADED:
            return
    print(json.dumps({"failure": "does not load"}))


def _observe_candidate(candidate: dict[str, Any], names: list[str], inputs: list[str]) -> int:
    """Load a candidate and call its main function with each input; return the exit code."""
    _, reply = _redirect_streams()
    write, encode, dump, parse = os.write, encode_output, json.dumps, ast.literal_eval
    sys.stdout = sys.stderr = printed = _Printed()
    signal.signal(signal.SIGALRM, _stop_call)
    signal.signal(signal.SIGPROF, _stop_call)
    module = types.ModuleType(ANSWER)
    sys.modules[ANSWER] = module
    try:
        _limit_time(LOAD_SECONDS)
        functions, entry_points = _load_answer(candidate, module.__dict__)
        main = _find_main(module.__dict__, functions, entry_points, names)
        _limit_time(0)
    except BaseException:
        return NOT_LOADED
    if main is None:
        return NOT_LOADED
    timeouts = 0
    for text in inputs:
        printed.text = ""
        try:
            line = _call(main, parse(text), printed, encode)
        except TooSlow:
            line = {"error": "timeout"}
            timeouts += 1
        except BaseException as e:
            line = {"error": type(e).__name__[:80]}
        finally:
            _limit_time(0)
        write(reply, dump({"input": text, **line}).encode() + b"\n")
        if timeouts >= MAX_TIMEOUTS:
            break
    return 0


def _limit_time(seconds: float) -> None:
    """Raise TooSlow after so many seconds from now; 0 is no limit."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WAIT_FACTOR * seconds)


def _stop_call(number: int, frame: object) -> None:
    raise TooSlow


def _call(main: Callable[..., Any], arguments: tuple[Any, ...], printed: _Printed, encode: Callable[[Any], str]) -> Any:
    """Return what a call returns; where that is None, what it prints, or else what it makes of its arguments."""
    try:
        inspect.signature(main).bind(*arguments)
    except TypeError:
        return {}
    except ValueError:  # a built-in function without a known signature
        pass
    random.seed(0)
    before = encode(arguments)
    _limit_time(CALL_SECONDS)
    value = main(*arguments)
    if inspect.iscoroutine(value):
        import asyncio

        value = asyncio.run(value)
    if value is not None:
        return {"value": encode(value)}
    if printed.text.strip():
        return {"value": encode(("printed", printed.text.strip()))}
    after = encode(arguments)
    return {"value": encode(None) if after == before else encode(("changed", arguments))}


def _find_main(
    namespace: dict[str, Any], functions: dict[str, Any], entry_points: list[str], names: list[str]
) -> Callable[..., Any] | None:
    """Return the function to call: one of these names, else the last one that no other uses.

    Of a class with a single public method and no arguments to make it, that method.
    """
    defined = {**functions, **{name: namespace[name] for name in functions if callable(namespace.get(name))}}
    methods = [method for value in defined.values() if (method := _only_method(value)) is not None]
    for name in names:
        if callable(defined.get(name)):
            return _only_method(defined[name]) or defined[name]
        for method in methods:
            if method.__name__ == name:
                return method
    for name in reversed([*functions, *entry_points]):
        if name in entry_points and callable(defined.get(name)):
            return _only_method(defined[name]) or defined[name]
    return next((defined[name] for name in reversed(list(functions)) if callable(defined.get(name))), None)


def _only_method(value: object) -> Callable[..., Any] | None:
    """Return the one public method of a class that takes no arguments to make, bound; None for anything else."""
    if not isinstance(value, type):
        return None
    names = [n for n, m in vars(value).items() if not n.startswith("_") and isinstance(m, types.FunctionType)]
    if len(names) != 1 or "__init__" in vars(value):
        return None
    return getattr(value(), names[0])  # type: ignore[no-any-return]
