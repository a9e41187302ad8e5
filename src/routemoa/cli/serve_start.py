"""What `routemoa serve` reads and says when it starts: its options, its log."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

import click
import msgspec

from routemoa.cli.members.weights import warn_of_missing_weights
from routemoa.cli.options import load_pool
from routemoa.cli.terminal.warn import print_warnings
from routemoa.core.text.plural import counted

if TYPE_CHECKING:
    from routemoa.core.pool_file.pool import Pool
    from routemoa.gateway.lifecycle.startup import Access
    from routemoa.ledger import StoreLocation

__all__ = [
    "OPEN_PAGE",
    "ServeOptions",
    "announce",
    "check_insecure",
]

OPEN_PAGE = "routemoa.open_page"
"""In click's `meta`: whether a browser is opened on the page once the server is ready."""


class ServeOptions(msgspec.Struct, frozen=True):
    """The options of the command that a worker needs as well."""

    pool_file: str | None
    host: str
    store_file: str | None = None
    no_store: bool = False
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    verbose: bool = False
    log_format: str = "text"
    otel: bool = False
    watch: bool = True

    @property
    def path(self) -> StoreLocation | None:
        """Return where the ledger is; None keeps none. Raises ConfigError."""
        from routemoa.ledger import find_store

        return None if self.no_store else find_store(self.store_file)

    def read_pool(self, *, quiet: bool = True) -> Pool:
        """Read the pool file, and add what the command line says. Raises ConfigError."""
        from routemoa.clients.weights.absent import without_missing_weights

        return _with_options(without_missing_weights(load_pool(self.pool_file, quiet=quiet)), self.origins, self.hosts)

    def set_up_log(self, pool: Pool, worker: int | None = None) -> None:
        """Log as the options and the pool say; `worker` is its number, where there are several processes."""
        from routemoa.gateway.lifecycle.startup import set_up_log

        as_json = self.log_format == "json"
        set_up_log(redact=pool.gateway.redact, as_json=as_json, verbose=self.verbose, worker=worker)


def _with_options(pool: Pool, origins: tuple[str, ...], hosts: tuple[str, ...]) -> Pool:
    """Return the pool with the origins and names of the command line beside those of its file."""
    from routemoa.core.tables.server_table import check_origin_name

    checked = tuple(check_origin_name(origin, "--allow-origin") for origin in origins)
    server = msgspec.structs.replace(
        pool.server,
        allow_origins=(*pool.server.allow_origins, *checked),
        allow_hosts=(*pool.server.allow_hosts, *hosts),
    )
    return dataclasses.replace(pool, server=server)


def check_insecure(host: str, insecure: bool) -> None:
    """Warn that other machines may reach a server without keys. Raises UsageError unless that is wanted."""
    what = "other machines may reach it, and there is no authentication without keys"
    if not insecure:
        fix = "make one with  routemoa keys create NAME,  or keep the address 127.0.0.1, or start it with --insecure "
        fix += "behind a proxy of your own"
        raise click.UsageError(f"--host {host}: {what}: {fix}.")
    click.echo(f"warning: listening on {host}: {what}", err=True)


def announce(url: str, pool: Pool, access: Access, workers: int = 1) -> None:
    """Say where the server is, how to ask it, and what may surprise."""
    from routemoa.mixture.pool_warnings import list_pool_warnings

    by = "" if workers == 1 else f" by {workers} workers"
    key, header = ("KEY", ' -H "Authorization: Bearer KEY"') if access.needs_key else ("unused", "")
    click.echo(
        f"serving {counted(len(pool), 'model')} as routemoa at {url}{by}\n"
        f'  OpenAI(base_url="{url}", api_key="{key}").chat.completions.create(model="routemoa", messages=[...])\n'
        f"  curl {url}/models{header}\n"
        f"  in a browser: {url.removesuffix('v1')}",
        err=True,
    )
    if click.get_current_context().meta.get(OPEN_PAGE):
        threading.Thread(target=click.launch, args=(url.removesuffix("v1"),), daemon=True).start()
    if access.admin_key is not None:
        click.echo(f"  admin routes, with the admin key: {url.removesuffix('/v1')}/admin/keys", err=True)
    if access.needs_key and not access.has_keys:
        click.echo(
            "note: there is no key yet, so no request is let in; make one with  routemoa keys create NAME", err=True
        )
    if workers > 1 and any(m.local for m in pool):
        click.echo(f"note: each of the {workers} workers loads the local models for itself", err=True)
    print_warnings([*warn_of_missing_weights(pool), *list_pool_warnings(pool)])
