"""Anthropic's Messages API in the words of chat completions, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routemoa.gateway.api import ApiRequest, Earlier, TranslatedRequest
from routemoa.gateway.chat_api.translation import parse_translation
from routemoa.gateway.errors import ErrorResponse
from routemoa.gateway.http_exchange.error_shapes import shape_error
from routemoa.gateway.members.member_routes import MemberRoute
from routemoa.gateway.messages_api.request import check_max_tokens, translate_request
from routemoa.gateway.messages_api.response import MessageTranslator
from routemoa.gateway.messages_api.token_count import count_tokens

__all__ = ["MessagesApi"]


class MessagesApi:
    """POST /v1/messages."""

    route: MemberRoute | None = None

    def read(self, body: Mapping[str, Any], *, pass_unknown: bool = False, earlier: Earlier = ()) -> ApiRequest:
        """Read a request for a method. Raises QueryError."""
        check_max_tokens(body)
        translation = translate_request(body)
        chat = parse_translation(translation, pass_unknown=pass_unknown)
        estimate = count_tokens(translation.body)
        return TranslatedRequest(chat, lambda head: MessageTranslator(head, estimate))

    def shape_error(self, response: ErrorResponse) -> dict[str, Any]:
        """Return the body of an error."""
        return shape_error(response)
