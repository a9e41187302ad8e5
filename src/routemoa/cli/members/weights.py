"""Fetch the weights of embedded models, with a progress bar, and warn where they are missing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from routemoa.cli.terminal.lines import print_line

if TYPE_CHECKING:
    from routemoa.clients.weights import Weight
    from routemoa.clients.weights.download import FetchResult, SourceName
    from routemoa.core.pool_file.pool import Pool

__all__ = ["download_weights", "fetch_missing", "fetch_weights", "list_weights", "warn_of_missing_weights"]


def fetch_missing(pool: Pool) -> None:
    """Download the weights that `pool` lacks, with a progress bar; go on where some cannot be had.

    Raises:
        FetchError: then none of the pool's models could answer.
        MissingExtra: the embedded runtime is not installed; nothing was downloaded.
        ConfigError: it cannot be loaded on this machine; nothing was downloaded.
    """
    from routemoa.clients.local.runtime_check import check_runtime
    from routemoa.clients.weights import FetchError

    missing = [w for w in list_weights(pool) if not w.is_fetched]
    if not missing:
        return
    check_runtime()
    result = download_weights(missing, "auto")
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
    result = download_weights([w for w in weights if not w.is_fetched], "auto")
    if result.missing:
        raise FetchError("; ".join(result.missing.values()))
    return [w.path for w in weights]


def list_weights(pool: Pool) -> list[Weight]:
    """Return the weights that the pool's models name; a GGUF file of the user's own is not downloaded."""
    from routemoa.clients.weights import find_weights, load_manifest

    return find_weights(m.model for m in pool if m.local and m.model in load_manifest())


def download_weights(weights: Sequence[Weight], source: SourceName) -> FetchResult:
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
