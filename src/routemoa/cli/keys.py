"""`routemoa keys`: make, list, revoke and rotate the keys of a server that are kept in the store."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from routemoa.cli.command_group import SuggestingGroup
from routemoa.cli.options import store_option
from routemoa.cli.terminal.lines import print_line

if TYPE_CHECKING:
    from routemoa.core.access.tenants import StoredKey
    from routemoa.ledger.keys import MadeKey
    from routemoa.ledger.location import StoreLocation

__all__ = ["keys"]

SETTINGS = {"max_content_width": 100}
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
expires_option = click.option(
    "--expires", metavar="WHEN", help="A time from now (12h, 30d, 8w) or a UTC day (2027-01-31).  [default: never]"
)


@click.group(cls=SuggestingGroup, context_settings=SETTINGS)
def keys() -> None:
    """Make and revoke the keys that callers of a server send.

    Keys are kept in the store beside the ledger, as digests: a key is shown once, when it is made. Each has a name, and
    if you want an expiry, models, a budget and rates of its own. A running server of the same store takes a change over
    within two seconds. From the first key on it lets no request in without one.

    \b
    Examples:
      routemoa keys create ci --expires 30d --max-cost-per-day 2
      routemoa keys list
      routemoa keys rotate ci --grace 1h
      routemoa keys revoke ci
      routemoa ledger --by key                what each key took
    """


def _split(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Return the names of a list such as a,b."""
    return None if value is None else tuple(dict.fromkeys(n for part in value.split(",") if (n := part.strip())))


@keys.command(short_help="Make a key and print it, once.", context_settings=SETTINGS)
@click.argument("name")
@expires_option
@click.option("--models", callback=_split, metavar="A,B", help="The models of the pool that it may name; no others.")
@click.option("--methods", callback=_split, metavar="A,B", help="The methods that it may name, such as routemoa.")
@click.option("--max-cost-per-day", type=float, metavar="DOLLARS", help="Its budget of a UTC day.")
@click.option("--max-cost-per-month", type=float, metavar="DOLLARS", help="Its budget of a UTC month.")
@click.option("--requests-per-minute", type=int, metavar="N", help="Requests that it may send in a minute.")
@click.option("--tokens-per-minute", type=int, metavar="N", help="Tokens of its prompts and answers in a minute.")
@click.option("--concurrent-streams", type=int, metavar="N", help="Answers that it may stream at the same time.")
@store_option
@json_option
def create(*, name: str, expires: str | None, store_file: str | None, as_json: bool, **terms: Any) -> None:
    """Make the key NAME and print it. It is not kept: store it where its caller finds it.

    Without --models and --methods it may name whatever the server has; with one of them, only what is listed. A method
    calls any model of the pool. Without a budget or a rate there is no limit beyond the pool file's [totals].

    \b
    Examples:
      routemoa keys create alice
      routemoa keys create ci --expires 30d --max-cost-per-day 2
      routemoa keys create bulk --models small --requests-per-minute 60
      KEY=$(routemoa keys create app)
    """
    from routemoa.core.pool_file.key_terms import make_tenant, parse_expiry
    from routemoa.ledger.keys import create_key, read_keys

    now = time.time()
    until = None if expires is None else parse_expiry(expires, now, "--expires")
    tenant = make_tenant(name, terms, "keys create")
    path = _find_store(store_file)
    is_first = not read_keys(path)
    _print_made(create_key(path, tenant, now, until), as_json=as_json)
    if is_first:
        print_line(
            f"it is the first key of {path}: from now on a server of this store, running ones included, lets no "
            "request in without a key",
            err=True,
        )


@keys.command("list", short_help="List the keys and what they may do.", context_settings=SETTINGS)
@store_option
@json_option
def list_keys(store_file: str | None, as_json: bool) -> None:
    """List the keys, oldest first, with what they may do. The keys themselves are not known, only how they begin.

    \b
    Example:
      routemoa keys list --json
    """
    from routemoa.core.pool_file.key_terms import describe_key
    from routemoa.ledger.keys import read_keys

    path, now = _find_store(store_file), time.time()
    found = read_keys(path)
    if as_json:
        click.echo(json.dumps({"keys": [describe_key(key, now) for key in found]}, indent=1, ensure_ascii=False))
    elif found:
        _print_table(found, now)
    else:
        print_line(f"there is no key in {path}; make one with  routemoa keys create NAME", err=True)


