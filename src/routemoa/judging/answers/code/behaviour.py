"""Group code answers by what they do: equal outputs for the same inputs are agreement. Pure functions.

Running the code is the work of `datasets.grading.behaviour`. Here it is settled which inputs are tried, which outputs
are equal, and which answers agree. The order of the answers never matters.

Inputs are the calls that the question and the answers themselves show, and small changes of them. They are matched by
the number of arguments, so that functions of other names are compared all the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any

from msgspec import Struct

from routemoa.core.trace import Agreement
from routemoa.judging.answers.code.canonical_output import encode_output
from routemoa.judging.answers.code.code_calls import Example, find_calls
from routemoa.judging.answers.code.literals import format_arguments, parse_literal
from routemoa.judging.answers.grouping import Groups

__all__ = [
    "Behaviour",
    "Output",
    "agree",
    "collect_inputs",
    "describe_groups",
    "group_behaviours",
    "has_failed",
    "misses_example",
    "restrict_inputs",
]

MIN_COMPARED = 2
"""Inputs for which two answers must both have an output, to be compared at all."""
MIN_EQUAL = 0.9
"""The share of them with equal outputs from which two answers do the same."""
MAX_CALLS = 4
"""Calls of one answer that are tried."""
MAX_CHANGES = 4
"""Changed copies of each of these calls."""
FLOAT_TOLERANCE = 1e-6
"""Relative and absolute difference up to which numbers are equal."""
TIMEOUT = "timeout"
"""The error of a call that took too long."""
MAX_DEPTH = 40
"""Of an output's structure that is compared."""


class Output(Struct, frozen=True, omit_defaults=True):
    """What a function did with an input."""

    value: str | None = None
    """What it returned, printed or changed: the JSON that the sandbox's harness writes; None where it raised."""
    error: str | None = None
    """The name of the exception that it raised, `TIMEOUT`, or the limit at which the program was stopped."""


class Behaviour(Struct, frozen=True, omit_defaults=True):
    """What an answer's main function did."""

    outputs: Mapping[str, Output] = {}
    """Input (the text of a tuple of literals) -> output. Missing where the function takes another number of arguments,
    or the time was over."""
    failure: str | None = None
    """Why it could not be run: it holds no Python, or does not load."""


def collect_inputs(examples: Sequence[Example], texts: Sequence[str]) -> tuple[str, ...]:
    """Return the inputs to try: those of the question's examples and of each answer's calls, then changes of them."""
    calls = dict.fromkeys(example.call.arguments for example in examples)
    for text in texts:
        found = find_calls(text)
        main = found[-1].name if found else None
        calls |= dict.fromkeys([call.arguments for call in found if call.name == main][:MAX_CALLS])
    changed = dict.fromkeys(change for call in sorted(calls) for change in _change_arguments(call))
    return tuple(sorted(calls) + sorted(changed.keys() - calls.keys()))


def _change_arguments(arguments: str) -> list[str]:
    """Return copies of a call's arguments with a small change in one of them, of the same types."""
    values = parse_literal(arguments)
    if not isinstance(values, tuple):
        return []
    options = [_change_value(value) for value in values]
    rounds = max((len(changes) for changes in options), default=0)
    changed = [
        format_arguments((*values[:i], changes[k], *values[i + 1 :]))
        for k in range(rounds)
        for i, changes in enumerate(options)
        if k < len(changes)
    ]
    return [text for text in dict.fromkeys(changed) if text is not None and text != arguments][:MAX_CHANGES]


