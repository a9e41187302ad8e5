"""`routemoa pool update`: take prices and announced ends from the providers' live lists into a pool file."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from routemoa.cli.options import edited_pool_option, json_option
from routemoa.cli.terminal.lines import print_line

if TYPE_CHECKING:
    from routemoa.cli.init.discovery import Place
    from routemoa.cli.init.presets import Source
    from routemoa.cli.pool.pool_file import Change
    from routemoa.clients.model_lists.reply import ListedModel

__all__ = ["plan_changes", "update"]

FIGURES = ("input_price", "output_price", "cached_price", "cache_write_price", "request_price", "context")
"""Keys whose values a list may give."""
OUR_NOTE = re.compile(r"^#\s*(deprecated|ends? |ended |not listed)")
"""Comments of earlier updates behind `model`."""
DATED = re.compile(r"(list of \d{4}-\d\d-\d\d|genai-prices [\d.]+, \d{4}-\d\d-\d\d)$")
"""The end of a comment that says where a price is from."""


@click.command(short_help="Take new prices and announced ends into a pool file.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@edited_pool_option
@click.option("--dry-run", is_flag=True, help="Show what would change; write nothing.")
@json_option
def update(*, names: tuple[str, ...], pool_file: str | None, dry_run: bool, as_json: bool) -> None:
    """Compare a pool file with its providers' live lists; take over new prices and contexts.

    Models that are deprecated or no longer listed are named, and a comment behind `model` says so. Only keys that the
    file has are changed, and prices added where it has none; comments and layout stay. Prices that you wrote yourself
    are replaced, too: look with --dry-run first. Without NAME all models are compared.

    \b
    Examples:
      routemoa pool update --dry-run
      routemoa pool update gpt-5.4-mini --pool pool.toml
    """
    from routemoa.cli.pool.pool_file import change_table, find_pool_file

    file = find_pool_file(pool_file)
    entries = [file.find(name) for name in names] or file.entries
    today = datetime.now(UTC).date()
    sources, problems = _fetch_sources(entries, today)
    text, after, shown = file.text, [dict(e) for e in file.entries], []
    notes: dict[str, str] = {}
    for entry in entries:
        name, source = str(entry["name"]), sources.get(str(entry.get("endpoint")))
        if source is None:
            continue
        changes, note = plan_changes(entry, source, today, _comments(text, name))
        if note:
            notes[name] = note
        values = {c.key: c.value for c in changes if c.value is not None}
        shown += [{"name": name, "key": k, "old": entry.get(k), "new": v} for k, v in values.items()]
        next(e for e in after if e["name"] == name).update(values)
        text = change_table(text, name, changes) if changes else text
    if text != file.text and not dry_run:
        file.save(text, after)
    for line in problems:
        print_line(line, err=True)
    if as_json:
        click.echo(
            json.dumps({"file": str(file.path), "changes": shown, "notes": notes, "problems": problems}, indent=2)
        )
    else:
        _show(str(file.path), shown, notes, dry_run=dry_run)
    if problems and not sources:
        sys.exit(1)


def plan_changes(
    entry: Mapping[str, Any], source: Source, today: date, comments: Mapping[str, str]
) -> tuple[list[Change], str | None]:
    """Return what to change in a `[[model]]` table after its provider's list, and what is to be said of the model.

    Args:
        entry: the table's values.
        source: the provider with its list.
        today: the day of the list.
        comments: key -> the comment behind its value.
    """
    from routemoa.cli.init.pool_text import find_tiered_price
    from routemoa.cli.pool.pool_file import Change

    model = entry.get("model", entry["name"])
    listed = next((m for m in source.models if m.id == model), None)
    note = _find_note(listed, source)
    changes = []
    if note:
        changes.append(Change("model" if "model" in entry else "name", comment=f"{note} (seen on {today})"))
    elif OUR_NOTE.match(comments.get("model", "")):
        changes.append(Change("model", comment=""))
    if listed is None:
        return changes, note
    unpriced = not {"input_price", "output_price"} & set(entry) and find_tiered_price(source, listed) is None
    priced = listed.input_price is not None and listed.output_price is not None
    for key in FIGURES:
        new = getattr(listed, key)
        is_new = unpriced and priced and key in ("input_price", "output_price")
        if new is None or (key not in entry and not is_new):
            continue
        comment = _new_comment(comments.get(key, ""), listed.price_source or source.price_source)
        if entry.get(key) != new or comment is not None:
            changes.append(Change(key, new if entry.get(key) != new else None, comment))
    return changes, note


def _find_note(listed: ListedModel | None, source: Source) -> str | None:
    if listed is None:
        return f"not listed by {source.provider.title}"
    return listed.deprecated


def _new_comment(comment: str, source: str) -> str | None:
    """Return a price's comment with its source and day now, where it names those of another day."""
    text = comment.removeprefix("#").strip()
    found = DATED.search(text)
    if found is None:
        return None
    head, _, _ = text.rpartition(": ")
    new = f"{head}: {source}" if head else source
    return None if new == text else new


