"""The pool file: the models, their endpoints and prices, how they are mixed, default limits and tenants."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from routemoa.core.batches_table import BatchSettings, parse_batches_table
from routemoa.core.candidates import expand_candidates, expand_models
from routemoa.core.caps_table import ReplyCaps, parse_caps_table
from routemoa.core.endpoint import Endpoint, mark_far
from routemoa.core.endpoints_table import REGION_VARIABLE, find_missing_keys, read_endpoints
from routemoa.core.errors import ConfigError
from routemoa.core.gateway_table import GatewaySettings, parse_gateway_table
from routemoa.core.learned_priors import LearnedPriors
from routemoa.core.learning_table import LearningSettings, parse_learning_table, read_learned_priors
from routemoa.core.mixture_table import Mixture, parse_mixture_table, read_tuned_policy
from routemoa.core.patience import Patience
from routemoa.core.price_list import with_list_prices
from routemoa.core.providers import describe_missing_key, expand_endpoint
from routemoa.core.server_table import ServerSettings, parse_server_table
from routemoa.core.tenant_table import check_tenant_names, parse_tenants
from routemoa.core.tenants import Tenants
from routemoa.core.toml import check_range, load_toml, parse_table, suggest_name
from routemoa.core.traces_table import TraceSettings, parse_traces_table
from routemoa.core.types import Limits, ModelSpec

__all__ = ["METHODS", "Absence", "Pool", "parse_limits", "parse_pool"]

TABLES = (
    *("model", "mixture", "limits", "patience", "caps", "server", "gateway", "traces", "scorer", "learning", "batches"),
    *("tenant", "totals"),
)
METHODS = ("routemoa", "moa", "smoa", "self-moa", "best-single", "random", "cascade")
"""The methods that use the whole pool (routemoa.mixture.method_registry builds them); no model may have such a name."""


class ScorerTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[scorer]` table."""

    path: str


