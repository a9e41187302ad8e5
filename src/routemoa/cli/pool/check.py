"""`routemoa pool check`: ask every model of a pool for one token."""

from __future__ import annotations

import asyncio
import json
import sys

import click

from routemoa.cli.options import json_option, load_pool, pool_option
from routemoa.cli.terminal.lines import print_line

__all__ = ["check"]


@click.command(short_help="Ask every model of a pool for one token.")
@pool_option
@click.option("--write", is_flag=True, help="Write what was learned of the endpoints into the pool file.")
@json_option
def check(pool_file: str | None, write: bool, as_json: bool) -> None:
    """Ask every model of a pool for one token, all at once, and show how long each takes.

    The exit code is 1 where a model does not answer; a line for each such model says what to change and where. Where an
    endpoint refuses a field of the request, such as max_tokens, the call is repeated without it or with its other name,
    and a line says so. A server learns the same by itself; --write keeps it as `omit` and `rename` in the pool file,
    with your comments left as they are.

    \b
    Examples:
      routemoa pool check --pool pool.toml
      routemoa pool check --pool pool.toml --write
    """
    from routemoa.cli.pool.dialects import describe_learned, write_dialects
    from routemoa.cli.pool.probe import probe_models
    from routemoa.cli.terminal.table import print_table
    from routemoa.cli.terminal.warn import print_warnings
    from routemoa.core.printable import printable
    from routemoa.mixture.pool_warnings import list_pool_warnings, warn_of_absent_models

    pool = load_pool(pool_file, needs_keys=False)
    warnings = [w for w in list_pool_warnings(pool) if w not in warn_of_absent_models(pool)]  # a failure says it
    probes = asyncio.run(probe_models(pool))
    learned = {p.name: p.learned for p in probes if p.learned}
    if write:
        write_dialects(pool, learned)
    if as_json:
        plain = {"source": pool.source, "models": [p.to_plain() for p in probes], "warnings": warnings}
        click.echo(json.dumps(plain, indent=2))
    else:
        rows = [
            [p.name, "ok" if p.ok else "failed", _format_seconds(p.latency), _format_seconds(p.loading)] for p in probes
        ]
        print_table(["name", "", "one token", "loading"], rows, title=pool.source)
        for line in describe_learned(pool, learned, written=write):
            print_line(line)
        for probe in probes:
            if probe.problem:
                later = (
                    "" if probe.cool_down is None else f" (a server skips it for {probe.cool_down:.0f} s after this)"
                )
                print_line(printable(probe.problem + later), err=True)
    print_warnings(warnings)
    if not all(p.ok for p in probes):
        sys.exit(1)


def _format_seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"
