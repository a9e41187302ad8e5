"""`routemoa store`: check, upgrade and copy where calls, budgets, keys and traces are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from routemoa.cli.command_group import SuggestingGroup
from routemoa.cli.options import json_option, store_option
from routemoa.cli.terminal.lines import print_line
from routemoa.core.text.plural import counted

if TYPE_CHECKING:
    from routemoa.ledger.copies.copied_traces import CopiedTable

__all__ = ["store"]

SETTINGS = {"max_content_width": 100}


@click.group(cls=SuggestingGroup, context_settings=SETTINGS)
def store() -> None:
    """Check, upgrade and copy the store: calls, budgets, keys, traces and feedback.

    A store is a file of SQLite, or a PostgreSQL database that several machines share (extra postgres). ROUTEMOA_STORE
    or --store names it. The password of a database goes into ~/.pgpass or PGPASSWORD, or into the URL.

    \b
    Examples:
      routemoa store check
      routemoa store migrate --store postgresql://moa@db/moa
      routemoa store copy store.db postgresql://moa@db/moa
    """


@store.command(short_help="Say what the store holds, and whether it is of this version.", context_settings=SETTINGS)
@store_option
@json_option
def check(store_file: str | None, as_json: bool) -> None:
    """Say what the store holds, and whether its tables are of this version. Nothing is changed.

    Exits with 1 where there is no store, or one of another version.

    \b
    Examples:
      routemoa store check
      routemoa store check --store postgresql://moa@db/moa --json
    """
    from routemoa.ledger.location import find_store
    from routemoa.ledger.state import read_state

    state = read_state(find_store(store_file))
    if as_json:
        shown = {"store": state.store, "server": state.server, "schema": state.schema, "known": state.known}
        click.echo(json.dumps({**shown, "current": state.is_current, "rows": state.rows}, indent=1))
    else:
        print_line(f"{state.store}: {state.describe()}")
        if state.rows:
            print_line(
                "  " + ", ".join(counted(count, name.removesuffix("s"), name) for name, count in state.rows.items())
            )
    if not state.is_current:
        raise SystemExit(1)


@store.command(short_help="Bring the tables to this version.", context_settings=SETTINGS)
@store_option
@json_option
def migrate(store_file: str | None, as_json: bool) -> None:
    """Make the tables of a store, or bring them to this version, all in one transaction.

    Whatever opens a store does the same. Run it before an upgrade of many servers, or as a user who may make tables
    where the servers may not.

    \b
    Example:
      routemoa store migrate --store postgresql://owner@db/moa
    """
    from routemoa.ledger.location import find_store
    from routemoa.ledger.state import migrate_store

    before, after = migrate_store(find_store(store_file))
    if as_json:
        click.echo(json.dumps({"before": before, "after": after}))
    elif before == after:
        print_line(f"nothing to do: the store has schema {after}")
    else:
        print_line(f"schema {before} -> {after}" if before else f"made the tables, schema {after}")


@store.command(short_help="Copy a file into a PostgreSQL database.", context_settings=SETTINGS)
@click.argument("source", metavar="FILE")
@click.argument("target", metavar="URL")
@json_option
def copy(source: str, target: str, as_json: bool) -> None:
    """Copy calls, notes, budgets, keys, traces and feedback from the store FILE into the database URL.

    Stop what writes to FILE first. What URL holds already stays. An interrupted copy is continued by the same command;
    run twice, it adds what is new in FILE and nothing twice. Calls get new ids in their order. In the end the sums of
    both are compared.

    \b
    Examples:
      routemoa store copy ~/.local/share/routemoa/store.db postgresql://moa@db/moa
      routemoa store copy store.db "postgresql://moa@/moa?host=/run/postgresql"
    """
    from routemoa.ledger.copies.copying import copy_store
    from routemoa.ledger.location import StoreUrl, parse_location

    file, url = parse_location(source), parse_location(target)
    if not isinstance(file, Path) or not isinstance(url, StoreUrl):
        raise click.UsageError("copy takes a file, then a URL:  routemoa store copy store.db postgresql://USER@HOST/DB")
    tables = copy_store(file, url, lambda name: None if as_json else print_line(f"copying {name} ...", err=True))
    if as_json:
        shown = [{"table": t.table, "source": t.source, "copied": t.copied, "target": t.target} for t in tables]
        click.echo(json.dumps({"tables": shown, "whole": all(t.is_whole for t in tables)}, indent=1))
    else:
        _print_tables(tables, url)
    if not all(t.is_whole for t in tables):
        raise SystemExit(1)


def _print_tables(tables: list[CopiedTable], url: object) -> None:
    from routemoa.cli.terminal.table import print_table

    rows = [
        [
            t.table,
            f"{t.source:,}",
            f"{t.copied:,}",
            f"{t.target:,}",
            "-" if t.dollars is None else f"${t.dollars[0]:.6f}",
            "yes" if t.is_whole else "NO",
        ]
        for t in tables
    ]
    print_table(["table", "in the file", "copied now", "in the database", "sum", "same"], rows, left={"table"})
    for name in (name for t in tables for name in t.skipped):
        print_line(f"note: {name} is there already with another secret, and stays as it is", err=True)
    if all(t.is_whole for t in tables):
        print_line(f"all of it is in {url}; use it with  ROUTEMOA_STORE={url}", err=True)