class Absence(NamedTuple):
    """Why a member of the file cannot be asked."""

    kind: Literal["key", "weights"]
    why: str
    """One line: what is missing, and what to do."""


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
    patience: Patience = field(default_factory=Patience)
    """How long to wait for endpoints; that of a model goes before it."""
    caps: ReplyCaps = field(default_factory=ReplyCaps)
    """How much of a reply is read."""
    tenants: Tenants = field(default_factory=Tenants)
    """The callers of the server, with their budgets."""
    server: ServerSettings = field(default_factory=ServerSettings)
    """What the server lets in."""
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    """How the server reads requests."""
    traces: TraceSettings = field(default_factory=TraceSettings)
    """Which answers' traces the server keeps."""
    absent: Mapping[str, Absence] = field(default_factory=dict)
    """Members that cannot be asked. They are no part of `models`, unless the pool is only looked at."""
    learned: LearnedPriors | None = None
    """What `routemoa learn` learned from feedback."""
    learning: LearningSettings = field(default_factory=LearningSettings)
    """How the server goes on learning."""
    batches: BatchSettings = field(default_factory=BatchSettings)
    """Whether the server takes batches."""
    absent_endpoints: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Member -> endpoint of several whose key is not set -> what to do. The member is asked at its others."""

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

    @property
    def learned_judge(self) -> Path | None:
        """Return the file of the judge model that was learned; None where there is none."""
        if self.learned is None or self.learned.judge is None or self.learning.path is None:
            return None
        return (self.directory / Path(self.learning.path).expanduser()).with_name(self.learned.judge.file)

    @cached_property
    def fingerprint(self) -> str:
        """Return what stands for the members and their mixture in responses; it changes where these do."""
        members = [msgspec.structs.replace(m, list_price=None, endpoints=mark_far(m.endpoints, None)) for m in self]
        data = msgspec.json.encode([members, self.mixture], order="deterministic")
        return f"fp_{hashlib.sha256(data).hexdigest()[:12]}"

    def with_candidates(self, samples: int | None = None, efforts: Sequence[str] = ()) -> Pool:
        """Return the pool with each model as several candidates. Raises ConfigError where two have one name."""
        return replace(self, models=expand_models(self.models, samples, efforts))

    def require_keys(self) -> None:
        """Raise ConfigError where a member's key is not set: a run without it would measure another pool."""
        for absence in self.absent.values():
            raise ConfigError(absence.why)

    @classmethod
    def from_toml(
        cls, path: str | os.PathLike[str], env: Mapping[str, str] = os.environ, *, needs_keys: bool = True
    ) -> Pool:
        """Read and check a pool file. A member whose key is not set in `env` is left out, as long as one is left.

        Args:
            path: of the file.
            env: the environment with the keys.
            needs_keys: leave such members out; else they stay, for a look at the file.

        Raises:
            ConfigError: one line naming file, key and fix.
        """
        if not isinstance(path, str | os.PathLike):
            raise ConfigError(f"the path of the pool file is of type {type(path).__name__}; give a text or a Path")
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as e:
            why = e.strerror if isinstance(e, OSError) else "it is not UTF-8 text"
            raise ConfigError(f"{path}: cannot be read: {why}; name a pool file with --pool or ROUTEMOA_POOL") from e
        return parse_pool(text, str(path), Path(path).absolute().parent, env, needs_keys=needs_keys)

    @classmethod
    def load(cls, pool: Pool | str | os.PathLike[str]) -> Pool:
        """Return a pool as it is, or read the pool file at a path. Raises ConfigError."""
        if isinstance(pool, str | os.PathLike):
            return cls.from_toml(pool)
        if not isinstance(pool, Pool):
            raise ConfigError(f'the pool is of type {type(pool).__name__}; give a Pool or a path, such as "pool.toml"')
        if not pool.models or not all(isinstance(m, ModelSpec) for m in pool.models):
            raise ConfigError("the pool must have at least one model, each a ModelSpec")
        return pool

    @classmethod
    def embedded(cls) -> Pool:
        """Return the pool that needs no key and no server: three small models in the embedded runtime."""
        folder = Path(str(resources.files("routemoa.core")))
        return parse_pool((folder / "embedded.toml").read_text("utf-8"), "the embedded pool", folder, {})

    @classmethod
    def default(cls, path: str | None = None, env: Mapping[str, str] = os.environ, *, needs_keys: bool = True) -> Pool:
        """Return the pool of `path`, else of the file that ROUTEMOA_POOL names, else the embedded pool."""
        chosen = path or env.get("ROUTEMOA_POOL")
        return cls.from_toml(chosen, env, needs_keys=needs_keys) if chosen else cls.embedded()


MODEL_RANGES = (
    ("input_price", 0, None, "dollars per million tokens"),
    ("output_price", 0, None, "dollars per million tokens"),
    ("cached_price", 0, None, "dollars per million tokens"),
    ("cache_write_price", 0, None, "dollars per million tokens"),
    ("request_price", 0, None, "dollars per request"),
    ("context", 1, None, "tokens"),
    ("latency", 0, None, "seconds"),
    ("prior", 0, 1, "a probability"),
    ("samples", 1, 32, "a number of samples"),
)
"""Key of `[[model]]`, its lowest and highest value, and its unit."""


