"""What a scorer should read of a conversation, and what keeping the model of its last turn saves.

    python benchmarks/conversations.py ../shared/data/records --out benchmarks/results/conversations.json

Part `scorer`: a fifth of the questions of every task is held out, the rest is trained on (`fast`, lexical). The rule
was chosen on one half of all questions (by hash, `--half 1`); the figures are of the other one. Each held-out
question is made into conversations, in which the last turn alone says more or less:

    split        its context, "Understood.", then its last part (the last sentence, or the options)
    three turns  the same in three parts
    bare         the whole question, a short answer, then a turn without content ("Are you sure?")
    switch       another question, its answer, then the whole question
    switch+split another question, its answer, then the question in two turns
    system       the whole question, after a system text of one sentence, or of a page

and scored by what each way of reading makes of them. `whole` reads the question as the records have it: the ceiling of
the kinds but "bare", where it stands for what is asked again.

Part `keeping`: six held-out questions of ZeroEval in a row, in one conversation, through the whole mixture with
recorded answers. A cache like the providers' is simulated: a member that has read a prompt pays the cached price for
what the next one repeats of it, from 1024 tokens on. Accuracy and dollars with and without keeping, over the same
conversations; with and without 5,300 tokens of instructions before them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from routemoa import RouteMoA
from routemoa.core.catalog.price_list import find_price
from routemoa.core.chat.conversations import cached_prompt
from routemoa.core.content.cache_marks import CacheControl, CachedPrompt, CacheMark
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import CHARACTERS_PER_TOKEN, Completion, Message, ModelSpec, Query, Request
from routemoa.core.usage import Usage
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.replay.recorded import RecordedClient
from routemoa.scoring.predictor import Predictor
from routemoa.scoring.trained import TrainedScorer
from routemoa.training.fast_recipe import train_fast
from routemoa.training.metrics import choose_baselines, measure_calibration
from routemoa.training.table import Table, build_table

SUITES = ("routerdc", "ulab")
RESAMPLES = 1000
KEEPING_POOL = (
    "claude-3-5-sonnet-20241022", "gpt-4o-2024-08-06", "claude-3-5-haiku-20241022", "gpt-4o-mini-2024-07-18",
    "gemini-1.5-flash",
)  # fmt: skip
"""With prices for cached tokens, but none that leads on every question."""
MIXTURES = {
    f"{prefer}, {calls}": Mixture(prefer=prefer, max_models=count)
    for prefer in ("quality", "balanced", "cheap")
    for calls, count in (("panels", 9), ("one model a turn", 1))
}
TURNS = 6
CACHED_FROM = 1024
SYSTEMS = {
    "short": "You are a helpful assistant.",
    "long": " ".join(
        f"Rule {i}: when a customer asks about order {i * 37}, look it up in ledger {i % 7}, answer in two sentences, "
        f"and never promise a refund above {i * 3} dollars without asking the office in town {i % 11}."
        for i in range(1, 31)
    ),
}
INSTRUCTIONS = "\n".join(f"Part {i}. {SYSTEMS['long']}" for i in range(1, 5))
BARE = (
    "Are you sure?", "And what is the answer?", "So?", "Please think about it again.", "Now give me just the result.",
    "Explain that step by step.", "Hmm, that does not look right to me.", "Und was ist jetzt die Antwort?",
    "¿Estás seguro de eso?", "答案是什么？", "Could you check this once more, please?", "Which one is it then?",
)  # fmt: skip
REPLY = "I see. Please go on."
ANSWER = "The answer is as follows: it is the second of these, for the reasons that I gave."
_SENTENCE_END = re.compile(r"(?<=[.?!。？！])\s*(?=\S)")
_OPTIONS = re.compile(r"\n\s*(?=(?:A|\(A\)|1)[.):、 ])")

Conversation = tuple[Message, ...]


# Conversations made from questions.


def split_question(text: str, parts: int) -> list[str] | None:
    """Return a question in two or three parts, the last one its last sentence or its options; None if it has one."""
    if options := _OPTIONS.search(text):
        head, tail = text[: options.start()], text[options.end() :]
        pieces = [head.strip(), tail.strip()]
        if parts == 3:
            cut = cut_sentences(head, 2)
            pieces = [*cut, tail.strip()] if cut else []
    else:
        pieces = cut_sentences(text, parts) or []
    return pieces if len(pieces) == parts and all(pieces) else None


def cut_sentences(text: str, parts: int) -> list[str] | None:
    sentences = [s for s in _SENTENCE_END.split(text.strip()) if s.strip()]
    if len(sentences) < parts:
        return None
    last = sentences[-1]
    if parts == 2:
        return [" ".join(sentences[:-1]), last]
    half = max(1, (len(sentences) - 1) // 2)
    return [" ".join(sentences[:half]), " ".join(sentences[half:-1]), last]


def make_turns(turns: Sequence[str], reply: str = REPLY) -> Conversation:
    messages: list[Message] = []
    for turn in turns[:-1]:
        messages += [Message("user", turn), Message("assistant", reply)]
    return (*messages, Message("user", turns[-1]))


def make_conversations(texts: Sequence[str], rng: np.random.Generator) -> dict[str, list[Conversation | None]]:
    """Return for each kind a conversation for each question, None where the question cannot be made into one."""
    other = rng.permutation(len(texts))
    bare = rng.integers(len(BARE), size=len(texts))
    out: dict[str, list[Conversation | None]] = {
        k: [] for k in ("split", "three turns", "bare", "switch", "switch+split", "short system", "long system")
    }
    for i, text in enumerate(texts):
        two, three = split_question(text, 2), split_question(text, 3)
        before = (Message("user", texts[other[i]]), Message("assistant", ANSWER))
        out["split"].append(make_turns(two) if two else None)
        out["three turns"].append(make_turns(three) if three else None)
        out["bare"].append(make_turns([text, BARE[bare[i]]], ANSWER))
        out["switch"].append((*before, Message("user", text)))
        for name, system in SYSTEMS.items():
            out[f"{name} system"].append((Message("system", system), Message("user", text)))
        out["switch+split"].append((*before, *make_turns(two)) if two else None)
    return out


# Ways to read a conversation.


def user_turns(messages: Conversation) -> list[str]:
    return [m.content for m in messages if m.role == "user"]


def read_before(messages: Conversation) -> str:
    """Return what was read before: the last turn, then the system text, then all earlier turns."""
    rest = [m for m in messages[:-1] if m.role == "system"] + [m for m in messages[:-1] if m.role != "system"]
    return "\n\n".join(m.content for m in (messages[-1], *rest))


READINGS: dict[str, Callable[[Conversation], str]] = {
    "last turn": lambda m: user_turns(m)[-1],
    "as before": read_before,
    "all user turns": lambda m: "\n\n".join(user_turns(m)),
    "last two": lambda m: "\n\n".join(user_turns(m)[-2:]),
    "ours": lambda m: Query(m).text,
}


def hold_out(data: Table, seed: int, half: int) -> tuple[Predictor, Table, int, np.random.Generator]:
    """Return a scorer, the fifth of each task that it has not seen, and the best single model's column."""
    rng = np.random.default_rng(4000 + seed)
    test = np.zeros(len(data.texts), bool)
    tasks = np.array(data.tasks)
    for task in dict.fromkeys(data.tasks):
        of_task = np.flatnonzero(tasks == task)
        test[rng.permutation(of_task)[: len(of_task) // 5]] = True
    shown = test & np.array([zlib.crc32(t.encode()) % 2 == half for t in data.texts])
    train = data.select_rows(np.flatnonzero(~test))
    single = data.models.index(choose_baselines(train)["best_single"])
    return train_fast(train, seed).predictor, data.select_rows(np.flatnonzero(shown)), single, rng


class Sums:
    """What was chosen and predicted with each reading, over seeds."""

    def __init__(self) -> None:
        self.chosen: dict[str, list[float]] = {}
        self.predicted: dict[str, list[Any]] = {}
        self.truth: list[Any] = []
        self.best: list[float] = []
        self.questions: list[str] = []

    def add(self, predictor: Predictor, readings: dict[str, list[str]], truth: Any, best: int) -> None:
        self.questions += readings["whole"]
        self.truth.append(truth)
        self.best += truth[:, best].tolist()
        place = {text: i for i, text in enumerate(dict.fromkeys(t for texts in readings.values() for t in texts))}
        scores = predictor.predict(list(place))  # readings often agree
        for name, texts in readings.items():
            predicted = scores[[place[t] for t in texts]]
            self.predicted.setdefault(name, []).append(predicted)
            self.chosen.setdefault(name, []).extend(truth[np.arange(len(texts)), predicted.argmax(1)].tolist())

    def summarize(self, reference: str) -> dict[str, Any]:
        """Return the figures of each reading, and how much better the choices by `reference` are."""
        truth, ours = np.concatenate(self.truth).ravel(), np.array(self.chosen[reference])
        out: dict[str, Any] = {"conversations": len(ours), "best single": round(float(np.mean(self.best)), 4)}
        for name, chosen in self.chosen.items():
            calibration = measure_calibration(np.concatenate(self.predicted[name]).ravel(), truth)
            figures = {k: round(v, 4) for k in ("auc", "ece") if (v := calibration[k]) is not None}
            out[name] = {"first choice": round(float(np.mean(chosen)), 4), **figures}
            if name != reference:
                out[name][f"{reference} minus this"] = interval(average_by(self.questions, ours - np.array(chosen)))
        return out


def measure_scorer(data: Table, seeds: int, half: int) -> dict[str, Any]:
    """Return the figures of each kind of conversation and each reading, over the held-out fifths of all seeds."""
    sums: dict[str, Sums] = {}
    for seed in range(seeds):
        predictor, held_out, single, rng = hold_out(data, seed, half)
        for kind, made in make_conversations(held_out.texts, rng).items():
            known = [(i, c) for i, c in enumerate(made) if c is not None]
            readings = {name: [read(c) for _, c in known] for name, read in READINGS.items()}
            readings["whole"] = [held_out.texts[i] for i, _ in known]
            truth = np.nan_to_num(held_out.scores[[i for i, _ in known]])
            for key in (kind,) if "system" in kind else (kind, "all kinds"):
                sums.setdefault(key, Sums()).add(predictor, readings, truth, single)
    return {kind: found.summarize("ours") for kind, found in sums.items()}


def average_by(questions: Sequence[str], values: Any) -> Any:
    """Return the mean of each question's values: several seeds and kinds of conversation share a question."""
    place = {q: i for i, q in enumerate(dict.fromkeys(questions))}
    at = [place[q] for q in questions]
    return np.bincount(at, values) / np.bincount(at)


def interval(differences: np.ndarray[Any, Any]) -> list[float]:
    """Return a mean and its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = [float(rng.choice(differences, len(differences)).mean()) for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return [round(float(x), 4) for x in (differences.mean(), low, high)]


def print_scorer(name: str, figures: dict[str, Any]) -> None:
    for kind, row in figures.items():
        parts = [
            f"{reading} {f['first choice']:.3f}/{f.get('auc', float('nan')):.3f}/{f.get('ece', float('nan')):.3f}"
            for reading, f in row.items()
            if isinstance(f, dict)
        ]
        print(f"{name} {kind}: n {row['conversations']} best {row['best single']:.3f} | {' | '.join(parts)}")


# Keeping the model.


class CachingClient:
    """Answers from records, and counts dollars with a prompt cache for each member, as providers keep one."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._client = RecordedClient(records)
        self._read: dict[str, list[tuple[str, ...]]] = {}
        self.dollars = 0.0
        self.cached = 0

    def begin_conversation(self) -> None:
        self._read.clear()

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        contents = tuple(m.content for m in request.messages)
        repeated = max((_count_common(contents, read) for read in self._read.get(model.name, [])), default=0)
        prompt = sum(map(len, contents)) // CHARACTERS_PER_TOKEN
        price = model.price
        assert price is not None
        cached = sum(map(len, contents[:repeated])) // CHARACTERS_PER_TOKEN
        cached = cached if cached >= CACHED_FROM else 0
        self._read.setdefault(model.name, []).append(contents)
        async for piece in self._client.stream(model, request):
            if isinstance(piece, Completion):
                answer = len(piece.text) // CHARACTERS_PER_TOKEN
                self.dollars += price.cost(prompt, answer, cached, prompt - cached if price.cache_write else 0)
                self.cached += cached
                yield replace(piece, usage=Usage(prompt, answer, cached))
            else:
                yield piece

    async def close(self) -> None:
        pass


def _count_common(a: Sequence[str], b: Sequence[str]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def make_pool(settings: Mixture) -> Pool:
    specs = []
    for name in KEEPING_POOL:
        price = find_price(name, datetime(2024, 12, 1, tzinfo=UTC))
        assert price is not None
        specs.append(
            ModelSpec(
                name,
                "http://127.0.0.1:9/v1",
                input_price=price.input.base,
                output_price=price.output.base,
                list_price=price,
            )
        )
    return Pool(tuple(specs), settings)


async def talk(
    mixture: RouteMoA, client: CachingClient, records: Sequence[Record], system: str, keep: bool
) -> dict[str, float]:
    """Ask questions in one conversation and return what came of it."""
    client.begin_conversation()
    before, right, calls, changes, writer = client.dollars, 0.0, 0, 0, None
    marks = (CacheMark(len(system), CacheControl("ephemeral")),) if system else ()  # some cache only what is marked
    messages: tuple[Message, ...] = (Message("system", system, marks),) if system else ()
    cached: CachedPrompt | None = None
    for record in records:
        messages = (*messages, Message("user", record.query))
        answer = await mixture.answer(Query(messages, cached=cached if keep else None))
        chosen = answer.trace.aggregator or answer.trace.choice or ""
        changes += writer not in (None, chosen)
        writer = chosen
        right += record.scores.get(chosen) or 0.0
        calls += answer.trace.calls
        cached = cached_prompt(answer.trace)
        messages = (*messages, Message("assistant", answer.text))
    return {
        "right": right / len(records), "dollars": client.dollars - before, "calls": calls / len(records),
        "changes": changes / (len(records) - 1),
    }  # fmt: skip


def make_mixture(records: Sequence[Record], scorer: TrainedScorer, settings: Mixture) -> tuple[RouteMoA, CachingClient]:
    client = CachingClient(records)
    return RouteMoA(make_pool(settings), client, scorer), client


async def hold_talks(
    mixture: RouteMoA, client: CachingClient, talks: Sequence[Sequence[Record]], system: str, keep: bool
) -> list[dict[str, float]]:
    return [await talk(mixture, client, records, system, keep) for records in talks]


def measure_keeping(folder: Path, seeds: int) -> dict[str, Any]:
    """Return accuracy and dollars of conversations with and without keeping, for each preference."""
    records = [
        r for r in read_records([folder / "gsm.jsonl.gz", folder / "math_l5.jsonl.gz"])
        if all((r.responses or {}).get(m) and r.scores.get(m) is not None for m in KEEPING_POOL)
    ]  # fmt: skip
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    best: list[float] = []
    for seed in range(seeds):
        order = np.random.default_rng(5000 + seed).permutation(len(records))
        train = [records[i] for i in order[: len(order) // 2]]
        test = [records[i] for i in order[len(order) // 2 :]]
        table = build_table(train).select_models(KEEPING_POOL)
        scorer = TrainedScorer(train_fast(table, seed).predictor)
        single = choose_baselines(table)["best_single"]
        best += [r.scores[single] or 0.0 for r in test]
        talks = [test[i : i + TURNS] for i in range(0, len(test) - TURNS + 1, TURNS)]
        for name, settings in MIXTURES.items():
            for text, system in (("no instructions", ""), ("5,300 tokens of instructions", INSTRUCTIONS)):
                for keep in (False, True):
                    mixture, client = make_mixture(records, scorer, settings)
                    rows = found.setdefault(f"{name}, {text}", {}).setdefault("kept" if keep else "not kept", [])
                    rows += asyncio.run(hold_talks(mixture, client, talks, system, keep))
    out: dict[str, Any] = {"best single": round(float(np.mean(best)), 4), "turns": TURNS, "pool": list(KEEPING_POOL)}
    return out | {name: compare_keeping(**{k.replace(" ", "_"): v for k, v in x.items()}) for name, x in found.items()}


def compare_keeping(not_kept: list[dict[str, float]], kept: list[dict[str, float]]) -> dict[str, Any]:
    mean = {
        name: {k: round(float(np.mean([r[k] for r in rows])), 6) for k in rows[0]}
        for name, rows in (("not kept", not_kept), ("kept", kept))
    }
    points = np.array([100 * (b["right"] - a["right"]) for a, b in zip(not_kept, kept, strict=True)])
    a, b = (np.array([r["dollars"] for r in rows]) for rows in (not_kept, kept))
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(a), size=len(a)) for _ in range(RESAMPLES)]
    ratios = np.percentile([b[i].sum() / a[i].sum() for i in draws], [2.5, 97.5])
    return {
        "conversations": len(kept), **mean, "points gained": interval(points),
        "cost ratio": [round(float(x), 4) for x in (b.sum() / a.sum(), *ratios)],
    }  # fmt: skip


def load_table(folder: Path) -> Table:
    return build_table(list(read_records(sorted(folder.glob("*.jsonl.gz")))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--half", type=int, default=0, help="of the questions: 1 is what the rule was chosen on")
    parser.add_argument("--only", nargs="*", help="suites, 'keeping'")
    options = parser.parse_args()
    parts = options.only or [*SUITES, "keeping"]
    known = options.out is not None and options.out.exists()  # of other parts
    results: dict[str, Any] = json.loads(options.out.read_text()) if known else {"scorer": {}}
    for name in SUITES:
        if name in parts:
            results["scorer"][name] = measure_scorer(load_table(options.records / name), options.seeds, options.half)
            print_scorer(name, results["scorer"][name])
    if "keeping" in parts:
        results["keeping"] = measure_keeping(options.records / "zeroeval", options.seeds)
        print(json.dumps(results["keeping"], indent=1))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
