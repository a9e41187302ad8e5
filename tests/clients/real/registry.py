"""The clients: what each is called, the package that brings it, and the environment that it runs in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct

__all__ = ["CASES", "CLIENTS", "TARGETS", "Client", "setup_file"]

HERE = Path(__file__).parent
CASES = ("plain", "streamed", "tools", "schema", "image", "error", "timeout", "cancel")
TARGETS = ("upstream", "member", "mixture")


class Client(Struct, frozen=True):
    """One client."""

    name: str
    title: str
    package: str
    environment: Literal["python", "aider", "node"] = "python"


CLIENTS = (
    Client("openai_python", "OpenAI SDK, Python", "openai"),
    Client("openai_node", "OpenAI SDK, Node", "openai", "node"),
    Client("openai_responses", "OpenAI SDK, Responses", "openai"),
    Client("anthropic", "Anthropic SDK", "anthropic"),
    Client("langchain", "LangChain", "langchain-openai"),
    Client("pydantic_ai", "Pydantic AI", "pydantic-ai-slim"),
    Client("openai_agents", "OpenAI Agents SDK", "openai-agents"),
    Client("llama_index", "LlamaIndex", "llama-index-llms-openai-like"),
    Client("smolagents", "smolagents", "smolagents"),
    Client("instructor", "Instructor", "instructor"),
    Client("dspy", "DSPy", "dspy"),
    Client("litellm", "LiteLLM", "litellm"),
    Client("ai_sdk", "Vercel AI SDK", "ai", "node"),
    Client("ai_sdk_openai", "Vercel AI SDK, OpenAI provider", "@ai-sdk/openai", "node"),
    Client("llm", "llm", "llm"),
    Client("aider", "aider", "aider-chat", "aider"),
)


def setup_file(client: Client) -> Path:
    """Return the file with the lines that set a client up."""
    (file,) = (HERE / "setup").glob(f"{client.name}.*")
    return file
