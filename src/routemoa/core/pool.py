"""The pool file: the models, their endpoints and prices, how they are mixed, default limits and tenants."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from routemoa.core.errors import ConfigError
from routemoa.core.price_list import with_list_prices
from routemoa.core.tenants import Tenants, parse_tenants
from routemoa.core.toml import check_range, parse_table, suggest_name
from routemoa.core.types import Limits, ModelSpec

__all__ = ["METHODS", "PREFERENCES", "Mixture", "Pool", "Preference", "parse_limits", "parse_mixture"]

TABLES = ("model", "mixture", "limits", "scorer", "tenant", "totals")
METHODS = ("routemoa", "moa", "smoa", "self-moa", "best-single", "random", "cascade")
"""The methods that use the whole pool (routemoa.mixture.methods builds them); no model may have such a name."""

Fusion = Literal["adaptive", "published-small", "published-large"]


class Preference(msgspec.Struct, frozen=True):
    """The user's trade-off of quality, cost and time, in numbers."""

    min_risk_reduction: float
    """The share of the remaining risk of a wrong answer that one more call must be expected to remove."""
    target: float
    """The first panel is large enough where one of its models is right with at least this probability."""
    tie: float
    """Probabilities closer than this count as equal; then the cheaper model ranks first, then the faster one."""
    latency_first: bool = False
    """In a tie the faster model ranks first, then the cheaper one."""


PREFERENCES = {
    "quality": Preference(0.04, 0.97, 0.0),
    "balanced": Preference(0.08, 0.9, 0.02),
    "cheap": Preference(0.2, 0.8, 0.1),
    "fast": Preference(0.2, 0.8, 0.1, True),
}


class Mixture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the models are mixed: the `[mixture]` table (docs: configuration).

    Where a key is None, the fusion gives its value. "adaptive" grows a panel as long as that is worth its price. The
    published fusions take the constants of arXiv 2601.18130 for a small and for a large pool.
    """

    layers: int | None = None
    top_k: int | None = None
    """Models of a layer."""
    margin: float | None = None
    tie: float | None = None
    stop_confidence: float | None = None
    self_assessment: Literal["spoken", "logprob"] = "spoken"
    aggregator: str = "best"
    fusion: Fusion = "adaptive"
    judge: str | None = None
    """A file that `routemoa judge fit` wrote."""
    prefer: Literal["quality", "balanced", "cheap", "fast"] = "balanced"
    """This key and the next three belong to "adaptive"."""
    dollars_per_point: float | None = None
    """Dollars that one point (0.01) of the probability of a right answer is worth."""
    seconds_per_point: float | None = None
    """Seconds that one point of that probability is worth."""
    target: float | None = None
    max_models: int = 9
    later_layers: Literal["auto", "fresh", "refine"] = "auto"
    references: Literal["best", "all"] = "best"
    """Later layers are shown the best answer of each group of equal ones, or all answers."""
    reference_tokens: int = 3000
    """Tokens of all quoted answers together."""
    hedge: bool = True
    """Also call the next model where a remote one's first token comes later than 95 % of its earlier ones."""

    @property
    def published(self) -> bool:
        """Whether the loop is one of the published ones."""
        return self.fusion != "adaptive"

    @property
    def max_layers(self) -> int:
        """The most layers of a query."""
        return self.layers or (3 if self.published else 9)

    @property
    def max_layer_models(self) -> int:
        """The most models that a layer calls at once."""
        return self.top_k or (3 if self.published else 2)

    @property
    def dense_layers(self) -> int:
        """Layers of the baselines MoA and SMoA: three, as in arXiv 2406.04692, section 3."""
        return self.layers or 3

    @property
    def dense_panel(self) -> int:
        """Size of a baseline's panel, or number of answers it keeps or samples: three, as in arXiv 2601.18130."""
        return self.top_k or 3

    @property
    def selection_margin(self) -> float:
        """How far a model's score may be behind the best and the model still be called, in [0, 1]."""
        if self.margin is not None:
            return self.margin
        return 0.2 if self.fusion == "published-small" else 1.0

    @property
    def confidence_threshold(self) -> float:
        """The posterior above which no further layer runs, in [0, 1]."""
        if self.stop_confidence is not None:
            return self.stop_confidence
        return {"published-small": 0.805, "published-large": 0.76, "adaptive": 0.99}[self.fusion]

    @property
    def preference(self) -> Preference:
        """The numbers of `prefer`; `target` and `tie` override theirs, and published fusions have no tie by default."""
        base = PREFERENCES[self.prefer]
        tie = (0.0 if self.published else base.tie) if self.tie is None else self.tie
        target = base.target if self.target is None else self.target
        return msgspec.structs.replace(base, tie=tie, target=target)


class ScorerTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[scorer]` table."""

    path: str


@dataclass(frozen=True)
class Pool:
    """What a pool file says. Iterating gives the models in the file's order."""

    models: tuple[ModelSpec, ...]
    mixture: Mixture = field(default_factory=Mixture)
    source: str = "pool"
    """The file's name, for error messages."""
    directory: Path = field(default_factory=Path.cwd)
    """Where relative paths of the file start."""
    scorer: Path | None = None
    """The folder of a trained scorer."""
    judge: Path | None = None
    """The file of a fitted judge model."""
    limits: Limits = field(default_factory=Limits)
    """Of a request that sets none itself."""
    tenants: Tenants = field(default_factory=Tenants)
    """The callers of the server, with their budgets."""

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    def __contains__(self, name: object) -> bool:
        return any(m.name == name for m in self.models)

    def __getitem__(self, name: str) -> ModelSpec:
        for m in self.models:
            if m.name == name:
                return m
        raise KeyError(name)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], env: Mapping[str, str] = os.environ) -> Pool:
        """Read and check a pool file; the keys it names must be set in `env`.

        Raises:
            ConfigError: one line naming file, key and fix.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            why = e.strerror if isinstance(e, OSError) else "it is not UTF-8 text"
            raise ConfigError(f"{path}: cannot be read: {why}; name a pool file with --pool or ROUTEMOA_POOL") from e
        return parse_pool(text, str(path), Path(path).absolute().parent, env)

    @classmethod
    def embedded(cls) -> Pool:
        """Return the pool that needs no key and no server: three small models in the embedded runtime."""
        folder = Path(str(resources.files("routemoa.core")))
        return parse_pool((folder / "embedded.toml").read_text("utf-8"), "the embedded pool", folder, {})

    @classmethod
    def default(cls, path: str | None = None, env: Mapping[str, str] = os.environ) -> Pool:
        """Return the pool of `path`, else of the file that ROUTEMOA_POOL names, else the embedded pool."""
        chosen = path or env.get("ROUTEMOA_POOL")
        return cls.from_toml(chosen, env) if chosen else cls.embedded()


MODEL_RANGES = (
    ("input_price", 0, None, "dollars per million tokens"),
    ("output_price", 0, None, "dollars per million tokens"),
    ("cached_price", 0, None, "dollars per million tokens"),
    ("cache_write_price", 0, None, "dollars per million tokens"),
    ("request_price", 0, None, "dollars per request"),
    ("context", 1, None, "tokens"),
    ("latency", 0, None, "seconds"),
    ("prior", 0, 1, "a probability"),
)
"""Key of `[[model]]`, its lowest and highest value, and its unit."""

MIXTURE_RANGES = (
    ("layers", 1, None, "a number of layers"),
    ("top_k", 1, None, "a number of models"),
    ("margin", 0, 1, "a difference of probabilities"),
    ("tie", 0, 1, "a difference of probabilities"),
    ("stop_confidence", 0, 1, "a probability"),
    ("target", 0, 1, "a probability"),
    ("max_models", 1, None, "a number of models"),
    ("reference_tokens", 1, None, "a number of tokens"),
)
"""Key of `[mixture]`, its lowest and highest value, and its unit."""


def parse_pool(text: str, source: str, directory: Path, env: Mapping[str, str]) -> Pool:
    """Read the text of a pool file; its relative paths start in `directory`, its keys are in `env`.

    Raises:
        ConfigError: one line with the place, the fault and the fix.
    """
    table = _load_toml(text, source)
    if unknown := [k for k in table if k not in TABLES]:
        raise ConfigError(f"{source}: unknown key '{unknown[0]}'; {suggest_name(unknown[0], TABLES)}")
    models = _parse_models(table.get("model"), source, env)
    mixture = _parse_mixture_table(table.get("mixture", {}), models, f"{source}: [mixture]")
    limits = parse_limits(table.get("limits", {}), f"{source}: [limits]")
    judge = directory / Path(mixture.judge).expanduser() if mixture.judge else None
    scorer = parse_table(table["scorer"], ScorerTable, f"{source}: [scorer]") if "scorer" in table else None
    folder = Path(os.path.normpath(directory / Path(scorer.path).expanduser())) if scorer else None
    if folder and not (folder / "manifest.json").is_file():
        raise ConfigError(f"{source}: [scorer]: path: {folder} holds no scorer; make one with  routemoa scorer train")
    tenants = parse_tenants(table, source, env)
    return Pool(with_list_prices(models), mixture, source, directory, folder, judge, limits, tenants)


def parse_limits(table: Any, where: str) -> Limits:
    """Read a `[limits]` table, or the limits of one request. Raises ConfigError."""
    limits = parse_table(table, Limits, where)
    check_range(f"{where}: max_cost", limits.max_cost, 0, None, "dollars")
    check_range(f"{where}: max_calls", limits.max_calls, 1, None, "a number of calls")
    check_range(f"{where}: max_output_tokens", limits.max_output_tokens, 1, None, "a number of tokens")
    if limits.max_seconds is not None and not 0 < limits.max_seconds < float("inf"):
        raise ConfigError(f"{where}: max_seconds = {limits.max_seconds} is out of range; it is more than 0")
    return limits


def parse_mixture(text: str, source: str) -> Mixture:
    """Read the `[mixture]` table of a policy or pool file, or a file of its keys alone. Raises ConfigError."""
    table = _load_toml(text, source)
    return _parse_mixture_table(table.get("mixture", table), [], f"{source}: [mixture]")


def _load_toml(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{source}: not valid TOML: {e}; correct that line") from e


def _parse_models(entries: Any, source: str, env: Mapping[str, str]) -> list[ModelSpec]:
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f'{source}: no model; add one with [[model]], name = "...", endpoint = "..."')
    models: list[ModelSpec] = []
    for number, entry in enumerate(entries, 1):
        spec = _parse_model(entry, f"{source}: [[model]] {number}", env)
        if any(m.name == spec.name for m in models):
            raise ConfigError(f"{source}: [[model]] {number}: name '{spec.name}' is taken already; names are unique")
        models.append(spec)
    return models


def _parse_model(entry: Any, where: str, env: Mapping[str, str]) -> ModelSpec:
    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
        where = f"{where} '{entry['name']}'"
    spec = parse_table(entry, ModelSpec, where)
    if not spec.name.strip():
        raise ConfigError(f"{where}: name is empty; give the model a name")
    if spec.name in METHODS:
        raise ConfigError(f"{where}: name '{spec.name}' is the name of a method; choose another")
    if not spec.local and not (urlsplit(spec.endpoint).scheme in ("http", "https") and urlsplit(spec.endpoint).netloc):
        raise ConfigError(
            f'{where}: endpoint \'{spec.endpoint}\' is neither "local" nor a URL; write e.g. "http://127.0.0.1:9001/v1"'
        )
    for key, low, high, unit in MODEL_RANGES:
        check_range(f"{where}: {key}", getattr(spec, key), low, high, unit)
    if spec.api_key_env is not None and not env.get(spec.api_key_env):
        raise ConfigError(
            f"{where}: api_key_env: environment variable {spec.api_key_env} is not set; export it, or remove the key"
        )
    for key in ("cached_price", "cache_write_price", "request_price"):
        if getattr(spec, key) is not None and None in (spec.input_price, spec.output_price):
            raise ConfigError(f"{where}: {key} is part of a price; give input_price and output_price, too")
    return msgspec.structs.replace(spec, model=spec.model or spec.name)


def _parse_mixture_table(table: Any, models: list[ModelSpec], where: str) -> Mixture:
    if isinstance(table, dict) and table.get("fusion") == "learned":
        raise ConfigError(f"{where}: fusion: 'learned' is called 'adaptive' now")
    mixture = parse_table(table, Mixture, where)
    _check_mixture(mixture, models, where)
    return mixture


def _check_mixture(m: Mixture, models: list[ModelSpec], where: str) -> None:
    """Check the values of a `[mixture]` table; without `models` any aggregator passes. Raises ConfigError."""
    for key, low, high, unit in MIXTURE_RANGES:
        check_range(f"{where}: {key}", getattr(m, key), low, high, unit)
    for key in ("dollars_per_point", "seconds_per_point"):
        if (rate := getattr(m, key)) is not None and not 0 < rate < float("inf"):
            raise ConfigError(f"{where}: {key} = {rate} is out of range; it is more than 0, or left out")
    names = ["best", *(s.name for s in models)] if models else [m.aggregator]
    if m.aggregator not in names:
        raise ConfigError(
            f"{where}: aggregator '{m.aggregator}' is not a model of this pool; {suggest_name(m.aggregator, names)}"
        )
