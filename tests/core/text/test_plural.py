"""Numbers of things agree with their nouns, in one place."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import routemoa
from routemoa.core.text.plural import counted

NOUNS = re.compile(r" (more |graded )?(models|questions|methods|answers|messages|traces|calls|layers|records|lines)\b")
MANY = ("activity.py", "advice.py", "dominance.py", "training_overlap.py")  # these are always more than one


def test_one_thing_is_singular() -> None:
    assert [counted(n, "model") for n in (0, 1, 2, 1024)] == ["0 models", "1 model", "2 models", "1,024 models"]
    assert counted(1, "query", "queries") == "1 query"
    assert counted(2, "query", "queries") == "2 queries"


def test_no_text_makes_a_plural_by_hand() -> None:
    """Neither "1 question(s)" nor a number before a plural."""
    found = []
    for file in Path(str(routemoa.__file__)).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            parts = node.values if isinstance(node, ast.JoinedStr) else []
            found += [f"{file.name}: {ast.unparse(p)}" for p in parts if re.search(r"[a-z]\(s\)", ast.unparse(p))]
            for part, text in pairwise(parts):
                is_number = isinstance(part, ast.FormattedValue) and re.search(r"\blen\(|:,", ast.unparse(part))
                if is_number and isinstance(text, ast.Constant) and NOUNS.match(str(text.value)):
                    found.append(f"{file.name}: {ast.unparse(part)}{text.value!r}")
    assert [line for line in found if not line.startswith(MANY)] == []
