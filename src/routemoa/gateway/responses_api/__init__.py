"""OpenAI's Responses API in the words of chat completions, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routemoa.gateway.api import ApiRequest, Earlier, TranslatedRequest
from routemoa.gateway.chat_api.translation import parse_translation
from routemoa.gateway.errors import ErrorResponse
from routemoa.gateway.members.member_routes import MemberRoute
from routemoa.gateway.responses_api.request import echo_request, translate_request
from routemoa.gateway.responses_api.response import ResponseTranslator
from routemoa.gateway.responses_api.tools import read_tools

__all__ = ["ResponsesApi"]


class ResponsesApi:
    """POST /v1/responses.

    Args:
        stores: whether responses are kept, so that a request can continue one.
    """

    route: MemberRoute | None = None

    def __init__(self, *, stores: bool = False) -> None:
        self._stores = stores

    def read(self, body: Mapping[str, Any], *, pass_unknown: bool = False, earlier: Earlier = ()) -> ApiRequest:
        """Read a request for a method. Raises QueryError."""
        translation = translate_request(body, earlier, stores=self._stores)
        chat = parse_translation(translation, pass_unknown=pass_unknown)
        is_stored = body.get("store") is not False
        echo = echo_request(body, is_stored=is_stored and self._stores)
        tools = read_tools(body.get("tools")) or {}
        kept: dict[str, Any] = {"is_stored": is_stored, "instructions": int(body.get("instructions") is not None)}
        return TranslatedRequest(chat, lambda head: ResponseTranslator(head, echo, tools), **kept)

    def shape_error(self, response: ErrorResponse) -> dict[str, Any]:
        """Return the body of an error, which is that of chat completions."""
        return response.body
