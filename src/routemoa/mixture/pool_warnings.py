"""Warns of pools that cannot work as well as they seem to: scorer, judge model and families do not fit the models.

Each warning is decided by a pure function; `list_pool_warnings` reads the files that the pool names.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from routemoa.core.catalog.families import group_by_family
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import ModelSpec
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.pool_judge import read_pool_judge

__all__ = [
    "list_pool_warnings",
    "name_judged_models",
    "split_known",
    "warn_of_absent_models",
    "warn_of_foreign_judge",
    "warn_of_missing_sandbox",
    "warn_of_one_family",
    "warn_of_outdated_judge",
    "warn_of_unknown_models",
]

MAX_NAMED = 5
"""Names of models that a warning lists."""


def list_pool_warnings(pool: Pool) -> list[str]:
    """Return what is wrong with a pool though its file is valid; a scorer or judge file that cannot be read is, too."""
    warnings: list[str | None] = [
        *warn_of_absent_models(pool),
        warn_of_one_family(pool.models),
        warn_of_missing_sandbox(pool),
    ]
    try:
        if pool.scorer:
            from routemoa.scoring.trained import read_manifest  # brings numpy

            warnings.append(warn_of_unknown_models(pool, read_manifest(pool.scorer)["models"]))
    except ConfigError as e:
        warnings.append(str(e))
    try:
        judge = read_pool_judge(pool)
        warnings.append(warn_of_outdated_judge(judge.outdated))
        if pool.judge:
            warnings.append(warn_of_foreign_judge(pool, name_judged_models(judge.judge_model)))
    except ConfigError as e:
        warnings.append(str(e))
    return [warning for warning in warnings if warning]


def warn_of_absent_models(pool: Pool) -> list[str]:
    """Return a warning for each member or endpoint left out: its key is not set, or its weights are not fetched."""
    endpoints = [why for missing in pool.absent_endpoints.values() for why in missing.values()]
    return [f"{why}; it is left out" for why in (*(a.why for a in pool.absent.values()), *endpoints)]


def warn_of_one_family(models: Sequence[ModelSpec]) -> str | None:
    """Return a warning where all models are of one family, as far as their names tell."""
    families = group_by_family(models)
    if len(models) < 2 or len(families) != 1 or None in families:
        return None
    same = {spec.model for spec in models}
    kin = f"one model ({same.pop()})" if len(same) == 1 else f"of one family ({next(iter(families))})"
    count = "both" if len(models) == 2 else f"all {len(models)}"
    return (
        f"{count} models are {kin}: they err together, so their agreement says less than it seems; a model of another "
        "family adds more than another one of these"
    )


def warn_of_missing_sandbox(pool: Pool) -> str | None:
    """Return a warning where code answers are to be run, and this machine has no sandbox."""
    if not pool.mixture.run_code:
        return None
    from routemoa.datasets.grading.sandbox import find_sandbox_fault

    fault = find_sandbox_fault()
    return fault and f"run_code is on, but code answers are compared as text: {fault}"


def warn_of_unknown_models(pool: Pool, known: Collection[str]) -> str | None:
    """Return a warning where the pool's scorer knows none, or only some, of its models; `known` are its names."""
    scored, unknown = split_known(pool.models, known)
    if not unknown:
        return None
    without = [m.name for m in unknown if m.prior is None]
    kept = "has no prior, either" if len(without) == len(unknown) == 1 else "keeps its prior"
    if len(unknown) > 1:
        kept = "keep their priors" if not without else f"keep their priors ({_list_names(without)} without one)"
    if scored:
        fix = f"add one with  routemoa pool join {unknown[0].name}{_pool_option(pool)}"
        return (
            f"the scorer in {pool.scorer} does not know {_list_names([m.name for m in unknown])}, which {kept}; {fix}"
        )
    fix = (
        f"routemoa collect QUESTIONS{_pool_option(pool)} --out records.jsonl  and  routemoa scorer train records.jsonl"
    )
    return (
        f"the scorer in {pool.scorer} knows none of these models (it knows {_list_names(list(known))}), so it cannot "
        f"choose among them; train one on them:  {fix} --out my-scorer"
    )


def warn_of_foreign_judge(pool: Pool, judged: Collection[str]) -> str | None:
    """Return a warning where the judge file is of another pool; `judged` are the models that it describes."""
    names = {name for m in pool for name in (m.name, m.model)}
    foreign = [name for name in judged if name not in names]
    if not foreign:
        return None
    fix = f'fit one on traces of this pool:  routemoa judge fit TRACES --out "{pool.mixture.judge}"'
    if len(foreign) == len(judged):
        return f"the judge file {pool.judge} is of another pool: it was fitted on {_list_names(foreign)}; {fix}"
    return f"the judge file {pool.judge} was fitted with {_list_names(foreign)}, which this pool does not have; {fix}"


def warn_of_outdated_judge(learned: Path | None) -> str | None:
    """Return a warning where a judge model that was learned is left out: the pool's own was fitted again since."""
    if learned is None:
        return None
    return (
        f"the judge model {learned}, which was learned from feedback, is left out: the pool's judge file is another "
        "one since; the next  routemoa learn  goes on from that file"
    )


def name_judged_models(judge_model: JudgeModel) -> list[str]:
    """Return the models that a judge model was fitted on, else those that it describes."""
    pairs = judge_model.correlation.pairwise_error_correlation
    paired = [name for pair in pairs for name in pair.split("|")]
    described = dict.fromkeys([*judge_model.peer_judges, *judge_model.self_judges, *paired])
    evidence = judge_model.open_evidence
    return list(judge_model.models or described or (evidence.models if evidence else ()))


def split_known(models: Sequence[ModelSpec], known: Collection[str]) -> tuple[list[ModelSpec], list[ModelSpec]]:
    """Return the models that a scorer knows, by their own name or the endpoint's, and the others."""
    groups: tuple[list[ModelSpec], list[ModelSpec]] = ([], [])
    for spec in models:
        groups[spec.name not in known and spec.model not in known].append(spec)
    return groups


def _pool_option(pool: Pool) -> str:
    """Return the option that names the pool's file; empty for a pool without one."""
    return f" --pool {pool.source}" if Path(pool.source).is_file() else ""


def _list_names(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
