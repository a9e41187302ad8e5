"""What `routemoa serve` reads and says when it starts: its options, its keys, its log."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from routemoa.cli.options import load_pool
from routemoa.cli.pool.fetch import warn_of_missing_weights, without_missing_weights
from routemoa.cli.terminal.warn import print_warnings
from routemoa.core.plural import counted

if TYPE_CHECKING:
    from routemoa.core.pool import Pool
    from routemoa.ledger import StoreLocation

__all__ = [
    "OPEN_PAGE",
    "Access",
    "ServeOptions",
    "announce",
    "check_insecure",
    "find_access",
    "is_loopback",
    "set_up_log",
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
        return _with_options(without_missing_weights(load_pool(self.pool_file, quiet=quiet)), self.origins, self.hosts)


class Access(NamedTuple):
    """The keys that there are when a server starts."""

    admin_key: bytes | None
    """The digest of the key of the admin routes; None where there are none."""
    has_keys: bool
    """Whether there are tenants in the pool file, or keys in the store."""

    @property
    def needs_key(self) -> bool:
        """Return whether requests need a key from the start."""
        return self.has_keys or self.admin_key is not None


def find_access(pool: Pool, path: StoreLocation | None) -> Access:
    """Return the keys that there are now. Raises ConfigError, StoreError."""
    from routemoa.core.gateway_table import read_admin_key
    from routemoa.ledger.keys import read_keys

    return Access(
        read_admin_key(pool.gateway, pool.tenants, os.environ, pool.source),
        has_keys=len(pool.tenants) > 0 or (path is not None and len(read_keys(path)) > 0),
    )


def set_up_log(options: ServeOptions, *, redact: bool, worker: int | None = None) -> None:
    """Log warnings, and with `verbose` requests, in bounded lines and a bounded number of them.

    Args:
        options: of the command.
        redact: leave out what is not in words of ours.
        worker: its number, which each line names; None where there is one process.
    """
    from routemoa.gateway.guards.log_limits import LineFormatter, RedactFilter, RepeatFilter
    from routemoa.gateway.telemetry.request_log import REQUEST_LOGGER, JsonFormatter

    handler = logging.StreamHandler()
    named = "" if worker is None else f" worker {worker}"
    text = LineFormatter(f"%(asctime)s %(levelname)s{named} %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter(worker) if options.log_format == "json" else text)
    if redact:
        handler.addFilter(RedactFilter())
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger(REQUEST_LOGGER).setLevel(logging.INFO if options.verbose else logging.WARNING)


def _with_options(pool: Pool, origins: tuple[str, ...], hosts: tuple[str, ...]) -> Pool:
    """Return the pool with the origins and names of the command line beside those of its file."""
    from routemoa.core.server_table import check_origin_name

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


def is_loopback(host: str) -> bool:
    """Return whether an address is one of this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
