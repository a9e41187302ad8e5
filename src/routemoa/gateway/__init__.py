"""The server: methods, and each model of the pool, behind an OpenAI-compatible API."""

from routemoa.gateway.app import create_app

__all__ = ["create_app"]
