"""Reads a row of a batch as the request that it is, by the code that reads requests of the server. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.errors import QueryError
from routemoa.core.text.json_bounds import TooManyValues, decode_bounded
from routemoa.core.types import Query
from routemoa.datasets.input_rows import InputRow
from routemoa.datasets.jsonl import explain_json_error
from routemoa.datasets.questions import name_task, parse_question
from routemoa.gateway.api import Api, ApiRequest, ChatApi
from routemoa.gateway.chat_api.bounds import check_bounded_fields, check_bounded_messages
from routemoa.gateway.chat_api.request_limits import LIMITS_FIELD, parse_request_limits
from routemoa.gateway.errors import ErrorResponse, UnknownModel
from routemoa.gateway.messages_api import MessagesApi
from routemoa.gateway.responses_api import ResponsesApi

__all__ = ["BATCH_APIS", "CHAT_PATH", "RowError", "RowHead", "RowRequest", "RowRules", "read_head", "read_request"]

CHAT_PATH = "/v1/chat/completions"
BATCH_APIS: Mapping[str, Api] = {
    CHAT_PATH: ChatApi(),
    "/v1/responses": ResponsesApi(),
    "/v1/messages": MessagesApi(),
}
"""The `url` of a row -> the API that reads its body."""
MAX_ID = 512
"""Characters of a `custom_id`."""
DEFAULT_MODEL = "routemoa"


class RowError(Exception):
    """A row that cannot be asked.

    Args:
        response: as the server would answer the request.
    """

    def __init__(self, response: ErrorResponse) -> None:
        super().__init__(response.message)
        self.response = response


class RowHead(Struct, frozen=True):
    """What a row says of itself."""

    id: str
    """Its `custom_id`, else the id of its question, else file and line."""
    task: str | None = None
    """Of a question or a record."""
    model: str = DEFAULT_MODEL
    """What it asks."""
    is_request: bool = False
    """Whether it is a row of an OpenAI batch file."""

    @property
    def key(self) -> str:
        """Return what no two rows may share."""
        return self.id if self.task is None else f"{self.task}\x00{self.id}"


class RowRules(Struct, frozen=True):
    """What a job lets its rows ask."""

    names: Collection[str]
    """Of methods and models that a row may name."""
    method: str | None = None
    """Answers every row, whatever it names."""
    pass_unknown: bool = False
    """Send the members fields that are not known."""
    has_budget: bool = False
    """No field may buy something without an upper bound."""
    path: str | None = None
    """The only `url` that rows may have; None is any of `BATCH_APIS`."""


class RowRequest(Struct, frozen=True):
    """A row that can be asked."""

    head: RowHead
    name: str
    """Of the method or the model that answers."""
    query: Query
    request: ApiRequest
    """Writes the response."""


_NULL = msgspec.Raw(b"null")


class _Model(Struct):
    model: msgspec.Raw = _NULL


class _Head(_Model):
    """Nothing of a row is decoded but the texts that are asked for: it may be large, and no request."""

    custom_id: msgspec.Raw = _NULL
    id: msgspec.Raw = _NULL
    task: msgspec.Raw = _NULL
    body: msgspec.Raw = _NULL
    messages: msgspec.Raw = _NULL


def read_head(row: InputRow) -> RowHead:
    """Return what a row says of itself, whether it can be asked or not."""
    head = _decode_head(row.data)
    if head is None:
        return RowHead(_name_place(row))
    ids = (_decode_plain(head.custom_id), _decode_plain(head.id))
    named = next((i for i in ids if isinstance(i, str | int) and not isinstance(i, bool)), None)
    id = _name_place(row) if named is None or not str(named).strip() else str(named)[:MAX_ID]
    has_body, is_request = head.body != _NULL, head.body != _NULL or head.custom_id != _NULL
    model = _decode_plain(_find_model(head.body) if has_body else head.model)
    model = model if isinstance(model, str) else DEFAULT_MODEL
    if is_request or head.messages != _NULL:
        return RowHead(id, None, model, is_request)
    task = _decode_plain(head.task)
    task = task if isinstance(task, str) else name_task(row.source)
    return RowHead(f"{task}-{row.line}" if named is None else id, task)


def _decode_head(data: bytes) -> _Head | None:
    """Return the fields of a row; None where it is no JSON object."""
    try:
        return msgspec.json.decode(data, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:  # a mark at its beginning, halves of characters
            return msgspec.json.decode(msgspec.json.encode(decode_bounded(data)), type=_Head)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
            return None


def _find_model(body: msgspec.Raw) -> msgspec.Raw:
    try:
        return msgspec.json.decode(body, type=_Model).model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NULL


def _decode_plain(raw: msgspec.Raw) -> Any:
    """Return a text or a number of a row; None for anything else, also for what cannot be decoded."""
    data = bytes(raw)
    if data[:1] in (b"{", b"["):
        return None
    try:
        return decode_bounded(data)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return None


def _name_place(row: InputRow) -> str:
    """Return file and line of a row without an id; folders say nothing to its sender."""
    return row.place.replace("\\", "/").rsplit("/", 1)[-1]


def read_request(row: InputRow, rules: RowRules) -> RowRequest:
    """Return the request of a row. Raises RowError."""
    head = read_head(row)
    try:
        plain = _decode(row)
        if rules.path is not None and not head.is_request:
            raise QueryError("no row of a batch file: it has no custom_id and body", "custom_id")
        if "body" in plain or "custom_id" in plain or "messages" in plain:
            path, body = _open_envelope(plain, rules)
            return _read_body(head, BATCH_APIS[path], body, rules)
        question, _ = parse_question(row.data, name_task(row.source), row.line)
        if isinstance(question, str):
            raise QueryError(question)
        body = {"model": DEFAULT_MODEL, "messages": [{"role": "user", "content": question.text}]}
        return _read_body(replace(head, id=question.id, task=question.task), BATCH_APIS[CHAT_PATH], body, rules)
    except QueryError as e:
        raise RowError(ErrorResponse(400, str(e), e.param, "invalid_request")) from e
    except UnknownModel as e:
        raise RowError(e.response) from e


def _decode(row: InputRow) -> dict[str, Any]:
    if row.fault is not None:
        raise QueryError(row.fault)
    try:
        plain = decode_bounded(row.data)
    except TooManyValues as e:
        raise QueryError(f"the row is too large: {e}") from e
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as e:
        raise QueryError(explain_json_error(row.data, e)) from e
    if not isinstance(plain, dict):
        raise QueryError("not a JSON object")
    return plain


def _open_envelope(plain: dict[str, Any], rules: RowRules) -> tuple[str, dict[str, Any]]:
    """Return path and body of a row of an OpenAI batch file, or of a body alone. Raises QueryError."""
    if "body" not in plain and "messages" in plain:
        return CHAT_PATH, {name: value for name, value in plain.items() if name not in ("custom_id", "id")}
    custom_id, body = plain.get("custom_id"), plain.get("body")
    if not isinstance(custom_id, str) or not custom_id.strip() or len(custom_id) > MAX_ID:
        raise QueryError(f"'custom_id' must be a text of 1 to {MAX_ID} characters", "custom_id")
    if plain.get("method", "POST") != "POST":
        raise QueryError("'method' must be POST", "method")
    path = plain.get("url", rules.path or CHAT_PATH)
    if not isinstance(path, str) or path not in BATCH_APIS or path != (rules.path or path):
        known = rules.path or ", ".join(BATCH_APIS)
        raise QueryError(f"'url' is {str(path)[:100]!r}; a batch takes {known}", "url")
    if not isinstance(body, dict):
        raise QueryError("'body' must be an object: the body of the request", "body")
    return path, body


def _read_body(head: RowHead, api: Api, body: dict[str, Any], rules: RowRules) -> RowRequest:
    """Read the body as the server does. Raises QueryError, UnknownModel."""
    name = rules.method or body.get("model")
    if name is None:
        name = DEFAULT_MODEL
    if not isinstance(name, str) or name not in rules.names:
        raise UnknownModel(str(name), rules.names)
    if body.get("stream"):
        raise QueryError("'stream': a batch has no streams; leave it out", "stream")
    limits = parse_request_limits(body.get(LIMITS_FIELD), ())
    body = {key: value for key, value in body.items() if key != LIMITS_FIELD} | {"model": name}
    request = api.read(body, pass_unknown=rules.pass_unknown)
    query = replace(request.chat.query, limits=replace(limits, stream_mode="events"))
    if rules.has_budget or limits.max_cost is not None or limits.max_output_tokens is not None:
        check_bounded_fields(query.parameters)
        check_bounded_messages([m.body for m in query.messages])
    return RowRequest(head, name, query, request)
