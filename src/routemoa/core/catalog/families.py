"""The family of a model, by its name: models of one family share training data, and so errors. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from routemoa.core.types import ModelSpec

__all__ = ["find_family", "group_by_family"]

FAMILIES = (
    ("llama", r"llama|vicuna|alpaca|hermes|(?:^|[^a-z])l3(?:\.\d)?-"),
    ("qwen", r"qwen|qwq|qvq|tongyi"),
    ("mistral", r"(?:mi|mini|code|dev|pix|magi|vox)stral|mixtral|zephyr"),
    ("gemma", r"gemma"),
    ("gemini", r"gemini|palm-?2"),
    ("claude", r"claude"),
    ("gpt", r"gpt|davinci|(?:^|[^a-z])o[134](?:-|$)"),
    ("grok", r"grok"),
    ("deepseek", r"deepseek"),
    ("phi", r"(?:^|[^a-z])phi-?\d"),
    ("command", r"command|(?:^|[^a-z])(?:c4ai|aya)-"),
    ("kimi", r"kimi|moonshot"),
    ("glm", r"glm-?\d"),
    ("minimax", r"minimax|abab"),
    ("nova", r"(?:^|[^a-z])nova-"),
    ("nemotron", r"nemotron"),
    ("granite", r"granite"),
    ("smollm", r"smollm"),
    ("olmo", r"olmo|tulu"),
    ("yi", r"(?:^|[^a-z])yi-"),
    ("ernie", r"ernie"),
    ("jamba", r"jamba"),
    ("falcon", r"falcon"),
    ("internlm", r"internlm|intern-"),
    ("hunyuan", r"hunyuan"),
    ("seed", r"doubao|(?:^|[^a-z])seed-"),
    ("sonar", r"sonar"),
    ("lfm", r"(?:^|[^a-z])lfm"),
)
"""Family -> a pattern of its models' names. Models that others are made from come first: a distilled or a fine-tuned
model belongs to the weights it began with, whatever its maker adds to the name."""
_FAMILY_OF = [(family, re.compile(pattern)) for family, pattern in FAMILIES]


def find_family(model: str) -> str | None:
    """Return the family of a model, such as "qwen" for "qwen/qwen-2.5-72b-instruct"; None where its name tells none."""
    name = model.casefold().rpartition("/")[2].replace("_", "-").replace(" ", "-")
    return next((family for family, pattern in _FAMILY_OF if pattern.search(name)), None)


def group_by_family(models: Iterable[ModelSpec]) -> dict[str | None, list[str]]:
    """Return family -> the members of the pool that belong to it; None holds those of unknown family.

    The endpoint's name for a model counts first: a member's own name is the user's.
    """
    groups: dict[str | None, list[str]] = {}
    for spec in models:
        groups.setdefault(find_family(spec.model) or find_family(spec.name), []).append(spec.name)
    return groups
