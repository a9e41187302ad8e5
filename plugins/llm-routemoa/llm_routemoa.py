"""The models of a running RouteMoA server, as models of llm: `routemoa` is the mixture."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llm
from llm.default_plugins.openai_models import AsyncChat, Chat

ADDRESS = "http://127.0.0.1:8080/v1"
KEY_NAME, KEY_VARIABLE = "routemoa", "ROUTEMOA_API_KEY"
MIXTURE = "routemoa"
LIST_SECONDS = 1.0
ANSWER_SECONDS = 600.0
ABLE = {"vision": True, "audio": True, "supports_schema": True, "supports_tools": True}


def base_url() -> str:
    """Return the server's base URL."""
    return os.environ.get("ROUTEMOA_BASE_URL", ADDRESS).rstrip("/")


def find_key(explicit: str | None = None) -> str:
    """Return the key to send; a server without tenants takes any."""
    return llm.get_key(explicit, KEY_NAME, KEY_VARIABLE) or "unused"


class _Served:
    """What both kinds of models share: the server's key and patience."""

    needs_key = KEY_NAME
    key_env_var = KEY_VARIABLE

    def get_key(self, explicit_key: str | None = None) -> str:
        """Return the key to send."""
        return find_key(explicit_key)

    def get_client(self, key: str | None, *, async_: bool = False) -> Any:
        """Return OpenAI's client: one try, as the server asks other models itself where one fails."""
        seconds = float(os.environ.get("ROUTEMOA_TIMEOUT", ANSWER_SECONDS))
        client = super().get_client(key, async_=async_)  # type: ignore[misc]
        return client.with_options(timeout=seconds, max_retries=0)

    def __str__(self) -> str:
        return f"RouteMoA: {self.model_id}"  # type: ignore[attr-defined]


class ServedChat(_Served, Chat):
    """A model of the server."""


class AsyncServedChat(_Served, AsyncChat):
    """A model of the server, for asynchronous code."""


def list_models(url: str, remembered: Path) -> list[str]:
    """Return the names of the server's models; of the last time where it does not answer."""
    request = urllib.request.Request(f"{url}/models", headers={"Authorization": f"Bearer {find_key()}"})
    try:
        with urllib.request.urlopen(request, timeout=LIST_SECONDS) as response:
            names = [str(model["id"]) for model in json.load(response)["data"]]
    except (OSError, ValueError, KeyError, TypeError):
        return _recall(url, remembered)
    remembered.write_text(json.dumps({"url": url, "models": names}))
    return names


def _recall(url: str, remembered: Path) -> list[str]:
    try:
        known = json.loads(remembered.read_text())
        return [str(name) for name in known["models"]] if known["url"] == url else [MIXTURE]
    except (OSError, ValueError, KeyError, TypeError):
        return [MIXTURE]


@llm.hookimpl
def register_models(register: Callable[..., None]) -> None:
    """Register each model of the server as routemoa/NAME, and the mixture as routemoa."""
    url = base_url()
    for name in list_models(url, llm.user_dir() / "routemoa-models.json"):
        shown = MIXTURE if name == MIXTURE else f"{MIXTURE}/{name}"
        made = [kind(shown, model_name=name, api_base=url, **ABLE) for kind in (ServedChat, AsyncServedChat)]
        register(*made)
