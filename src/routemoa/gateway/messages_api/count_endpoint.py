"""POST /v1/messages/count_tokens: an estimate of a prompt's tokens; no model is called."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from routemoa.core.system.large_work import LARGE_TREE, run_large
from routemoa.core.tables.server_table import ServerSettings
from routemoa.core.types import ModelSpec
from routemoa.gateway.access.caller import Caller
from routemoa.gateway.chat_api.translation import expect
from routemoa.gateway.errors import UnknownModel
from routemoa.gateway.failures import error_response
from routemoa.gateway.http_exchange.connection import ResponseWriter, read_sized_object
from routemoa.gateway.http_exchange.error_shapes import shape_error
from routemoa.gateway.messages_api.request import translate_request
from routemoa.gateway.messages_api.token_count import count_tokens

__all__ = ["CountEndpoint"]


class CountEndpoint:
    """The endpoint, as an ASGI application.

    Args:
        methods: the names of the methods that there are.
        models: of the pool.
        settings: the limit and the deadline of a body.
    """

    def __init__(self, methods: Collection[str], models: Sequence[ModelSpec], settings: ServerSettings) -> None:
        self._methods = methods
        self._models = models
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        writer = ResponseWriter(send)
        limits = self._settings
        try:
            body, size = await read_sized_object(scope, receive, limits.max_body_bytes, limits.body_seconds)
            names = Caller(scope).list_names(self._methods, self._models)
            if (name := expect("model", body.get("model"), str)) not in names:
                raise UnknownModel(name, names)
            count = await run_large(_count, body) if size > LARGE_TREE else _count(body)
            await writer.json(200, {"input_tokens": count})
        except ClientDisconnect:
            return
        except Exception as e:  # `error_response` maps each; it logs those that are not expected
            response = error_response(e)
            await writer.json(response.status, shape_error(response), response.headers)


def _count(body: Mapping[str, Any]) -> int:
    return count_tokens(translate_request(body).body)
