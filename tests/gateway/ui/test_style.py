"""The page's style sheets are loaded together: what one says of a class must not reach what another one meant."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

STYLE = Path(__file__).parents[3] / "ui" / "src" / "style"
OWN_RULE = re.compile(r"(?:^|[},] ?)\.([\w-]+)(?= ?[{,])", re.MULTILINE)


def test_each_class_is_styled_in_one_file() -> None:
    files = defaultdict(set)
    for file in STYLE.glob("*.css"):
        for name in OWN_RULE.findall(file.read_text()):
            files[name].add(file.name)
    assert len(files) > 50
    assert {name: found for name, found in files.items() if len(found) > 1} == {}
