"""The embedded runtime: llama.cpp's server in a child process for each weight file, and the check that it loads."""

from routemoa.clients.local.runtime import LocalRuntime

__all__ = ["LocalRuntime"]
