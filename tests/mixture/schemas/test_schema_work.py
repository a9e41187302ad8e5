"""The work of checking a value is bounded before it is done."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest

from routemoa.core.errors import QueryError
from routemoa.mixture.schemas.schema_check import SchemaError, check_schema, check_value
from routemoa.mixture.schemas.schema_work import MAX_WORK, count_work, measure

LEAF = {"type": "string"}


def chain(keyword: str, length: int, prefix: str = "#/$defs/", **more: Any) -> dict[str, Any]:
    """A schema whose names each lead to the next one twice."""
    names = {f"d{i}": {keyword: [{"$ref": f"{prefix}d{i + 1}"}] * 2} for i in range(length)}
    return {"$defs": {**names, f"d{length}": LEAF}, "$ref": f"{prefix}d0", **more}


def nest(levels: int) -> Any:
    value: Any = {"y": 1}
    for _ in range(levels):
        value = {"x": value}
    return value


TWICE: dict[str, Any] = {"properties": {"x": {"$ref": "#"}}}
BACKTRACKS = {"type": "string", "pattern": "^(?=a)(a+)+$(?!b)"}
EXPENSIVE: dict[str, tuple[dict[str, Any], Any]] = {
    "anyOf": (chain("anyOf", 40), {}),
    "allOf": (chain("allOf", 40), {}),
    "oneOf": (chain("oneOf", 40), {}),
    "with an id": (chain("anyOf", 40, **{"$id": "https://example.com/a"}), {}),
    "in a resource": ({"$defs": {"r": chain("anyOf", 40, **{"$id": "urn:r"})}, "$ref": "urn:r"}, {}),
    "by absolute names": (chain("anyOf", 40, "https://example.com/a#/$defs/", **{"$id": "https://example.com/a"}), {}),
    "by patterns that backtrack": ({"items": BACKTRACKS}, ["a" * 50 + "!"] * 50_000),
    "by anchors": (
        {
            "$defs": {
                **{f"d{i}": {"$anchor": f"d{i}", "anyOf": [{"$ref": f"#d{i + 1}"}] * 2} for i in range(40)},
                "d40": {"$anchor": "d40", **LEAF},
            },
            "$ref": "#d0",
        },
        {},
    ),
    "with each level": ({"anyOf": [TWICE, {**TWICE, "minProperties": 1}]}, nest(60)),
    "of what is left over": (
        {"unevaluatedProperties": False, "allOf": [{"properties": {"x": {"$ref": "#"}}}]},
        nest(60),
    ),
    "among all": (
        {
            "$defs": {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{j}"} for j in range(9)]} for i in range(9)},
            "$ref": "#/$defs/d0",
        },
        {},
    ),
}


@pytest.mark.alone
@pytest.mark.parametrize("name", EXPENSIVE)
def test_expensive_schema_is_refused_at_once(name: str) -> None:
    schema, value = EXPENSIVE[name]
    started = perf_counter()
    with pytest.raises(SchemaError, match="takes too long"):
        check_value(schema, value)
    assert perf_counter() - started < 2.0


def test_request_with_such_a_schema_is_wrong() -> None:
    with pytest.raises(QueryError, match="'s' is no valid JSON Schema: a check by it takes too long"):
        check_schema(chain("anyOf", 40), "s")


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (
            {
                "$defs": {
                    "node": {
                        "type": "object",
                        "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
                        "additionalProperties": False,
                    }
                },
                "$ref": "#/$defs/node",
            },
            {"kids": [{"kids": [{"kids": []}] * 5}] * 50},
            {"kids": [{"kid": []}]},
        ),
        (
            {"$dynamicAnchor": "n", "properties": {"x": {"$dynamicRef": "#n"}, "y": {"type": "integer"}}},
            nest(50),
            {"x": {"y": "no"}},
        ),
        (
            {
                "anyOf": [
                    {"type": "object", "properties": {f"k{i}": {"anyOf": [LEAF, {"type": "null"}]}}} for i in range(60)
                ]
            },
            {"k1": "a"},
            3,
        ),
        ({"items": {"pattern": "^(?=.*[0-9])(?=.*[a-z]).{8,}$"}}, ["x" * 400 + "9"] * 500, ["short1"] * 500),
        ({"items": BACKTRACKS}, ["a"], ["a" * 50 + "!"]),
        ({"type": "array", "items": {"type": "integer"}}, list(range(100_000)), ["x"] * 100_000),
    ],
    ids=["tree", "dynamic", "variants", "look-ahead", "backtracking", "long"],
)
def test_usual_schemas_are_checked(schema: dict[str, Any], good: Any, bad: Any) -> None:
    assert check_value(schema, good) is None
    assert check_value(schema, bad) is not None


def test_counts() -> None:
    assert measure({"a": [1, {"b": 2}], "c": "d"}) == (6, 4)
    assert count_work(LEAF, 3) == 1
    assert count_work({"anyOf": [LEAF, LEAF], "properties": {"a": LEAF, "b": LEAF}}, 3) == 4
    assert count_work(chain("anyOf", 40), 1) == MAX_WORK + 1


def test_a_schema_of_too_many_bytes_is_refused() -> None:
    """Compiling it would take too long; a tool's arguments are not checked by it."""
    schema = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(12_000)}}
    with pytest.raises(QueryError, match="bytes, and may have 262144"):
        check_schema(schema, "s")
    with pytest.raises(SchemaError):
        check_value(schema, {})
