"""The same seventeen short questions in eleven languages with their references, to see how models state answers.

    python benchmarks/language_questions.py > languages.jsonl
    routemoa collect languages.jsonl --pool benchmarks/languages.toml --out languages.records.jsonl.gz

Every question was written for this project, so its licence is the project's (Apache-2.0). A language is the records'
task. Nothing tells the models how to end their answers. The texts are in language_questions.toml.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import NamedTuple


class Texts(NamedTuple):
    """The questions of a language; {a}, {b}, {c}, {p} and {n} are numbers as the language writes them."""

    baskets: str
    price: str
    factory: str
    percent: str
    train: str
    capital_choice: str
    planet_choice: str
    gas_choice: str
    product_choice: str
    capital: str
    banana: str
    ocean: str
    options: list[list[str]]
    """The options of the first three questions that have some."""
    facts: list[str]
    """The references of the last three questions."""
    decimal: str = ","


def read_texts() -> dict[str, Texts]:
    """Return the questions by their language."""
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {language: Texts(**table) for language, table in tables.items()}


def numeric_questions(texts: Texts, turn: int) -> list[tuple[str, str]]:
    """Return each question with its reference; `turn` 0 or 1 gives the numbers."""
    a, b, c = ((7, 12, 5), (9, 15, 8))[turn]
    price, count = ((2.35, 3), (1.75, 6))[turn]
    daily, days = ((1250, 14), (48000, 25))[turn]
    share, whole = ((15, 240), (35, 900))[turn]
    distance, hours = ((450, 6), (270, 4))[turn]
    written = f"{price:.2f}".replace(".", texts.decimal)
    return [
        (texts.baskets.format(a=a, b=b, c=c), f"{a * b - c}"),
        (texts.price.format(p=written, n=count), f"{price * count:.2f}"),
        (texts.factory.format(a=daily, n=days), f"{daily * days}"),
        (texts.percent.format(a=share, b=whole), f"{share * whole / 100:g}"),
        (texts.train.format(a=distance, n=hours), f"{distance / hours:g}"),
    ]


def choice_questions(texts: Texts) -> list[tuple[str, str]]:
    """Return each question with its letter."""
    asked = (texts.capital_choice, texts.planet_choice, texts.gas_choice, texts.product_choice.format(a=7, b=8))
    options = (*texts.options, ["54", "56", "58", "64"])
    listed = ["\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", four, strict=True)) for four in options]
    return [(f"{question}\n{list_}", letter) for question, list_, letter in zip(asked, listed, "CBDB", strict=True)]


def main() -> None:
    for language, texts in read_texts().items():
        numeric = [*numeric_questions(texts, 0), *numeric_questions(texts, 1)]
        facts = zip((texts.capital, texts.banana, texts.ocean), texts.facts, strict=True)
        kinds = [("numeric", numeric), ("choice", choice_questions(texts)), ("contains", list(facts))]
        for grader, questions in kinds:
            for i, (query, reference) in enumerate(questions):
                row = {"id": f"{language}-{grader}-{i}", "task": language, "query": query}
                print(json.dumps(row | {"reference": reference, "grader": grader}, ensure_ascii=False))


if __name__ == "__main__":
    main()
