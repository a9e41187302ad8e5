"""Does anything leave that does not fit the caller's schema? Random schemas, members that break them in every way.

    .venv/bin/python benchmarks/random_schemas.py [--schemas 1000] [--seed 0] [--json FILE]

Each schema is random (objects, arrays, strings, numbers, enumerations, unions, to a depth of three), and so are the
values that fit it (hypothesis-jsonschema does not run with today's hypothesis). Three members over real sockets answer
with such a value, or with one that is broken: cut, of another type, with a key missing, added or doubled, NaN, two
values, prose around it, in a fence, empty. They mend some of them when they are asked to. What leaves the mixture is
checked with another library (jsonschema).
Counts: valid answers, errors, and answers that do not fit: the bar is 0. Exits with 1 where it is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import jsonschema

from routemoa.core.content.answer_format import AnswerFormat
from routemoa.core.errors import RouteMoAError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import Message, ModelSpec, Query
from routemoa.mixture.engine import RouteMoA
from routemoa.testing import FakeEndpoint

Case = tuple[dict[str, Any], list[Any]]
"""A schema, and values that fit it."""


def draw_schema(rng: Random, depth: int = 3) -> dict[str, Any]:
    """Return a random schema."""
    kind = rng.choice(["object", "object", "array", "union", "leaf"] if depth else ["leaf"])
    if kind == "object":
        names = rng.sample(["a", "b", "c", "é", "a b", '"q"'], rng.randrange(4))
        properties = {name: draw_schema(rng, depth - 1) for name in names}
        more = rng.random() < 0.5
        return {"type": "object", "properties": properties, "required": names[:2], "additionalProperties": more}
    if kind == "array":
        return {"type": "array", "items": draw_schema(rng, depth - 1), "maxItems": rng.randrange(4)}
    if kind == "union":
        return {"anyOf": [draw_schema(rng, depth - 1) for _ in range(rng.randrange(1, 3))]}
    low = rng.randrange(-99, 99)
    return rng.choice(
        [
            {"type": "string", "maxLength": rng.randrange(10)},
            {"type": "string", "pattern": "^a+b?$"},
            {"type": "integer", "minimum": low, "maximum": low + rng.randrange(99)},
            {"type": "number"},
            {"type": "boolean"},
            {"type": "null"},
            {"enum": rng.sample([0, 1, "x", "y", None], 2)},
        ]
    )


def draw_value(schema: dict[str, Any], rng: Random) -> Any:
    """Return a value that fits a schema of `draw_schema`."""
    if "anyOf" in schema:
        return draw_value(rng.choice(schema["anyOf"]), rng)
    if "enum" in schema:
        return rng.choice(schema["enum"])
    match schema["type"]:
        case "object":
            kept = [n for n in schema["properties"] if n in schema["required"] or rng.random() < 0.7]
            return {n: draw_value(schema["properties"][n], rng) for n in kept}
        case "array":
            return [draw_value(schema["items"], rng) for _ in range(rng.randrange(schema["maxItems"] + 1))]
        case "string" if "pattern" in schema:
            return "a" * rng.randrange(1, 4)
        case "string":
            return "".join(rng.choice('xyz é"') for _ in range(rng.randrange(schema["maxLength"] + 1)))
        case "integer":
            return rng.randint(schema["minimum"], schema["maximum"])
        case "number":
            return round(rng.uniform(-9, 9), 3)
        case "boolean":
            return rng.random() < 0.5
    return None


BREAKS: dict[str, Callable[[Any, Random], str]] = {
    "right": lambda v, _: json.dumps(v),
    "fenced": lambda v, _: f"```json\n{json.dumps(v, indent=1)}\n```",
    "greeted": lambda v, _: f"Sure! Here it is:\n```json\n{json.dumps(v)}\n```",
    "cut": lambda v, rng: json.dumps(v)[: rng.randrange(max(1, len(json.dumps(v))))],
    "prose": lambda v, _: f"The answer is {json.dumps(v)}, I think.",
    "other type": lambda v, _: json.dumps([v, {"x": v}]),
    "less": lambda v, _: json.dumps(dict(list(v.items())[1:]) if isinstance(v, dict) else None),
    "more": lambda v, _: json.dumps({**v, "zzz": 1} if isinstance(v, dict) else {"zzz": v}),
    "doubled": lambda v, _: '{"a": 1, "a": ' + json.dumps(v) + "}",
    "not a number": lambda _, __: '{"a": NaN}',
    "two": lambda v, _: f"{json.dumps(v)}\n{json.dumps(v)}",
    "empty": lambda _, __: "",
}


class Member:
    """An endpoint that answers as the case wants it."""

    def __init__(self) -> None:
        self.first, self.second = "", ""

    def reply(self, body: dict[str, Any]) -> str:
        return self.second if len(body["messages"]) > 1 else self.first


async def run_cases(cases: list[Case], start: int) -> Counter[str]:
    """Return how often each thing happened."""
    rng, counts = Random(start), Counter[str]()
    members = [Member() for _ in range(3)]
    async with AsyncExitStack() as stack:
        urls = [(await stack.enter_async_context(FakeEndpoint(m.reply))).url for m in members]
        pool = Pool(tuple(ModelSpec(f"m{i}", url, f"m{i}", prior=0.6 - i / 50) for i, url in enumerate(urls)))
        mixture = RouteMoA(pool)
        for schema, values in cases:
            for member, value in zip(members, values, strict=True):
                first, second = rng.choice(sorted(BREAKS)), rng.choice(["right", "right", *sorted(BREAKS)])
                member.first, member.second = BREAKS[first](value, rng), BREAKS[second](value, rng)
                counts[f"member: {first}"] += 1
            body = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
            try:
                answer = await mixture.answer(
                    Query((Message("user", "Fill it in."),), answer_format=AnswerFormat(body))
                )
            except RouteMoAError:
                counts["error"] += 1
                continue
            try:
                jsonschema.validate(json.loads(answer.text), schema)
                counts["valid"] += 1
            except (ValueError, jsonschema.ValidationError) as e:
                counts["INVALID"] += 1
                print("INVALID", json.dumps(schema), answer.text[:200], e)
        await mixture.client.close()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemas", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = Random(options.seed)
    schemas = [draw_schema(rng) for _ in range(options.schemas)]
    cases = [(schema, [draw_value(schema, rng) for _ in range(3)]) for schema in schemas]
    counts = asyncio.run(run_cases(cases, options.seed))
    print(f"{len(cases)} schemas: {dict(sorted(counts.items()))}")
    if options.json:
        options.json.write_text(json.dumps({"schemas": len(cases), **counts}, indent=1) + "\n")
    raise SystemExit(1 if counts["INVALID"] else 0)


if __name__ == "__main__":
    main()
