"""The `[mixture]` table: how the models are mixed, and the user's trade-off of quality, cost and time."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import msgspec

from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import check_range, load_toml, parse_table, suggest_name
from routemoa.core.learned.cost_dial import Dial
from routemoa.core.learned.tuned_policy import MAKE_ONE, TunedPolicy, load_tuned_policy
from routemoa.core.types import ModelSpec, PreferenceName

__all__ = ["PREFERENCES", "Mixture", "Preference", "parse_mixture", "parse_mixture_table", "read_tuned_policy"]

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


class Mixture(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"tuned": "tuned_policy"}):
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
    self_assessment: Literal["auto", "spoken", "logprob"] = "auto"
    """"auto": in words, where the judge file has learned that they tell right from wrong; else they are not asked for.
    The published fusions ask for them."""
    aggregator: str = "best"
    fusion: Fusion = "adaptive"
    judge: str | None = None
    """A file that `routemoa judge fit` wrote."""
    policy: str | None = None
    """A file that `routemoa tune` wrote."""
    tuned: TunedPolicy | None = None
    """What it says, once it is read; no key."""
    prefer: PreferenceName | Dial = "balanced"
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
    open: Literal["auto", "alone", "synthesize", "select"] = "auto"
    """What is done with an open question, whose answers are texts that cannot confirm one another."""
    judge_model: str = "auto"
    """The model that compares answers under `open = "select"`; "auto" is the best one."""
    tool_steps: Literal["leader", "panel"] = "leader"
    """After the result of a tool: the model that made the call goes on alone, or a panel is asked again."""
    run_code: bool = False
    """Run code answers in a sandbox and compare what they do; without, they are compared as text."""
    hedge: bool = True
    """Also call the next model where a remote one's first token comes later than 95 % of its earlier ones."""

    @property
    def published(self) -> bool:
        """Return whether the loop is one of the published ones."""
        return self.fusion != "adaptive"

    @property
    def is_adaptive(self) -> bool:
        """Return whether the panel adapts to the answers: neither a published loop nor a tuned policy decides."""
        return not self.published and self.tuned is None

    @property
    def assesses_in_words(self) -> bool:
        """Tell whether self-assessments, where they are asked for, are words; else they are token probabilities."""
        return self.self_assessment != "logprob"

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
        """Return how far a model's score may be behind the best and the model still be called, in [0, 1]."""
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
        base = PREFERENCES[self.prefer if isinstance(self.prefer, str) else "balanced"]
        tie = (0.0 if self.published else base.tie) if self.tie is None else self.tie
        target = base.target if self.target is None else self.target
        return msgspec.structs.replace(base, tie=tie, target=target)


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


def parse_mixture(text: str, source: str) -> Mixture:
    """Read the `[mixture]` table of a policy or pool file, or a file of its keys alone. Raises ConfigError."""
    table = load_toml(text, source)
    if isinstance(table.get("policy"), dict):
        raise ConfigError(f'{source}: a tuned policy; name it in another file:  [mixture]  policy = "{source}"')
    bare = {} if "model" in table else table  # a pool file without the table has the defaults
    return parse_mixture_table(table.get("mixture", bare), [], f"{source}: [mixture]")


def parse_mixture_table(table: Any, models: list[ModelSpec], where: str) -> Mixture:
    """Read a `[mixture]` table; `models` are those that it may name, none for a policy file. Raises ConfigError."""
    if isinstance(table, dict) and table.get("fusion") == "learned":
        raise ConfigError(f"{where}: fusion: 'learned' is called 'adaptive' now")
    if isinstance(table, dict) and "policy" in table and isinstance(table.get("prefer"), str):
        raise ConfigError(
            f'{where}: prefer = "{table["prefer"]}" does not go with policy; leave it out, or write '
            "prefer = {quality = 0.97} or prefer = {cost = 0.3}"
        )
    mixture = parse_table(table, Mixture, where)
    _check_mixture(mixture, models, where)
    return mixture


def read_tuned_policy(
    mixture: Mixture, directory: Path, models: Collection[str] | None, where: str, *, has_scorer: bool = True
) -> Mixture:
    """Return a mixture with the tuned policy that it names, where it names one.

    Args:
        mixture: as read.
        directory: where its path starts.
        models: the pool's; None where there is no pool yet, and `build_policy` checks them.
        where: begins an error.
        has_scorer: whether estimates for a query can be had.

    Raises:
        ConfigError: the file is missing, broken, or made for another pool than one of these models.
    """
    if mixture.policy is None:
        return mixture
    dial = mixture.prefer if isinstance(mixture.prefer, Dial) else None
    path = directory / Path(mixture.policy).expanduser()
    tuned = load_tuned_policy(path, models, f"{where}: policy", dial, has_scorer=has_scorer)
    return msgspec.structs.replace(mixture, tuned=tuned)


def _check_mixture(m: Mixture, models: list[ModelSpec], where: str) -> None:
    """Check the values of a `[mixture]` table; without `models` any aggregator passes. Raises ConfigError."""
    for key, low, high, unit in MIXTURE_RANGES:
        check_range(f"{where}: {key}", getattr(m, key), low, high, unit)
    for key in ("dollars_per_point", "seconds_per_point"):
        if (rate := getattr(m, key)) is not None and not 0 < rate < float("inf"):
            raise ConfigError(f"{where}: {key} = {rate} is out of range; it is more than 0, or left out")
    if isinstance(m.prefer, Dial):
        m.prefer.check(f"{where}: prefer")
        if m.policy is None:
            raise ConfigError(f'{where}: prefer = {{{m.prefer}}} needs policy = "policy.toml"; {MAKE_ONE}')
    if m.policy is not None and m.published:
        raise ConfigError(f'{where}: policy: a tuned policy goes with fusion = "adaptive", not "{m.fusion}"')
    for key, default in (("aggregator", "best"), ("judge_model", "auto")):
        name, names = getattr(m, key), [default, *(s.name for s in models)]
        if models and name not in names:
            raise ConfigError(f"{where}: {key} '{name}' is not a model of this pool; {suggest_name(name, names)}")
