"""The file that `routemoa tune` writes: ways to answer, from cheap to dear, and what each reaches on the records."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import load_toml, parse_table
from routemoa.core.learned.cost_dial import Dial, Mix, Point, mix_points
from routemoa.core.text.plural import list_some

__all__ = [
    "MAKE_ONE",
    "TunedGroup",
    "TunedPlan",
    "TunedPoint",
    "TunedPolicy",
    "encode_tuned_policy",
    "load_tuned_policy",
]

MAKE_ONE = "make one with  routemoa tune RECORDS --out policy.toml"


class TunedPlan(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How one query is answered: by models in an order, or by the one that estimates and prices choose."""

    order: tuple[str, ...] = ()
    """From cheap to dear. The first two are asked together, then one after the other, until `agree` answers are equal;
    once the others cannot reach that any more, the last is asked, and its answer stands."""
    agree: int = 2
    rate: float | None = None
    """Instead of an order: the model with the highest P(right) - rate * cost answers alone."""

    def __str__(self) -> str:
        if self.rate is not None:
            return f"the model with the most of P(right) - {self.rate:.3g} * its cost"
        if len(self.order) < 3:
            return " and ".join(self.order)
        *early, last = self.order
        return f"{', '.join(early)} until {self.agree} agree, else {last}"