@keys.command(short_help="Revoke a key for ever.", context_settings=SETTINGS)
@click.argument("name")
@store_option
@json_option
def revoke(name: str, store_file: str | None, as_json: bool) -> None:
    """Revoke the key NAME for ever: a server refuses it within two seconds. Answers under way are completed.

    Its calls stay in the ledger, so that no other key can get its name.

    \b
    Example:
      routemoa keys revoke ci
    """
    from routemoa.core.pool_file.key_terms import describe_key
    from routemoa.ledger.keys import read_keys, revoke_key

    path, now = _find_store(store_file), time.time()
    key = revoke_key(path, name, now)
    if as_json:
        click.echo(json.dumps(describe_key(key, now), indent=1, ensure_ascii=False))
    else:
        print_line(f"key '{name}' is revoked")
    if all(other.state(now) != "active" for other in read_keys(path)):
        print_line(
            "no other key of this store is valid, and a server does not open again: unless its pool file has a "
            "[[tenant]], it refuses every request; make a key with  routemoa keys create NAME",
            err=True,
        )


@keys.command(short_help="Give a key a new secret.", context_settings=SETTINGS)
@click.argument("name")
@click.option("--grace", default="0s", metavar="TIME", help="Accept the old secret for so long, such as 1h.")
@click.option("--expires", metavar="WHEN", help="When the key expires from now on.  [default: as before]")
@store_option
@json_option
def rotate(name: str, grace: str, expires: str | None, store_file: str | None, as_json: bool) -> None:
    """Give the key NAME a new secret and print it, once. Its name, budget and rates stay.

    The old secret is refused at once, or after --grace.

    \b
    Examples:
      routemoa keys rotate ci --grace 1h
      routemoa keys rotate ci --expires 30d
    """
    from routemoa.core.pool_file.key_terms import parse_duration, parse_expiry
    from routemoa.ledger.keys import rotate_key

    now = time.time()
    seconds = parse_duration(grace, "--grace")
    until = None if expires is None else parse_expiry(expires, now, "--expires")
    made = rotate_key(_find_store(store_file), name, now, seconds, until)
    _print_made(made, as_json=as_json, note=f"the old secret is accepted for another {grace}" if seconds else "")


def _find_store(store_file: str | None) -> StoreLocation:
    from routemoa.ledger.location import find_store

    return find_store(store_file)


def _print_made(made: MadeKey, *, as_json: bool, note: str = "") -> None:
    """Print a new secret alone on standard output, and what to know about it beside."""
    from routemoa.core.access.tenants import format_time
    from routemoa.core.pool_file.key_terms import describe_key

    key = made.key
    if as_json:
        shown = {"key": made.secret, **describe_key(key, key.secrets[-1].created)}
        click.echo(json.dumps(shown, indent=1, ensure_ascii=False))
        return
    click.echo(made.secret)
    until = "never expires" if key.expires is None else f"expires at {format_time(key.expires)}"
    notes = [f"this is key '{key.tenant.name}', shown only now; it {until}", *([note] if note else [])]
    print_line("; ".join(notes), err=True)
    print_line("send it as  Authorization: Bearer KEY  (or x-api-key, or api-key)", err=True)


def _print_table(found: tuple[StoredKey, ...], now: float) -> None:
    from routemoa.cli.terminal.table import print_table

    rows = [_to_row(key, now) for key in found]
    heads = (
        "name",
        "key",
        "state",
        "expires (UTC)",
        "may name",
        "$ a day",
        "$ a month",
        "requests/min",
        "tokens/min",
        "streams",
    )
    used = [i for i in range(len(heads)) if i < 3 or any(row[i] != "-" for row in rows)]
    print_table(
        [heads[i] for i in used],
        [[row[i] for i in used] for row in rows],
        left={"name", "key", "state", "expires (UTC)", "may name"},
        optional=["streams", "tokens/min", "requests/min", "$ a month", "$ a day", "may name", "expires (UTC)"],
    )


def _to_row(key: StoredKey, now: float) -> list[str]:
    """Return the cells of a key; "-" is no limit."""
    from routemoa.core.access.tenants import format_time

    tenant = key.tenant
    names = [*(tenant.methods or ()), *(tenant.models or ())]
    figures = (
        *(tenant.max_cost_per_day, tenant.max_cost_per_month),
        *(tenant.requests_per_minute, tenant.tokens_per_minute, tenant.concurrent_streams),
    )
    return [
        tenant.name,
        f"{key.secrets[-1].prefix}..." if key.secrets else "-",
        key.state(now),
        "-" if key.expires is None else format_time(key.expires)[:16].replace("T", " "),
        ", ".join(names) or "-",
        *("-" if figure is None else f"{figure:,}" for figure in figures),
    ]
