"""What providers list, for the page Pool: as `routemoa init` chooses from it, and as tables of the pool file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from routemoa.core.catalog.providers import load_providers
from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import load_toml, suggest_name

if TYPE_CHECKING:
    from routemoa.cli.init.presets import Candidate, Source

__all__ = ["ProviderModels"]

KEPT_SECONDS = 600.0
"""For which a list that was fetched is used again."""
MAX_LISTED = 1_000
MAX_ADDED = 20


class ProviderModels:
    """Fetches the lists of the providers in the table; a request can name no other address."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Source]] = {}

    def list_providers(self) -> list[dict[str, Any]]:
        """Return the providers: names of variables, and whether one is set. Raises ConfigError."""
        return [
            {
                "name": name,
                "title": p.title,
                "url": p.url,
                "local": p.local,
                "variables": list(p.keys),
                "variable": p.find_key_variable(os.environ),
                "key_page": p.key_page,
            }
            for name, p in load_providers().items()
        ]

    def list_models(self, provider: str) -> dict[str, Any]:
        """Return a provider's chat models, and which presets take each. Raises ConfigError."""
        from routemoa.cli.init.presets import PRESETS, choose_models, make_candidates

        source = self._fetch(provider)
        candidates, left_out = make_candidates(source)
        chosen = {preset: {c.listed.id for c in choose_models(candidates, preset)} for preset in PRESETS}
        shown = [_describe(c, [p for p in PRESETS if c.listed.id in chosen[p]]) for c in candidates[:MAX_LISTED]]
        return {"provider": provider, "title": source.provider.title, "models": shown, "left_out": dict(left_out)}

    def add_models(self, path: Path, text: str, provider: str, ids: Sequence[str]) -> str:
        """Return a text with a table for each model behind its last one. Raises ConfigError."""
        from routemoa.cli.init.names import find_score, parse_name
        from routemoa.cli.init.pool_text import build_models, name_models, without_repetition, write_model_table
        from routemoa.cli.init.presets import Candidate
        from routemoa.cli.pool.pool_file import add_table

        if not 0 < len(ids) <= MAX_ADDED:
            raise ConfigError(f"choose 1 to {MAX_ADDED} models")
        source = self._fetch(provider)
        listed = {m.id: m for m in source.models}
        if missing := [i for i in ids if i not in listed]:
            raise ConfigError(f"{source.provider.title} lists no model {missing[0]!r}")
        chosen = [Candidate(source, listed[i], name := parse_name(i), find_score(name)) for i in ids]
        entries = load_toml(text, path.name).get("model")
        taken = [str(e.get("name")) for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
        said: set[str] = set()
        without_repetition(text.splitlines(), said)
        for model in build_models(path, chosen, name_models(chosen, taken)):
            text = add_table(text, without_repetition(write_model_table(model, guess=False), said))
        return text

    def _fetch(self, provider: str) -> Source:
        """Return a provider with its live list, or the one fetched a while ago. Raises ConfigError."""
        from routemoa.cli.init.discovery import describe_problem, list_models, list_places, with_library_prices
        from routemoa.cli.init.presets import Source
        from routemoa.clients.model_lists.fetch import ListFailed

        if (kept := self._kept.get(provider)) is not None and monotonic() - kept[0] < KEPT_SECONDS:
            return kept[1]
        providers = load_providers()
        if (named := providers.get(provider)) is None:
            raise ConfigError(f"there is no provider {provider!r}; {suggest_name(provider, providers)}")
        place = next((p for p in list_places({provider: named}, os.environ)), None)
        if place is None:
            page = f" ({named.key_page})" if named.key_page else ""
            raise ConfigError(
                f"{named.title} needs a key in the server's environment: export {' or '.join(named.keys)}=...{page}, "
                "then restart the server"
            )
        today = datetime.now(UTC).date()
        try:
            found = asyncio.run(list_models(place, os.environ, today))
        except ListFailed as e:
            raise ConfigError(describe_problem(place, e.problem, e.reason)) from e
        endpoint = place.url if place.moved else provider
        origin = f"{named.title}'s list of {today}"
        source = Source(named, endpoint, found.models, origin, place.key_variable, found.no_balance)
        source = source if named.local or place.moved else with_library_prices(source)
        self._kept[provider] = (monotonic(), source)
        return source


def _describe(candidate: Candidate, presets: list[str]) -> dict[str, Any]:
    listed = candidate.listed
    return {
        "id": listed.id,
        "input_price": 0.0 if candidate.source.local else listed.input_price,
        "output_price": 0.0 if candidate.source.local else listed.output_price,
        "context": listed.context,
        "family": candidate.name.family,
        "score": None if candidate.score is None else round(candidate.score.score / 100, 3),
        "score_of": None if candidate.score is None else candidate.score.table,
        "presets": presets,
    }