class TunedGroup(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Queries with similar estimates."""

    center: dict[str, float]
    """Model -> the mean P(right)."""
    questions: int = 0
    mostly: str = ""
    """The tasks of most of its questions, for people."""


class TunedPoint(Point, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A plan for each group, and what they reach together."""

    plans: tuple[int, ...]
    """The place of each group's plan."""


class TunedPolicy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[policy]` table of the file."""

    best_single: str
    """The model that shares are of."""
    dial: Dial
    """What was asked for when it was written; `prefer` in the pool file goes before it."""
    costs: dict[str, float]
    """Model -> what a call costs on average, as a share of the best single model's."""
    group: tuple[TunedGroup, ...]
    """A query belongs to the group with the nearest center."""
    plan: tuple[TunedPlan, ...]
    point: tuple[TunedPoint, ...]
    """The hull, from cheap to dear."""
    questions: int = 0
    """Of the records."""
    source: str = ""

    @property
    def models(self) -> tuple[str, ...]:
        """The models that it may call."""
        named = [m for plan in self.plan for m in (self.costs if plan.rate is not None else plan.order)]
        return tuple(dict.fromkeys(named))

    @property
    def mix(self) -> Mix:
        """The two points that are mixed."""
        return mix_points(self.point, self.dial)

    @property
    def uses_estimates(self) -> bool:
        """Tell whether it depends on a scorer's estimates of the query."""
        return len(self.group) > 1 or any(plan.rate is not None for plan in self.plan)

    def check_models(self, models: Collection[str], where: str) -> None:
        """Check that a pool of these models has all that the policy names. Raises ConfigError."""
        named = dict.fromkeys([*self.models, *(m for group in self.group for m in group.center)])
        if missing := [m for m in named if m not in models]:
            raise ConfigError(
                f"{where} was made for another pool: it names {list_some(missing)}, and the models here are "
                f"{list_some(list(models))}; {MAKE_ONE}"
            )

    def choose_plan(self, estimates: Mapping[str, float], draw: float) -> TunedPlan:
        """Return the plan for a query: the estimates of P(right) by model, and the number that its text draws."""
        point = self.point[self.mix.choose(draw)]
        distances = [sum((estimates[m] - p) ** 2 for m, p in g.center.items()) for g in self.group]
        return self.plan[point.plans[distances.index(min(distances))]]


def load_tuned_policy(
    path: Path, models: Collection[str] | None, where: str, dial: Dial | None = None, *, has_scorer: bool = True
) -> TunedPolicy:
    """Read a tuned policy for the pool of these models. Raises ConfigError.

    Args:
        path: the file.
        models: the names of the pool's models; None does not check them.
        where: begins an error, up to the key.
        dial: what the pool file asks for, instead of what the file was written for.
        has_scorer: whether estimates for a query can be had.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{where}: {path} cannot be read: {why}; {MAKE_ONE}") from e
    table = load_toml(text, str(path))
    if "policy" not in table:
        raise ConfigError(f"{where}: {path} has no [policy] table; {MAKE_ONE}")
    policy = parse_table(table["policy"], TunedPolicy, f"{path}: [policy]")
    if dial is not None:
        policy = replace(policy, dial=dial)
    _check(policy, where, path)
    if models is not None:
        policy.check_models(models, f"{where}: {path}")
    if policy.uses_estimates and not has_scorer:
        raise ConfigError(
            f"{where}: {path} goes by a scorer's estimates; train one on the same records with  routemoa scorer train  "
            "and name it under [scorer], or make the policy with  routemoa tune --no-scorer"
        )
    return policy


def encode_tuned_policy(policy: TunedPolicy, comment: str) -> str:
    """Return the text of the file; each line of `comment` stands at its beginning."""
    lines = [*(f"# {line}".rstrip() for line in comment.splitlines()), "", "[policy]"]
    lines += [f"best_single = {_quote(policy.best_single)}", f"dial = {{{policy.dial}}}"]
    lines += [f"questions = {policy.questions}", f"source = {_quote(policy.source)}", "", "[policy.costs]"]
    lines += [f"{_quote(model)} = {cost:.6g}" for model, cost in policy.costs.items()]
    for group in policy.group:
        lines += ["", "[[policy.group]]", f"questions = {group.questions}", f"mostly = {_quote(group.mostly)}"]
        center = ", ".join(f"{_quote(model)} = {p:.4f}" for model, p in group.center.items())
        lines.append(f"center = {{{center}}}")
    for place, plan in enumerate(policy.plan):
        lines += ["", f"[[policy.plan]]  # {place}"]
        if plan.rate is None:
            lines += [f"order = [{', '.join(map(_quote, plan.order))}]", f"agree = {plan.agree}"]
        else:
            lines.append(f"rate = {float(plan.rate):.6g}")
    for point in policy.point:
        lines += ["", "[[policy.point]]", f"cost = {point.cost:.6f}", f"quality = {point.quality:.6f}"]
        lines.append(f"plans = [{', '.join(map(str, point.plans))}]")
    return "\n".join(lines) + "\n"


def _check(policy: TunedPolicy, where: str, path: Path) -> None:
    """Check that a policy is whole, and reaches what is asked for. Raises ConfigError."""
    policy.dial.check(f"{path}: [policy]: dial")
    if not policy.point or not policy.group:
        raise ConfigError(f"{path}: [policy] has no point or no group; {MAKE_ONE}")
    if any((plan.rate is None) != bool(plan.order) or plan.agree < 2 for plan in policy.plan):
        raise ConfigError(f"{path}: [[policy.plan]]: give an order of models and agree of at least 2, or a rate")
    for number, point in enumerate(policy.point):
        if len(point.plans) != len(policy.group) or not all(0 <= i < len(policy.plan) for i in point.plans):
            raise ConfigError(f"{path}: [[policy.point]] {number + 1}: plans names a plan for each group; {MAKE_ONE}")
        before = policy.point[number - 1] if number else None
        if before and not (before.cost < point.cost and before.quality < point.quality):
            raise ConfigError(f"{path}: [[policy.point]] {number + 1}: points go from cheap to dear; {MAKE_ONE}")
    best = policy.point[-1].quality
    if policy.dial.quality is not None and policy.dial.quality > max(best, 1.0) + 1e-3:
        raise ConfigError(f"{where}: {policy.dial} is more than {path} reaches: {best:.3f} of the best single model's")


def _quote(text: str) -> str:
    """Return a TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
