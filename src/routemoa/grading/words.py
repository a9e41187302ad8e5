"""Words: whether a reference stands in a text. Pure functions."""

from __future__ import annotations

import re

__all__ = ["contains"]

UNSPACED = r"\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # scripts that put no space between words


def contains(text: str, wanted: str) -> bool:
    """Whether `wanted` stands in `text` as whole words; 18 is not found in 180, 1.18 or 18.5."""
    if not wanted:
        return False
    before = r"(?<!\d[.,])" if wanted[0].isdigit() else ""
    after = r"(?![.,]\d)" if wanted[-1].isdigit() else ""
    if not re.match(rf"[{UNSPACED}\W]", wanted):
        before += rf"(?<![^\W{UNSPACED}])"
    if not re.search(rf"[{UNSPACED}\W]$", wanted):
        after += rf"(?![^\W{UNSPACED}])"
    return re.search(before + re.escape(wanted) + after, text) is not None
