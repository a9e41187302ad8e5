"""The tenants of a running server: those of the pool file, and the keys of the store, read again when they change."""

from __future__ import annotations

import asyncio
import logging
import time

from routemoa.core.access.tenants import Tenant, Tenants
from routemoa.ledger import Store, StoreError
from routemoa.ledger.keys import KeyReader

__all__ = ["Keyring"]

logger = logging.getLogger("routemoa.gateway")

POLL_SECONDS = 0.5
"""Between two looks at the store, in a thread of their own."""


class Keyring:
    """Finds the tenant of a request. Making one reads the store, and blocks.

    Args:
        tenants: of the pool file.
        store: holds keys, and the budgets of all tenants; None has neither.
        requires_key: no request is let in without a key, even where there is none yet.

    Raises:
        StoreError: the store cannot be read.
    """

    def __init__(self, tenants: Tenants, store: Store | None, *, requires_key: bool = False) -> None:
        self.tenants = tenants
        """Of this moment."""
        self.requires_key = requires_key or bool(tenants.members)
        """Whether requests need a key. Once there was one they do, whatever becomes of it: a server does not open."""
        self._store = store
        self._reader = None if store is None else KeyReader(store.path)
        self._warned = ""
        if self._reader is not None:
            self._take(_read_tenants(self._reader, tenants))

    def find(self, secret: str) -> Tenant | None:
        """Return the tenant that has this secret now, or None."""
        return self.tenants.find(secret, time.time())

    def list_active(self) -> list[Tenant]:
        """Return the tenants of the file, and the keys that have neither expired nor been revoked."""
        now = time.time()
        stored = [key.tenant for key in self.tenants.keys if key.state(now) == "active"]
        return [*self.tenants.members, *stored]

    async def refresh(self) -> None:
        """Read the keys again where they have changed; where the store cannot be read, those of before stay."""
        if self._reader is None:
            return
        try:
            tenants = await asyncio.to_thread(_read_tenants, self._reader, self.tenants)
        except StoreError as e:
            if str(e) != self._warned:
                self._warned = str(e)
                logger.warning("keys stay as they were: %s", e)
            return
        self._take_and_say(tenants)

    async def replace_members(self, members: Tenants) -> None:
        """Take over the tenants of another reading of the pool file, beside the keys of the store."""
        keys = self.tenants.keys
        self._take_and_say(await asyncio.to_thread(lambda: members.with_keys(keys).prepare()))

    async def watch(self) -> None:
        """Look for changes, for ever."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.refresh()

    def close(self) -> None:
        """Close the store's file."""
        if self._reader is not None:
            self._reader.close()

    def _take(self, tenants: Tenants | None) -> None:
        """Take over the tenants; None are those of before. Never waits."""
        if tenants is None:
            return
        self.tenants = tenants
        self.requires_key = self.requires_key or bool(tenants.keys or tenants.members)
        if self._store is not None:
            self._store.use_tenants(tenants)

    def _take_and_say(self, tenants: Tenants | None) -> None:
        """Take over the tenants, and log where that closes the server to callers that it let in before."""
        was_open, had_active = not self.requires_key, bool(self.list_active())
        self._take(tenants)
        if was_open and self.requires_key:
            logger.warning("there are keys now: from here on no request is let in without one")
        elif had_active and not self.list_active():
            logger.warning("no key is valid any more, so no request is let in; make one: routemoa keys create NAME")


def _read_tenants(reader: KeyReader, tenants: Tenants) -> Tenants | None:
    """Return the tenants with the keys as they are now; None where these have not changed. Blocks. Raises StoreError.

    Many keys take a while to read and to sort, which is no work for the event loop.
    """
    keys = reader.read_changed()
    if keys is None:
        return None
    names = {tenant.name for tenant in tenants.members}
    for key in keys:
        if key.tenant.name in names:
            logger.warning("key '%s' of the store is not accepted: a [[tenant]] has its name", key.tenant.name)
    return tenants.with_keys(keys).prepare()
