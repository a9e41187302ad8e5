"""The pool file: the models, their endpoints and prices, how they are mixed, default limits and tenants."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from routemoa.core.access.tenants import Tenants
from routemoa.core.catalog.price_list import with_list_prices
from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import check_range, load_toml, parse_table, suggest_key
from routemoa.core.learned.learned_priors import LearnedPriors
from routemoa.core.models.endpoint import mark_far
from routemoa.core.models.patience import Patience, check_patience
from routemoa.core.tables.batches_table import BatchSettings, parse_batches_table
from routemoa.core.tables.candidates import add_votes, count_votes, expand_models
from routemoa.core.tables.caps_table import ReplyCaps, parse_caps_table
from routemoa.core.tables.endpoints_table import REGION_VARIABLE
from routemoa.core.tables.gateway_table import GatewaySettings, parse_gateway_table
from routemoa.core.tables.learning_table import LearningSettings, parse_learning_table, read_learned_priors
from routemoa.core.tables.mixture_table import Mixture, parse_mixture_table, read_tuned_policy
from routemoa.core.tables.model_table import METHODS, Absence, parse_models, place_models
from routemoa.core.tables.scorer_table import parse_scorer_table
from routemoa.core.tables.server_table import ServerSettings, parse_server_table
from routemoa.core.tables.tenant_table import check_tenant_names, parse_tenants
from routemoa.core.tables.traces_table import TraceSettings, parse_traces_table
from routemoa.core.types import Limits, ModelSpec

__all__ = ["METHODS", "Absence", "Pool", "parse_limits", "parse_pool"]

TABLES = (
    *("model", "mixture", "limits", "patience", "caps", "server", "gateway", "traces", "scorer", "learning", "batches"),
    *("tenant", "totals"),
)


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(map(_with_model, self.models)))

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> ModelSpec:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> Mapping[object, ModelSpec]:
        return {m.name: m for m in reversed(self.models)}

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

    def with_votes(self) -> Pool:
        """Return the pool with the members that have several votes (`orders`, `code_samples`) as so many candidates.

        Raises ConfigError where two have one name.
        """
        has_none, has_all = all(count_votes(m) == 1 for m in self.models), any(m.vote > 1 for m in self.models)
        return self if has_none or has_all else replace(self, models=add_votes(self.models))

    def require_keys(self) -> None:
        """Raise ConfigError where a member's key is not set: a run without it would measure another pool."""
        for absence in self.absent.values():
            raise ConfigError(absence.why)

    @classmethod
    def from_toml(
        cls,
        path: str | os.PathLike[str],
        env: Mapping[str, str] = os.environ,
        *,
        needs_keys: bool = True,
        needs_learned: bool = True,
    ) -> Pool:
        """Read and check a pool file. A member whose key is not set in `env` is left out, as long as one is left.

        Args:
            path: of the file.
            env: the environment with the keys.
            needs_keys: leave such members out; else they stay, for a look at the file.
            needs_learned: read the scorer, the policy and the priors that it names, which may not be made yet.

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
        directory = Path(path).absolute().parent
        return parse_pool(text, str(path), directory, env, needs_keys=needs_keys, needs_learned=needs_learned)

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
        folder = Path(str(resources.files("routemoa.core.pool_file")))
        return parse_pool((folder / "embedded.toml").read_text("utf-8"), "the embedded pool", folder, {})

    @classmethod
    def default(
        cls,
        path: str | None = None,
        env: Mapping[str, str] = os.environ,
        *,
        needs_keys: bool = True,
        needs_learned: bool = True,
    ) -> Pool:
        """Return the pool of `path`, else of the file that ROUTEMOA_POOL names, else the embedded pool."""
        chosen = path or env.get("ROUTEMOA_POOL")
        if not chosen:
            return cls.embedded()
        return cls.from_toml(chosen, env, needs_keys=needs_keys, needs_learned=needs_learned)


def parse_pool(
    text: str,
    source: str,
    directory: Path,
    env: Mapping[str, str],
    *,
    needs_keys: bool = True,
    needs_learned: bool = True,
) -> Pool:
    """Read the text of a pool file; its relative paths start in `directory`, its keys are in `env`.

    A member whose key is not set is left out with `needs_keys`, as long as one is left. Without `needs_learned`, what
    is made from records of the pool is left out: its scorer, its policy and learned priors.

    Raises:
        ConfigError: one line with the place, the fault and the fix.
    """
    table = load_toml(text, source)
    if unknown := [k for k in table if k not in TABLES]:
        raise ConfigError(f"{source}: unknown key '{unknown[0]}'; {suggest_key(unknown[0], TABLES)}")
    models, absent, absent_endpoints = parse_models(table.get("model"), source, env)
    mixture = parse_mixture_table(table.get("mixture", {}), models, f"{source}: [mixture]")
    if needs_keys and absent:
        models, mixture = _leave_out_absent(models, mixture, absent)
    limits = parse_limits(table.get("limits", {}), f"{source}: [limits]")
    has_scorer = "scorer" in table or all(m.prior is not None for m in models)
    if needs_learned:
        names = [m.name for m in models]
        mixture = read_tuned_policy(mixture, directory, names, f"{source}: [mixture]", has_scorer=has_scorer)
    judge = directory / Path(mixture.judge).expanduser() if mixture.judge else None
    with_scorer = needs_learned and "scorer" in table
    scorer = parse_scorer_table(table["scorer"], directory, f"{source}: [scorer]") if with_scorer else None
    tenants = _read_tenants(table, source, env, {*(m.name for m in models), *absent})
    server = parse_server_table(table.get("server", {}), f"{source}: [server]")
    learning = parse_learning_table(table.get("learning", {}), f"{source}: [learning]")
    gateway = parse_gateway_table(table.get("gateway", {}), f"{source}: [gateway]")
    region = env.get(REGION_VARIABLE) or gateway.region
    return Pool(
        with_list_prices(place_models(models, region, absent_endpoints if needs_keys else {})),
        mixture,
        source,
        directory,
        scorer=scorer,
        judge=judge,
        limits=limits,
        patience=_read_patience(table.get("patience", {}), f"{source}: [patience]"),
        caps=parse_caps_table(table.get("caps", {}), f"{source}: [caps]"),
        tenants=tenants,
        server=server,
        gateway=gateway,
        traces=parse_traces_table(table.get("traces", {}), f"{source}: [traces]"),
        absent=absent,
        learned=read_learned_priors(learning, directory, f"{source}: [learning]") if needs_learned else None,
        learning=learning,
        batches=parse_batches_table(table.get("batches", {}), directory, f"{source}: [batches]"),
        absent_endpoints=absent_endpoints,
    )


def _with_model(spec: ModelSpec) -> ModelSpec:
    """Return a model with the endpoint's name for it, its own where that is left out; `Pool.load` checks types."""
    if not isinstance(spec, ModelSpec) or spec.model:
        return spec
    return msgspec.structs.replace(spec, model=spec.name)