def parse_pool(text: str, source: str, directory: Path, env: Mapping[str, str], *, needs_keys: bool = True) -> Pool:
    """Read the text of a pool file; its relative paths start in `directory`, its keys are in `env`.

    A member whose key is not set is left out with `needs_keys`, as long as one is left.

    Raises:
        ConfigError: one line with the place, the fault and the fix.
    """
    table = load_toml(text, source)
    if unknown := [k for k in table if k not in TABLES]:
        raise ConfigError(f"{source}: unknown key '{unknown[0]}'; {suggest_name(unknown[0], TABLES)}")
    models, absent, absent_endpoints = _parse_models(table.get("model"), source, env)
    mixture = parse_mixture_table(table.get("mixture", {}), models, f"{source}: [mixture]")
    if needs_keys and absent:
        models = [m for m in models if m.name not in absent]
        if not models:
            raise ConfigError(next(iter(absent.values())).why)
        if mixture.aggregator in absent:
            mixture = msgspec.structs.replace(mixture, aggregator="best")
    limits = parse_limits(table.get("limits", {}), f"{source}: [limits]")
    patience = parse_table(table.get("patience", {}), Patience, f"{source}: [patience]")
    _check_patience(patience, f"{source}: [patience]")
    has_scorer = "scorer" in table or all(m.prior is not None for m in models)
    mixture = read_tuned_policy(
        mixture, directory, [m.name for m in models], f"{source}: [mixture]", has_scorer=has_scorer
    )
    judge = directory / Path(mixture.judge).expanduser() if mixture.judge else None
    scorer = parse_table(table["scorer"], ScorerTable, f"{source}: [scorer]") if "scorer" in table else None
    folder = Path(os.path.normpath(directory / Path(scorer.path).expanduser())) if scorer else None
    if folder and not (folder / "manifest.json").is_file():
        raise ConfigError(f"{source}: [scorer]: path: {folder} holds no scorer; make one with  routemoa scorer train")
    tenants = parse_tenants(table, source, env)
    for tenant in tenants:
        names = {*(m.name for m in models), *absent}
        check_tenant_names(tenant, names, METHODS, f"{source}: [[tenant]] '{tenant.name}'")
    server = parse_server_table(table.get("server", {}), f"{source}: [server]")
    learning = parse_learning_table(table.get("learning", {}), f"{source}: [learning]")
    gateway = parse_gateway_table(table.get("gateway", {}), f"{source}: [gateway]")
    region = env.get(REGION_VARIABLE) or gateway.region
    return Pool(
        with_list_prices(_place_models(models, region, absent_endpoints if needs_keys else {})),
        mixture,
        source,
        directory,
        folder,
        judge,
        limits,
        patience,
        parse_caps_table(table.get("caps", {}), f"{source}: [caps]"),
        tenants,
        server,
        gateway,
        parse_traces_table(table.get("traces", {}), f"{source}: [traces]"),
        absent,
        read_learned_priors(learning, directory, f"{source}: [learning]"),
        learning,
        parse_batches_table(table.get("batches", {}), directory, f"{source}: [batches]"),
        absent_endpoints,
    )


def parse_limits(table: Any, where: str) -> Limits:
    """Read a `[limits]` table, or the limits of one request. Raises ConfigError."""
    limits = parse_table(table, Limits, where)
    check_range(f"{where}: max_cost", limits.max_cost, 0, None, "dollars")
    check_range(f"{where}: max_calls", limits.max_calls, 1, None, "a number of calls")
    check_range(f"{where}: max_output_tokens", limits.max_output_tokens, 1, None, "a number of tokens")
    if limits.max_seconds is not None and not 0 < limits.max_seconds < float("inf"):
        raise ConfigError(f"{where}: max_seconds = {limits.max_seconds} is out of range; it is more than 0")
    return limits


def _check_patience(patience: Patience, where: str) -> None:
    for key in Patience.__struct_fields__:
        if (value := getattr(patience, key)) is not None and not 0 < value < float("inf"):
            raise ConfigError(f"{where}: {key} = {value} is out of range; it is seconds, more than 0, or left out")


def _check_fields(spec: ModelSpec | Endpoint, where: str) -> None:
    """Check the names in `omit` and `rename`. Raises ConfigError."""
    for name in (*spec.omit, *spec.rename, *spec.rename.values()):
        if name in ("model", "messages"):
            raise ConfigError(f"{where}: '{name}' is in every request and can neither be left out nor renamed")
    if (role := spec.rename.get("system")) not in (None, "user", "developer"):
        raise ConfigError(f'{where}: rename: the role \'system\' becomes "user" or "developer", not "{role}"')