def _comments(text: str, name: str) -> dict[str, str]:
    """Return key -> comment of a model's table."""
    from routemoa.cli.pool.pool_file import read_comments

    return read_comments(text, name)


def _fetch_sources(entries: Sequence[Mapping[str, Any]], today: date) -> tuple[dict[str, Source], list[str]]:
    """Return endpoint -> its provider with its list now, and a line for each that gave none; others are not asked."""
    from routemoa.cli.init.discovery import Place
    from routemoa.core.catalog.providers import load_providers

    providers = load_providers()
    by_url = {p.url: p for p in providers.values()}
    places: dict[str, Place] = {}
    problems = []
    for entry in entries:
        endpoint = str(entry.get("endpoint"))  # several endpoints have the price that the file gives them
        provider = providers.get(endpoint) or by_url.get(endpoint.rstrip("/"))
        if provider is None or provider.local or endpoint in places:
            continue
        variable = entry.get("api_key_env") or provider.find_key_variable(os.environ)
        if provider.keys and not os.environ.get(variable or "", "").strip():
            problems.append(f"{provider.title}: export {variable or provider.keys[0]}=... to compare its models")
            continue
        places[endpoint] = Place(provider, provider.url, variable)
    found = asyncio.run(_fetch_all(places, today))
    problems += [result for result in found.values() if isinstance(result, str)]
    return {e: result for e, result in found.items() if not isinstance(result, str)}, list(dict.fromkeys(problems))


async def _fetch_all(places: Mapping[str, Place], today: date) -> dict[str, Source | str]:
    from routemoa.cli.init.discovery import describe_problem, list_models, with_library_prices
    from routemoa.cli.init.presets import Source
    from routemoa.clients.model_lists.fetch import ListFailed

    async def fetch(endpoint: str, place: Place) -> Source | str:
        try:
            models = (await list_models(place, os.environ, today)).models
        except ListFailed as e:
            return describe_problem(place, e.problem, e.reason)
        source = Source(place.provider, endpoint, models, f"{place.provider.title}'s list of {today}")
        return with_library_prices(source)

    results = await asyncio.gather(*(fetch(endpoint, place) for endpoint, place in places.items()))
    return dict(zip(places, results, strict=True))


def _show(path: str, changes: Sequence[Mapping[str, Any]], notes: Mapping[str, str], *, dry_run: bool) -> None:
    for change in changes:
        old = "-" if change["old"] is None else f"{change['old']:g}"
        print_line(f"{change['name']}: {change['key']} {old} -> {change['new']:g}")
    for name, note in notes.items():
        print_line(f"{name}: {note};  routemoa pool remove {name} --pool {path}", err=True)
    if not changes:
        print_line(f"{path}: nothing to change")
    elif dry_run:
        print_line(f"{path}: not written (--dry-run)")