def _change_value(value: Any) -> list[Any]:
    """Return small changes of a value that keep its type and do not make it empty."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value * 2]
    if isinstance(value, str) and value:
        return [*([value[1:]] if len(value) > 1 else []), value[::-1], value + value[0]]
    if isinstance(value, list | tuple) and value:
        items, first = list(value), _change_value(value[0])[:1]
        changed = [items[1:] or items * 2, items[::-1], [*first, *items[1:]], [*items, items[0]]]
        return [type(value)(change) for change in changed]
    if isinstance(value, dict) and len(value) > 1:
        return [dict(list(value.items())[1:])]
    if isinstance(value, set) and len(value) > 1:
        return [set(sorted(value, key=repr)[1:])]
    return []


def group_behaviours(behaviours: Sequence[Behaviour], examples: Sequence[Example] = ()) -> Groups:
    """Group the answers that do the same; one that fails, or misses an example of the question, stands alone.

    An example that none of several answers meets counts for nothing: questions with wrong examples exist.
    """
    if len(behaviours) > 1:
        examples = [e for e in examples if any(not has_failed(b) and not misses_example(b, [e]) for b in behaviours)]
    failed = tuple(has_failed(b) or misses_example(b, examples) for b in behaviours)
    cluster = list(range(len(behaviours)))
    for i, j in combinations(range(len(behaviours)), 2):
        if not failed[i] and not failed[j] and cluster[i] != cluster[j] and agree(behaviours[i], behaviours[j]):
            kept, merged = sorted((cluster[i], cluster[j]))
            cluster = [kept if c == merged else c for c in cluster]
    number = {c: n for n, c in enumerate(dict.fromkeys(cluster))}
    return Groups(tuple(number[c] for c in cluster), True, (None,) * len(behaviours), failed)


def describe_groups(groups: Groups, models: Sequence[str], inputs: int) -> Agreement:
    """Return the groups of these models' answers for a trace; `inputs` is how many were tried."""
    return Agreement(
        f"code answers were run on {inputs} inputs and are compared by their outputs",
        tuple(models),
        tuple(group for group in groups.group_of if group is not None),
        tuple(m for m, failed in zip(models, groups.failed, strict=True) if failed),
    )


def restrict_inputs(behaviour: Behaviour, inputs: Collection[str]) -> Behaviour:
    """Return what an answer did with some of the inputs."""
    outputs = {text: output for text, output in behaviour.outputs.items() if text in inputs}
    return Behaviour(outputs, behaviour.failure)


def has_failed(behaviour: Behaviour) -> bool:
    """Return whether an answer's code cannot be run, or raises for every input."""
    outputs = behaviour.outputs.values()
    return behaviour.failure is not None or (bool(outputs) and all(o.error is not None for o in outputs))


def misses_example(behaviour: Behaviour, examples: Sequence[Example]) -> bool:
    """Return whether an answer does otherwise than the question says for one of its examples; too slow is unknown."""
    for example in examples:
        output = behaviour.outputs.get(example.call.arguments)
        if example.expected is None or output is None or output.error == TIMEOUT:
            continue
        if output.value is None or not _is_expected(output.value, example.expected):
            return True
    return False


def agree(one: Behaviour, other: Behaviour) -> bool:
    """Return whether two answers do the same: at least two inputs in common, and equal outputs for 90 % of them.

    Where both raise, the input is not one to compare.
    """
    compared = equal = 0
    for arguments, output in one.outputs.items():
        beside = other.outputs.get(arguments)
        if beside is None or (output.value is None and beside.value is None):
            continue
        compared += 1
        equal += output.value is not None and beside.value is not None and _equal_texts(output.value, beside.value)
    return compared >= MIN_COMPARED and equal >= MIN_EQUAL * compared


def _equal_texts(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return _equal(json.loads(one), json.loads(other))
    except (ValueError, RecursionError):
        return False


def _equal(one: Any, other: Any, depth: int = 0) -> bool:
    """Return whether two canonical outputs are equal, numbers within a tolerance."""
    if isinstance(one, int | float) and isinstance(other, int | float):
        try:
            return math.isclose(one, other, rel_tol=FLOAT_TOLERANCE, abs_tol=FLOAT_TOLERANCE)
        except OverflowError:
            return one == other
    if isinstance(one, list) and isinstance(other, list):
        same_length = len(one) == len(other) and depth < MAX_DEPTH
        return same_length and all(_equal(a, b, depth + 1) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and bool(one == other)


def _is_expected(value: str, expected: str) -> bool:
    """Return whether an output is the literal that the question gives."""
    return _equal_texts(value, encode_output(parse_literal(expected)))
