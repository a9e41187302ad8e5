"""Bound the work of checking a value against a JSON Schema, before it is done. Pure.

    {"anyOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]}, and b the same of c, and c of d, ...

doubles the work with each name, and a schema that leads to itself twice doubles it with each level of the value. The
bound counts how often a schema is applied from the root of a value down to one of its leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

__all__ = ["MAX_WORK", "SchemaIndex", "count_work", "measure"]

MAX_WORK = 20_000_000
"""Applications of a schema to a part of a value, all together: about a second."""
MAX_STEPS = 100_000
"""Of the count itself."""

IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
IN_PLACE = ("not", "if", "then", "else")
IN_PLACE_MAPS = ("dependentSchemas", "dependencies")
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
CHILDREN = (
    *("additionalItems", "unevaluatedItems", "contains", "contentSchema"),
    *("additionalProperties", "unevaluatedProperties", "propertyNames"),
)
CHILD_MAPS = ("patternProperties",)
ALTERNATIVES = ("properties", "prefixItems", "items")
"""Of the schemas in one of these at most one applies to a part of a value."""
UNKNOWN_WORK = 50
"""What a reference counts that is not found here; the library refuses most of them."""


class _TooMuch(Exception):
    """The count is above what it may be."""


def measure(value: Any) -> tuple[int, int]:
    """Return how many parts a value has, itself included, and how many levels."""
    parts, levels, level = 0, 0, [value]
    while level:
        parts += len(level)
        levels += 1
        level = [item for v in level for item in (v.values() if isinstance(v, dict) else v if _is_list(v) else ())]
    return parts, levels


def count_work(schema: Mapping[str, Any] | SchemaIndex, levels: int, limit: int = MAX_WORK) -> int:
    """Return how often schemas are applied, at most, from the root of a value of so many levels to one of its leaves.

    A count above `limit` is returned as `limit` + 1; so is that of a schema that leads to itself without going down.
    """
    index = schema if isinstance(schema, SchemaIndex) else SchemaIndex(schema)
    try:
        return _Counter(index, limit).count(index.root, "", levels)
    except (_TooMuch, RecursionError):
        return limit + 1


class SchemaIndex:
    """A schema, and what references in it can name: resources and anchors.

    Args:
        root: the schema.
        has_references: some reference may be in it; without, there is nothing to find.
    """

    def __init__(self, root: Mapping[str, Any], *, has_references: bool = True) -> None:
        self.root = root
        self.resources: dict[str, Any] = {"": root}
        self.anchors: dict[str, list[tuple[Any, str]]] = {}
        if has_references:
            self._fill()

    def _fill(self) -> None:
        waiting: list[tuple[Any, str]] = [(self.root, "")]
        while waiting:
            node, base = waiting.pop()
            if isinstance(node, list):
                waiting += [(item, base) for item in node]
            if not isinstance(node, dict):
                continue
            base = _base_of(node, base)
            if base:
                self.resources.setdefault(base, node)
            for key in ("$anchor", "$dynamicAnchor"):
                if isinstance(name := node.get(key), str):
                    self.anchors.setdefault(name, []).append((node, base))
            for key in ("$id", "id"):
                if isinstance(name := node.get(key), str) and name.startswith("#"):
                    self.anchors.setdefault(name[1:], []).append((node, base))
            waiting += [(item, base) for item in node.values()]


class _Counter:
    """Counts the work of one schema."""

    def __init__(self, index: SchemaIndex, limit: int) -> None:
        self._index, self._limit, self._steps = index, limit, 0
        self._known: dict[tuple[int, str, int], int] = {}
        self._open: set[tuple[int, str, int]] = set()

    def count(self, schema: Any, base: str, levels: int) -> int:
        """Return the work of a schema at a part of a value with so many levels."""
        if not isinstance(schema, dict) or levels <= 0:
            return 1
        base = _base_of(schema, base)
        key = (id(schema), base, levels)
        if key in self._open:  # it leads to itself at the same part: no value can be checked so
            raise _TooMuch
        if key not in self._known:
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise _TooMuch
            self._open.add(key)
            self._known[key] = self._count(schema, base, levels)
            self._open.discard(key)
        return self._known[key]

    def _count(self, schema: Mapping[str, Any], base: str, levels: int) -> int:
        total = 1
        for part in _in_place(schema):
            total = self._add(total, self.count(part, base, levels))
        for key in REFERENCES:
            if isinstance(reference := schema.get(key), str):
                total = self._add(total, self._count_reference(reference, base, levels, dynamic=key != "$ref"))
        if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:
            total = self._add(total, total)  # what is beside them is applied once more
        for part in _children(schema):
            total = self._add(total, self.count(part, base, levels - 1))
        for key in ALTERNATIVES:
            parts = _alternatives(key, schema.get(key))
            total = self._add(total, max((self.count(part, base, levels - 1) for part in parts), default=0))
        return total

    def _count_reference(self, reference: str, base: str, levels: int, *, dynamic: bool) -> int:
        targets = list(self._targets(reference, base))
        if dynamic:
            targets += [(self._index.root, "")]
        if not targets:
            return UNKNOWN_WORK
        return max(self.count(target, at, levels) for target, at in targets)

    def _targets(self, reference: str, base: str) -> Iterator[tuple[Any, str]]:
        """Yield the schemas that a reference can mean."""
        place, fragment = urldefrag(urljoin(base, reference) if base else reference)
        if fragment and not fragment.startswith("/"):
            yield from self._index.anchors.get(fragment, ())
            return
        for start in dict.fromkeys((place, base, "")):  # dialects differ in what a reference is relative to
            node, at = self._index.resources.get(start), start
            for token in fragment.split("/")[1:]:
                node = _step(node, unquote(token).replace("~1", "/").replace("~0", "~"))
                at = _base_of(node, at)
            if node is not None:
                yield node, at

    def _add(self, a: int, b: int) -> int:
        if a + b > self._limit:
            raise _TooMuch
        return a + b


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _step(node: Any, token: str) -> Any:
    if isinstance(node, dict):
        return node.get(token)
    if isinstance(node, list) and token.isdecimal() and int(token) < len(node):
        return node[int(token)]
    return None


def _base_of(schema: Any, base: str) -> str:
    """Return the address that references in a schema are relative to."""
    name = schema.get("$id", schema.get("id")) if isinstance(schema, dict) else None
    return urldefrag(urljoin(base, name))[0] if isinstance(name, str) and not name.startswith("#") else base


def _in_place(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the schemas that apply to the same part of a value."""
    for key in IN_PLACE_LISTS:
        yield from schema[key] if isinstance(schema.get(key), list) else ()
    for key in IN_PLACE_MAPS:
        yield from schema[key].values() if isinstance(schema.get(key), dict) else ()
    yield from (schema[key] for key in IN_PLACE if key in schema)


def _children(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the schemas that may all apply to a part of the value below."""
    yield from (schema[key] for key in CHILDREN if key in schema)
    for key in CHILD_MAPS:
        yield from schema[key].values() if isinstance(schema.get(key), dict) else ()


def _alternatives(key: str, value: Any) -> list[Any]:
    """Return the schemas of a keyword of which at most one applies to a part of the value below."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return list(value.values()) if key == "properties" else [value]
    return []
