"""`routemoa pool check`: ask every model of a pool for one token."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING

import click

from routemoa.cli.options import json_option, load_pool, pool_option
from routemoa.cli.terminal.lines import print_line
from routemoa.core.text.printable import printable

if TYPE_CHECKING:
    from routemoa.cli.members.probe import Probe
    from routemoa.core.pool_file.pool import Pool

__all__ = ["check"]


@click.command(short_help="Ask every model of a pool for one token.")
@pool_option
@click.option("--write", is_flag=True, help="Write what was learned of the endpoints into the pool file.")
@click.option("--watch", is_flag=True, help="Check again whenever the file changes, until Ctrl-C.")
@json_option
def check(pool_file: str | None, write: bool, watch: bool, as_json: bool) -> None:
    """Ask every model of a pool for one token, all at once, and show how long each takes, local models also to load.

    A model with several endpoints is asked at each. The exit code is 1 where one does not answer; a line for each such
    model says what to change and where. Where an endpoint refuses a field of the request, such as max_tokens, the call
    is repeated without it or with its other name, and a line says so. A server learns the same by itself; --write keeps
    it as `omit` and `rename` in the pool file, with your comments left as they are.

    \b
    Examples:
      routemoa pool check --pool pool.toml
      routemoa pool check --pool pool.toml --write
      routemoa pool check --pool pool.toml --watch
    """
    if watch:
        _check_on_changes(pool_file, write, as_json)
    elif not _check_pool(load_pool(pool_file, needs_keys=False), write, as_json):
        sys.exit(1)


def _check_on_changes(pool_file: str | None, write: bool, as_json: bool) -> None:
    """Check now and after each change, for ever; a file that is wrong is said, and waited for."""
    from routemoa.core.errors import RouteMoAError
    from routemoa.core.pool_file.pool_files import POLL_SECONDS, list_files, read_signature

    pool = load_pool(pool_file, needs_keys=False)
    while True:
        known = read_signature(list_files(pool))
        try:
            pool = load_pool(pool_file, needs_keys=False, quiet=True)
            _check_pool(pool, write, as_json)
            known = read_signature(list_files(pool)) if write else known  # we may have changed it ourselves
        except RouteMoAError as e:
            print_line(f"error: {printable(str(e))}", err=True)
        sys.stdout.flush()
        while read_signature(list_files(pool)) == known:
            time.sleep(POLL_SECONDS)


def _check_pool(pool: Pool, write: bool, as_json: bool) -> bool:
    """Check a pool, say what was found, and return whether every model answers."""
    from routemoa.cli.members.probe import probe_models
    from routemoa.cli.pool.dialects import describe_learned, write_dialects
    from routemoa.cli.terminal.table import print_table
    from routemoa.cli.terminal.warn import print_warnings
    from routemoa.clients.protocol.dialect import Dialect
    from routemoa.mixture.pool_warnings import list_pool_warnings, warn_of_absent_models

    warnings = [w for w in list_pool_warnings(pool) if w not in warn_of_absent_models(pool)]  # a failure says it
    probes = asyncio.run(probe_models(pool))
    learned: dict[str, Dialect] = {}
    for probe in probes:
        if probe.learned:
            learned[probe.name] = learned.get(probe.name, Dialect()) | probe.learned
    if write:
        write_dialects(pool, learned)
    if as_json:
        plain = {"source": pool.source, "models": [p.to_plain() for p in probes], "warnings": warnings}
        click.echo(json.dumps(plain, indent=2))
    else:
        heads, rows = ["name", "", "one token"], [_make_row(p) for p in probes]
        if any(p.loading is not None for p in probes):
            heads.append("loading")
            rows = [[*row, _format_seconds(p.loading)] for p, row in zip(probes, rows, strict=True)]
        if any(p.endpoint for p in probes):
            heads.insert(1, "endpoint")
            rows = [[p.name, p.endpoint or "-", *row[1:]] for p, row in zip(probes, rows, strict=True)]
        print_table(heads, rows, title=pool.source)
        for line in describe_learned(pool, learned, written=write):
            print_line(line)
        for probe in probes:
            if probe.problem:
                print_line(printable(probe.problem), err=True)
    print_warnings(warnings)
    return all(p.ok for p in probes)


def _make_row(probe: Probe) -> list[str]:
    return [probe.name, "ok" if probe.ok else "failed", _format_seconds(probe.latency)]


def _format_seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"
