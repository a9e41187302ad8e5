"""Fetch the live list of a provider's models over HTTP, in bounded time and memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec import Struct

from routemoa.clients.connections.error_words import system_reason
from routemoa.clients.connections.pool import ConnectionPool, NotConnected
from routemoa.clients.connections.response import MalformedResponse
from routemoa.clients.model_lists.reply import ListedModel, find_field, parse_model_list
from routemoa.clients.protocol.wire import decode_json, error_text, one_line
from routemoa.clients.transport.incoming import PIECE_BYTES
from routemoa.core.catalog.providers import Provider
from routemoa.core.text.urls import hide_userinfo

__all__ = ["ListFailed", "ListProblem", "classify_refusal", "fetch_model_list"]

CONNECT_TIMEOUT = 5.0  # seconds
LOCAL_TIMEOUT = 2.0  # seconds for a whole reply from this machine
REMOTE_TIMEOUT = 20.0
MAX_BYTES = 32 * 2**20  # of one reply
MAX_ERROR_BYTES = 64 * 1024  # of what is read of an error
MAX_PAGES = 10
_BAD_KEY = re.compile(
    r"api[ _-]?key.{0,40}(not valid|invalid|incorrect|expired)|(invalid|incorrect) api", re.IGNORECASE
)
_NO_BALANCE = re.compile(
    r"(?i)insufficient[ _](quota|balance|credit|fund)|exceeded your current quota|credit balance is too low"
    r"|(no|run out of|out of|enough) credits?\b|payment required|billing_not_active"
)


class ListProblem(StrEnum):
    """Why a provider cannot be used, as far as it matters for what to do next."""

    KEY = "key"
    """The key is refused."""
    BALANCE = "balance"
    """The account has no credit."""
    UNREACHABLE = "unreachable"
    OTHER = "other"


class ListFailed(Exception):
    """A provider gave no list."""

    def __init__(self, problem: ListProblem, reason: str) -> None:
        super().__init__(reason)
        self.problem = problem
        self.reason = reason
        """On one line, without the key."""


class ModelList(Struct, frozen=True):
    """A provider's models, and what its key may still do."""

    models: tuple[ListedModel, ...]
    no_balance: bool = False


async def fetch_model_list(provider: Provider, url: str, key: str | None, today: date) -> ModelList:
    """Return the models that a provider lists under a base URL.

    Args:
        provider: how its list is read.
        url: its base URL, or that of another server that speaks the same.
        key: sent with the request; None for a server that needs none.
        today: the day of a deprecation before this is past.

    Raises:
        ListFailed: no list, with what to do about it.
    """
    connections = ConnectionPool()
    form = provider.list
    timeout = LOCAL_TIMEOUT if provider.local else REMOTE_TIMEOUT
    try:
        async with asyncio.timeout(timeout):
            no_balance = False
            if form.check and key:
                answer = await _get(connections, _join(url, form.check), {"Authorization": f"Bearer {key}"}, key)
                left = find_field(answer, form.remaining)
                no_balance = isinstance(left, int | float) and not isinstance(left, bool) and left <= 0
            models = await _fetch_pages(connections, provider, url, key, today)
            return ModelList(tuple(models), no_balance)
    except TimeoutError as e:
        reason = f"{_host(url)} did not answer within {timeout:g} s"
        raise ListFailed(ListProblem.UNREACHABLE, reason) from e
    finally:
        await connections.close()


def classify_refusal(status: int, reason: str) -> ListProblem:
    """Return what an HTTP error says about the key and the account, by its status and what the provider said."""
    if status == 402 or _NO_BALANCE.search(reason):
        return ListProblem.BALANCE
    if status in (401, 403) or (status == 400 and _BAD_KEY.search(reason)):
        return ListProblem.KEY
    return ListProblem.OTHER


async def _fetch_pages(
    connections: ConnectionPool, provider: Provider, url: str, key: str | None, today: date
) -> list[ListedModel]:
    """Return the models of all pages; a next page on another host is not followed, since it would get the key."""
    form = provider.list
    headers = dict(form.headers)
    if key:
        headers |= {form.key_header: key} if form.key_header else {"Authorization": f"Bearer {key}"}
    page: str | None = _join(url, form.path)
    found: dict[str, ListedModel] = {}
    for _ in range(MAX_PAGES):
        if page is None:
            break
        reply = await _get(connections, page, headers, key)
        models = parse_model_list(reply, form, today)
        if models is None:
            raise ListFailed(ListProblem.OTHER, f"{one_line(hide_userinfo(page))} gave no list of models")
        found |= {m.id: m for m in models}
        following = find_field(reply, form.next)
        following = urljoin(page, following) if isinstance(following, str) and following else None
        page = following if following and urlsplit(following)[:2] == urlsplit(page)[:2] else None
    return list(found.values())


def _join(url: str, path: str) -> str:
    """Return the URL of a path relative to a base URL; ".." leads out of it."""
    return urljoin(url.rstrip("/") + "/", path.lstrip("/"))


def _host(url: str) -> str:
    return urlsplit(hide_userinfo(url)).netloc


async def _get(connections: ConnectionPool, url: str, headers: Mapping[str, str], key: str | None) -> Any:
    """Return the decoded JSON at a URL. Raises ListFailed, never with the key in its text."""
    try:
        response = await connections.send("GET", url, headers, None, connect=CONNECT_TIMEOUT, wait=REMOTE_TIMEOUT)
        try:
            data, status = bytearray(), response.status
            while len(data) <= MAX_BYTES and (piece := await response.read(PIECE_BYTES)):
                data += piece
        finally:
            response.leave()
    except (NotConnected, MalformedResponse, OSError, ValueError) as e:
        why = e.why if isinstance(e, NotConnected) else e
        reason = one_line(f"{_host(url)} cannot be reached: {system_reason(why)}", key)
        failure = ListFailed(ListProblem.UNREACHABLE, reason)
    else:
        if len(data) > MAX_BYTES:
            raise ListFailed(ListProblem.OTHER, f"{_host(url)} sent more than {MAX_BYTES >> 20} MiB")
        if status == 200:
            return _decode(bytes(data), url)
        body = decode_json(bytes(data[:MAX_ERROR_BYTES]))
        said = error_text(body[0] if isinstance(body, list) and body else body, key)  # Google's errors are in a list
        failure = ListFailed(classify_refusal(status, said), f"HTTP {status}" + (f": {said}" if said else ""))
    raise failure  # outside of the handler: the library's own error would carry the headers, and with them the key


def _decode(data: bytes, url: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ListFailed(ListProblem.OTHER, f"{one_line(hide_userinfo(url))} did not answer in JSON") from None