class _Members(NamedTuple):
    models: list[ModelSpec]
    absent: dict[str, Absence]
    """Members whose key is not set, with what to do."""
    absent_endpoints: dict[str, dict[str, str]]
    """Member -> endpoint whose key is not set -> what to do, where another endpoint is left."""


def _parse_models(entries: Any, source: str, env: Mapping[str, str]) -> _Members:
    """Return the models, and of those whose key is not set what to do."""
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f'{source}: no model; add one with [[model]], name = "...", endpoint = "..."')
    found = _Members([], {}, {})
    for number, entry in enumerate(entries, 1):
        where = f"{source}: [[model]] {number}"
        member = _parse_model(entry, where, env)
        missing = _find_missing(entry, member, f"{where} '{member.name}'", env)
        for spec in expand_candidates(member):
            if any(m.name == spec.name for m in found.models):
                raise ConfigError(f"{where}: name '{spec.name}' is taken already; names are unique")
            found.models.append(spec)
            if missing and len(missing) == max(1, len(member.endpoints)):
                found.absent[spec.name] = Absence("key", next(iter(missing.values())))
            elif missing:
                found.absent_endpoints[spec.name] = missing
    return found


def _find_missing(entry: Any, member: ModelSpec, where: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return for each endpoint whose key is not set what to do; a member's only endpoint has the member's name."""
    if member.endpoints:
        return find_missing_keys(member.endpoints, member.api_key_env, where, env)
    if member.api_key_env is None or env.get(member.api_key_env):
        return {}
    return {member.name: f"{where}: {describe_missing_key(entry, member.api_key_env, env)}"}


def _place_models(models: Sequence[ModelSpec], region: str | None, without: Mapping[str, Any]) -> list[ModelSpec]:
    """Return the models as seen from a region, without the endpoints that are named in `without`."""

    def place(m: ModelSpec) -> ModelSpec:
        left = [e for e in m.endpoints if e.name not in without.get(m.name, ())]
        return msgspec.structs.replace(m, endpoint=left[0].url, endpoints=mark_far(left, region)) if left else m

    return [place(m) for m in models]


def _parse_model(entry: Any, where: str, env: Mapping[str, str]) -> ModelSpec:
    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
        where = f"{where} '{entry['name']}'"
    if isinstance(entry, dict):
        entry = expand_endpoint(read_endpoints(entry, where, env), where, env)
    spec = parse_table(entry, ModelSpec, where)
    if not spec.name.strip():
        raise ConfigError(f"{where}: name is empty; give the model a name")
    if spec.name in METHODS:
        raise ConfigError(f"{where}: name '{spec.name}' is the name of a method; choose another")
    for key, low, high, unit in MODEL_RANGES:
        check_range(f"{where}: {key}", getattr(spec, key), low, high, unit)
    _check_patience(spec.patience, f"{where}: patience")
    tables: list[ModelSpec | Endpoint] = [spec, *spec.endpoints]
    for table in tables:
        _check_fields(table, where)
    for key in ("cached_price", "cache_write_price", "request_price"):
        if getattr(spec, key) is not None and None in (spec.input_price, spec.output_price):
            raise ConfigError(f"{where}: {key} is part of a price; give input_price and output_price, too")
    for name, value in (header for table in tables for header in table.headers.items()):
        _check_header(f"{where}: headers: {name}", name, value)
    if spec.local and spec.input_price is None and spec.output_price is None:  # there is no bill
        spec = msgspec.structs.replace(spec, input_price=0.0, output_price=0.0)
    return msgspec.structs.replace(spec, model=spec.model or spec.name)


def _check_header(where: str, name: str, value: str) -> None:
    """Check that a header can be sent and holds no key. Raises ConfigError."""
    if name.lower() in ("authorization", "content-type", "content-length", "host"):
        raise ConfigError(f"{where}: is set for each call; a key goes into the variable that api_key_env names")
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not re.fullmatch(r"[\x20-\x7e]*", value):
        raise ConfigError(f"{where}: cannot be a header; use printable ASCII on one line")
