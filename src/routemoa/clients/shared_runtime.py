"""A runtime that several clients use, one after the other: the last one to close it ends its models."""

from __future__ import annotations

from routemoa.core.protocols import Runtime
from routemoa.core.types import Address, ModelSpec

__all__ = ["SharedRuntime"]


class SharedRuntime:
    """A `Runtime` with a number of users, one at first."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._users = 1

    def share(self) -> SharedRuntime:
        """Return it for one more user, who closes it as well."""
        self._users += 1
        return self

    async def address(self, model: ModelSpec) -> Address:
        """Load the model if need be and return where it listens. Raises ModelError."""
        return await self._runtime.address(model)

    async def close(self) -> None:
        """End every process once the last user has closed it."""
        self._users -= 1
        if not self._users:
            await self._runtime.close()
