"""Write the results of an OpenAI batch file as OpenAI does: output.jsonl and errors.jsonl."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from routemoa.datasets.jsonl import BadLine, RecordsError
from routemoa.gateway.batches.jobs.results import ResultStore

__all__ = ["ERRORS", "OUTPUT", "write_openai_files"]

OUTPUT = "output.jsonl"
ERRORS = "errors.jsonl"


def write_openai_files(results: ResultStore, folder: Path, job: str) -> tuple[int, int]:
    """Write both files in one step each, and return how many lines they have.

    Args:
        results: of the job.
        folder: for the files.
        job: its id, which those of the rows begin with.

    Raises:
        RecordsError: they cannot be written.
    """
    answered = _write(folder / OUTPUT, (_line(row, job, _answer(row)) for row in results.read() if row["response"]))
    failed = _write(folder / ERRORS, (_line(row, job, _failure(row)) for row in results.read_failed()))
    return answered, failed


def _line(row: Mapping[str, Any], job: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"batch_req_{job}_{row['row']}", "custom_id": row["id"], **content}


def _answer(row: Mapping[str, Any]) -> dict[str, Any]:
    body = row["response"]
    response = {"status_code": 200, "request_id": body.get("id"), "body": body}
    return {"response": response, "error": None}


def _failure(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the error, and the response of a row that was a request."""
    error = row["error"]
    response = None
    if row["status"]:
        response = {"status_code": row["status"], "request_id": None, "body": {"error": error}}
    return {"response": response, "error": {"code": error["code"] or error["type"], "message": error["message"]}}


def _write(path: Path, lines: Iterable[Mapping[str, Any]] | Iterator[Mapping[str, Any]]) -> int:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    count = 0
    try:
        with open(part, "wb") as file:
            for line in lines:
                file.write(msgspec.json.encode(line) + b"\n")
                count += 1
        part.replace(path)
    except OSError as e:
        raise RecordsError([BadLine(str(path), 0, f"cannot be written: {e.strerror or e}; make room for it")]) from e
    finally:
        part.unlink(missing_ok=True)
    return count
