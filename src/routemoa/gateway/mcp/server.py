"""The tools `ask`, `compare` and `explain`, served with the protocol's own SDK. Imported where the extra is there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from routemoa import __version__
from routemoa.clients.http import HttpClient
from routemoa.core.errors import RouteMoAError
from routemoa.core.pool_file.pool import Pool
from routemoa.gateway.failures import error_response
from routemoa.gateway.mcp.tools import Tools

__all__ = ["create_mcp_server"]

MaxCost = Annotated[float | None, Field(description="Dollars that it may cost at most.")]

INSTRUCTIONS = """\
A mixture of language models. `ask` answers a question with as few models as it takes and says what it cost; `compare` \
shows what each of several models answers, and which agree; `explain` shows how an earlier answer came about."""


def create_mcp_server(pool: Pool, client: HttpClient) -> MCPServer:
    """Return the server; it closes the client at its end."""
    tools = Tools(pool, client)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await client.close()

    server = MCPServer("routemoa", instructions=INSTRUCTIONS, version=__version__, lifespan=lifespan)

    @server.tool(title="Ask the mixture", structured_output=True)
    async def ask(
        question: Annotated[str, Field(description="What to answer, in full: no earlier turn is known.")],
        system: Annotated[str | None, Field(description="A system text that goes before it.")] = None,
        max_cost: MaxCost = None,
        max_seconds: Annotated[float | None, Field(description="Seconds that it may take at most.")] = None,
    ) -> dict[str, Any]:
        """Answer a question with a mixture of models: as few of them as it takes to be sure.

        Returns the answer, the models that were asked, why it stopped, calls, dollars and seconds, and a trace_id for
        `explain`.
        """
        try:
            return await tools.ask(question, system, max_cost=max_cost, max_seconds=max_seconds)
        except RouteMoAError as e:
            raise _refuse(e) from None

    @server.tool(title="Compare the models", structured_output=True)
    async def compare(
        question: Annotated[str, Field(description="What each model is to answer.")],
        models: Annotated[list[str] | None, Field(description="Which models; by default the five best.")] = None,
        max_cost: MaxCost = None,
    ) -> dict[str, Any]:
        """Show what each of several models answers to the same question, and which of them agree."""
        try:
            return await tools.compare(question, models, max_cost=max_cost)
        except RouteMoAError as e:
            raise _refuse(e) from None

    @server.tool(title="Explain an answer", structured_output=True)
    async def explain(
        trace_id: Annotated[str, Field(description="As `ask` or `compare` returned it.")],
        depth: Annotated[
            Literal["summary", "full"], Field(description="Without or with the text of each answer.")
        ] = "summary",
    ) -> dict[str, Any]:
        """Show how an earlier answer came about: priors, layers, agreement, posterior, why it stopped, what it took."""
        try:
            return tools.explain(trace_id, with_texts=depth == "full")
        except RouteMoAError as e:
            raise _refuse(e) from None

    return server


def _refuse(error: RouteMoAError) -> ToolError:
    """Return an error as a caller may read it: without addresses and keys."""
    return ToolError(str(error_response(error).body["error"]["message"]))
