"""The pool: which models there are, where they live, what they cost, and how they are mixed. One TOML file."""

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
"""What a whole pool answers as (routemoa.mixture.methods builds them); no member may be called so."""
Fusion = Literal["adaptive", "published-small", "published-large"]


class Preference(msgspec.Struct, frozen=True):
    """What a person wants, in numbers.

    `worth`: the share of the remaining risk (that the answer is wrong) that one more call must be expected to remove.
    `target`: the probability that at least one model of the first panel is right at which the panel is large enough.
    `tie`: probabilities closer than this count as equal, and the cheaper, then the faster model goes first (the faster,
    then the cheaper where `fast`).
    """

    min_risk_reduction: float
    target: float
    tie: float
    latency_first: bool = False


PREFERENCES = {
    "quality": Preference(0.04, 0.97, 0.0),
    "balanced": Preference(0.08, 0.9, 0.02),
    "cheap": Preference(0.2, 0.8, 0.1),
    "fast": Preference(0.2, 0.8, 0.1, True),
}


class Mixture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the models are mixed: the `[mixture]` table.

    Defaults follow from the fusion: "adaptive" grows a panel while that is worth it; the published ones are the
    constants of arXiv 2601.18130, small and large pool (3 layers, 3 models, margin 0.2 and stop at 0.805; large: no
    margin and 0.76). `prefer`, `target` and the rates belong to "adaptive". A rate is the dollars or seconds that one
    point (0.01) of the probability of a right answer is worth.
    """

    layers: int | None = None
    top_k: int | None = None
    margin: float | None = None
    tie: float | None = None
    stop_confidence: float | None = None
    self_assessment: Literal["spoken", "logprob"] = "spoken"
    aggregator: str = "best"
    fusion: Fusion = "adaptive"
    judge: str | None = None  # a file that `routemoa judge fit` wrote
    prefer: Literal["quality", "balanced", "cheap", "fast"] = "balanced"
    dollars_per_point: float | None = None
    seconds_per_point: float | None = None
    target: float | None = None
    max_models: int = 9
    later_layers: Literal["auto", "fresh", "refine"] = "auto"
    references: Literal["best", "all"] = "best"
    reference_tokens: int = 3000
    hedge: bool = True  # ask the next model as well where a remote one's first token is later than 95 % of its own

    @property
    def published(self) -> bool:
        """Whether the loop is one of the published ones."""
        return self.fusion != "adaptive"

    @property
    def max_layers(self) -> int:
        """Layers at most."""
        return self.layers or (3 if self.published else 9)

    @property
    def max_layer_models(self) -> int:
        """Models called in a layer at most."""
        return self.top_k or (3 if self.published else 2)

    @property
    def dense_layers(self) -> int:
        """Layers of the rival mixtures, MoA and SMoA: three, as MoA's authors ran it (arXiv 2406.04692, section 3)."""
        return self.layers or 3

    @property
    def dense_panel(self) -> int:
        """Models of a rival's panel, answers that it keeps or samples that it draws: three (arXiv 2601.18130)."""
        return self.top_k or 3

    @property
    def selection_margin(self) -> float:
        """How far behind the best a model may be and still be called, in [0, 1]."""
        if self.margin is not None:
            return self.margin
        return 0.2 if self.fusion == "published-small" else 1.0

    @property
    def confidence_threshold(self) -> float:
        """The posterior above which no further layer runs."""
        if self.stop_confidence is not None:
            return self.stop_confidence
        return {"published-small": 0.805, "published-large": 0.76, "adaptive": 0.99}[self.fusion]

    @property
    def preference(self) -> Preference:
        """`prefer` in numbers, with `target` and `tie` laid over it; published fusions know no tie of their own."""
        base = PREFERENCES[self.prefer]
        tie = (0.0 if self.published else base.tie) if self.tie is None else self.tie
        target = base.target if self.target is None else self.target
        return msgspec.structs.replace(base, tie=tie, target=target)


class ScorerTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[scorer]` table."""

    path: str


@dataclass(frozen=True)
class Pool:
    """The models in the file's order, and how they are mixed. Iterating gives the models."""

    models: tuple[ModelSpec, ...]
    mixture: Mixture = field(default_factory=Mixture)
    source: str = "pool"  # the file it came from, for error messages
    directory: Path = field(default_factory=Path.cwd)  # relative paths in the file start here
    scorer: Path | None = None  # the folder of a trained scorer
    judge: Path | None = None  # the file of a fitted judge
    limits: Limits = field(default_factory=Limits)  # what a request may take that says nothing itself
    tenants: Tenants = field(default_factory=Tenants)  # who may call the server, and what each and all may spend

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
        """The pool that needs no key and no server: three small models in the embedded runtime."""
        folder = Path(str(resources.files("routemoa.core")))
        return parse_pool((folder / "embedded.toml").read_text("utf-8"), "the embedded pool", folder, {})

    @classmethod
    def default(cls, path: str | None = None, env: Mapping[str, str] = os.environ) -> Pool:
        """`path`, else the file that ROUTEMOA_POOL names, else the embedded pool."""
        chosen = path or env.get("ROUTEMOA_POOL")
        return cls.from_toml(chosen, env) if chosen else cls.embedded()


def parse_pool(text: str, source: str, directory: Path, env: Mapping[str, str]) -> Pool:
    """A pool from the text of its file. Raises ConfigError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{source}: not valid TOML: {e}; correct that line") from e
    if unknown := [k for k in table if k not in TABLES]:
        raise ConfigError(f"{source}: unknown key '{unknown[0]}'; {suggest_name(unknown[0], TABLES)}")
    entries = table.get("model")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f'{source}: no model; add one with [[model]], name = "...", endpoint = "..."')
    models: list[ModelSpec] = []
    for number, entry in enumerate(entries, 1):
        spec = _model(entry, f"{source}: [[model]] {number}", env)
        if any(m.name == spec.name for m in models):
            raise ConfigError(f"{source}: [[model]] {number}: name '{spec.name}' is taken already; names are unique")
        models.append(spec)
    mixture = _mixture(table.get("mixture", {}), models, f"{source}: [mixture]")
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
    """The `[mixture]` table of a policy or pool file, or a file that holds its keys alone. Raises ConfigError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{source}: not valid TOML: {e}; correct that line") from e
    return _mixture(table.get("mixture", table), [], f"{source}: [mixture]")


def _mixture(table: Any, models: list[ModelSpec], where: str) -> Mixture:
    if isinstance(table, dict) and table.get("fusion") == "learned":
        raise ConfigError(f"{where}: fusion: 'learned' is called 'adaptive' now")
    mixture = parse_table(table, Mixture, where)
    _check_mixture(mixture, models, where)
    return mixture


def _model(entry: Any, where: str, env: Mapping[str, str]) -> ModelSpec:
    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
        where = f"{where} '{entry['name']}'"
    spec = parse_table(entry, ModelSpec, where)
    if not spec.name.strip():
        raise ConfigError(f"{where}: name is empty; give the model a name")
    if spec.name in METHODS:
        raise ConfigError(f"{where}: name '{spec.name}' is a method's own; choose another")
    if not spec.local and not (urlsplit(spec.endpoint).scheme in ("http", "https") and urlsplit(spec.endpoint).netloc):
        raise ConfigError(
            f'{where}: endpoint \'{spec.endpoint}\' is neither "local" nor a URL; write e.g. "http://127.0.0.1:9001/v1"'
        )
    for key, low, high, unit in (
        ("input_price", 0, None, "dollars per million tokens"),
        ("output_price", 0, None, "dollars per million tokens"),
        ("cached_price", 0, None, "dollars per million tokens"),
        ("cache_write_price", 0, None, "dollars per million tokens"),
        ("request_price", 0, None, "dollars per request"),
        ("context", 1, None, "tokens"),
        ("latency", 0, None, "seconds"),
        ("prior", 0, 1, "a probability"),
    ):
        check_range(f"{where}: {key}", getattr(spec, key), low, high, unit)
    if spec.api_key_env is not None and not env.get(spec.api_key_env):
        raise ConfigError(
            f"{where}: api_key_env: environment variable {spec.api_key_env} is not set; export it, or remove the key"
        )
    for key in ("cached_price", "cache_write_price", "request_price"):
        if getattr(spec, key) is not None and None in (spec.input_price, spec.output_price):
            raise ConfigError(f"{where}: {key} is part of a price; give input_price and output_price, too")
    return msgspec.structs.replace(spec, model=spec.model or spec.name)


def _check_mixture(m: Mixture, models: list[ModelSpec], where: str) -> None:
    check_range(f"{where}: layers", m.layers, 1, None, "a number of layers")
    check_range(f"{where}: top_k", m.top_k, 1, None, "a number of models")
    check_range(f"{where}: margin", m.margin, 0, 1, "a difference of probabilities")
    check_range(f"{where}: tie", m.tie, 0, 1, "a difference of probabilities")
    check_range(f"{where}: stop_confidence", m.stop_confidence, 0, 1, "a probability")
    check_range(f"{where}: target", m.target, 0, 1, "a probability")
    check_range(f"{where}: max_models", m.max_models, 1, None, "a number of models")
    check_range(f"{where}: reference_tokens", m.reference_tokens, 1, None, "a number of tokens")
    for key in ("dollars_per_point", "seconds_per_point"):
        if (rate := getattr(m, key)) is not None and not 0 < rate < float("inf"):
            raise ConfigError(f"{where}: {key} = {rate} is out of range; it is more than 0, or left out")
    names = ["best", *(s.name for s in models)] if models else [m.aggregator]
    if m.aggregator not in names:
        raise ConfigError(f"{where}: aggregator '{m.aggregator}' is no model here; {suggest_name(m.aggregator, names)}")
