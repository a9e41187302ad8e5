"""Labels of pairs of answers, which people give: JSON lines, one a pair.

{"id": "alpaca-17", "policy": "synthesize", "query": "...", "first": "...", "second": "...", "winner": "second"}

`winner` is "first", "second" or "tie", and null where the pair is not labelled yet. A line may leave out the texts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from routemoa.datasets.jsonl import BadLine, ErrorCollector, explain_json_error, read_lines

__all__ = ["PairLabel", "encode_labels", "read_labels"]

Winner = Literal["first", "second", "tie"]


class PairLabel(Struct, frozen=True):
    """A pair of answers, and which one is better."""

    id: str
    """Of the question."""
    winner: Winner | None = None
    """None is not labelled yet."""
    policy: str | None = None
    """What gave one of the answers; which of the two is not told."""
    task: str | None = None
    query: str | None = None
    first: str | None = None
    second: str | None = None


def read_labels(path: str | os.PathLike[str]) -> list[PairLabel]:
    """Read a file of labels. Raises RecordsError, which lists the lines that cannot be used."""
    errors = ErrorCollector()
    labels: list[PairLabel] = []
    for number, line in read_lines(path, errors):
        try:
            label = msgspec.json.decode(line, type=PairLabel)
        except msgspec.ValidationError as e:
            errors(BadLine(os.fspath(path), number, f'{e}; a label is {{"id", "winner": "first", "second" or "tie"}}'))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            errors(BadLine(os.fspath(path), number, explain_json_error(line, e)))
        else:
            labels.append(label)
    errors.raise_if_any()
    return labels


def encode_labels(labels: Iterable[PairLabel]) -> bytes:
    """Return labels as the text of their file."""
    return b"".join(msgspec.json.encode(label) + b"\n" for label in labels)