def _read_patience(table: Any, where: str) -> Patience:
    """Return how long is waited for the pool's models. Raises ConfigError."""
    patience = parse_table(table, Patience, where)
    check_patience(patience, where)
    return patience


def _read_tenants(table: Mapping[str, Any], source: str, env: Mapping[str, str], known: Collection[str]) -> Tenants:
    """Return the tenants; `known` are the members that they may name. Raises ConfigError."""
    tenants = parse_tenants(table, source, env)
    for tenant in tenants:
        check_tenant_names(tenant, known, METHODS, f"{source}: [[tenant]] '{tenant.name}'")
    return tenants


def _leave_out_absent(
    models: Sequence[ModelSpec], mixture: Mixture, absent: Mapping[str, Absence]
) -> tuple[list[ModelSpec], Mixture]:
    """Return the models that can be asked, and a mixture that needs no other. Raises ConfigError where none is left."""
    left = [m for m in models if m.name not in absent]
    if not left:
        raise ConfigError(next(iter(absent.values())).why)
    if mixture.aggregator in absent:
        mixture = msgspec.structs.replace(mixture, aggregator="best")
    return left, mixture


def parse_limits(table: Any, where: str) -> Limits:
    """Read a `[limits]` table, or the limits of one request. Raises ConfigError."""
    limits = parse_table(table, Limits, where)
    check_range(f"{where}: max_cost", limits.max_cost, 0, None, "dollars")
    check_range(f"{where}: max_calls", limits.max_calls, 1, None, "a number of calls")
    check_range(f"{where}: max_output_tokens", limits.max_output_tokens, 1, None, "a number of tokens")
    if limits.max_seconds is not None and not 0 < limits.max_seconds < float("inf"):
        raise ConfigError(f"{where}: max_seconds = {limits.max_seconds} is out of range; it is more than 0")
    return limits
