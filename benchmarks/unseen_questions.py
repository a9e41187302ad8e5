"""Questions of kinds that the embedded pool's scorer never saw, with their references: twelve kinds of reasoning.

    python benchmarks/unseen_questions.py --each 15 --half choose > choose.jsonl
    python benchmarks/unseen_questions.py --each 15 --half test > test.jsonl
    routemoa collect test.jsonl --out test.records.jsonl.gz

The two halves hold six kinds each and none in common: what is chosen on the one is measured on the other. The kinds are
those of BIG-Bench Hard (arXiv 2210.09261), made anew here from small lists and random numbers, so their licence is this
project's (Apache-2.0). Kinds are the records' tasks. `--arc FILE` adds questions of ARC challenge, by the parity of
their place in the file, `--arc-records FILE` some of its test questions that RouterBench recorded, and `--mmlu FILE`
some of recorded MMLU, both drawn by the seed.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random

from routemoa.scoring.lexical import strip_solved_examples

NAMES = ("Alice", "Bob", "Claire", "Dave", "Eve", "Fred", "Gertrude", "Hassan", "Inge", "Jamal")
THINGS = {
    "fruits": ("a banana", "an orange", "a peach", "a plum", "an apple", "a grape", "a strawberry", "a nectarine"),
    "vegetables": ("a carrot", "an onion", "a cabbage", "a potato", "a leek", "a yam", "a garlic", "a cucumber"),
    "animals": ("a cow", "a rabbit", "a goat", "a duck", "a snail", "a mouse", "a pig", "a bear"),
    "musical instruments": ("a flute", "a piano", "a drum", "a violin", "a trumpet", "a clarinet", "an accordion"),
    "pieces of furniture": ("a chair", "a table", "a bed", "a couch", "a stove", "a fridge", "a lamp", "a desk"),
}
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "black", "silver", "pink", "brown")
OBJECTS = ("pencil", "notebook", "keychain", "cup", "plate", "scarf", "puzzle", "bracelet", "envelope", "textbook")
BOOKS = ("green book", "red book", "blue book", "black book", "white book", "orange book", "purple book")
WORDS = [
    "kitchen",
    "salmon",
    "harvest",
    "violin",
    "meadow",
    "cactus",
    "lantern",
    "orbit",
    "parcel",
    "quartz",
    "ribbon",
    "saddle",
    "timber",
    "umbrella",
    "velvet",
    "walnut",
    "anchor",
    "basket",
    "candle",
    "dragon",
    "eleven",
    "falcon",
    "goblet",
    "helmet",
    "insect",
    "jungle",
    "kettle",
    "ladder",
    "magnet",
    "napkin",
]
ADJECTIVES = (
    ("lovely", "awful", "strange", "good"),
    ("big", "tiny", "huge", "small"),
    ("old", "new", "ancient"),
    ("square", "round", "triangular"),
    ("red", "white", "blue", "brown"),
    ("Polish", "Thai", "Russian", "Indian"),
    ("wool", "steel", "paper", "leather"),
)
TIMES = (
    "reading at the library",
    "getting a coffee at the cafe",
    "stretching at a yoga studio",
    "buying a phone at the shop",
)

Made = tuple[str, str, str]  # query, reference, grader


def list_options(rng: Random, right: str, wrong: Sequence[str]) -> tuple[str, str]:
    """Return the options in a random order, a line each, and the right one's letter."""
    options = [right, *wrong]
    rng.shuffle(options)
    lines = [f"({chr(65 + i)}) {text}" for i, text in enumerate(options)]
    return "\n".join(["Options:", *lines]), chr(65 + options.index(right))


def boolean(rng: Random) -> Made:
    words = [rng.choice(("True", "False")) for _ in range(4)]
    text = " ".join(
        f"{rng.choice(('', 'not '))}{word}{rng.choice((' and', ' or')) if i < 3 else ''}"
        for i, word in enumerate(words)
    )
    text = f"not ( {text} )" if rng.random() < 0.5 else text
    value = eval(text, {"__builtins__": {}})
    return f"Evaluate this Boolean expression, True or False: {text}", str(value), "exact"


def counting(rng: Random) -> Made:
    kind = rng.choice(sorted(THINGS))
    other = rng.choice([k for k in sorted(THINGS) if k != kind])
    ours, others = rng.sample(THINGS[kind], rng.randrange(3, 6)), rng.sample(THINGS[other], rng.randrange(1, 4))
    doubled = rng.random() < 0.5
    things = [*ours, *others]
    if doubled:
        things[0] = f"three {things[0].split(' ', 1)[1]}s"
    rng.shuffle(things)
    count = len(ours) + (2 if doubled else 0)
    return f"I have {', '.join(things[:-1])}, and {things[-1]}. How many {kind} do I have?", str(count), "numeric"


def navigate(rng: Random) -> Made:
    steps, x, y = [], 0, 0
    moves = {"forward": (0, 1), "backward": (0, -1), "left": (-1, 0), "right": (1, 0)}
    for _ in range(rng.randrange(3, 5)):
        way, n = rng.choice(sorted(moves)), rng.randrange(1, 8)
        steps.append((way, n))
        x, y = x + n * moves[way][0], y + n * moves[way][1]
    if rng.random() < 0.5:
        for way, n in (("left" if x > 0 else "right", abs(x)), ("backward" if y > 0 else "forward", abs(y))):
            if n:
                steps.append((way, n))
        x = y = 0
    text = " ".join(f"Take {n} step{'s' * (n > 1)} {way}." for way, n in steps)
    query = (
        "If you follow these instructions, do you return to the starting point? Always face forward. "
        f"{text}\nAnswer Yes or No."
    )
    return query, "Yes" if (x, y) == (0, 0) else "No", "exact"


def lies(rng: Random) -> Made:
    names = rng.sample(NAMES, 4)
    truth = rng.random() < 0.5
    text = [f"{names[0]} {'tells the truth' if truth else 'lies'}."]
    for before, name in itertools.pairwise(names):
        says = rng.random() < 0.5
        text.append(f"{name} says {before} {'tells the truth' if says else 'lies'}.")
        truth = says == truth
    query = f"{' '.join(text)} Does {names[-1]} tell the truth?\nAnswer Yes or No."
    return query, "Yes" if truth else "No", "exact"


def shuffled(rng: Random) -> Made:
    people, things = rng.sample(NAMES, 3), [f"the {book}" for book in rng.sample(BOOKS, 3)]
    holds = dict(zip(people, things, strict=True))
    text = ", ".join(f"{p} has {t}" for p, t in holds.items())
    swaps = []
    for _ in range(3):
        a, b = rng.sample(people, 2)
        holds[a], holds[b] = holds[b], holds[a]
        swaps.append(f"{a} and {b} swap books")
    asked = rng.choice(people)
    options, letter = list_options(rng, holds[asked], [t for t in things if t != holds[asked]])
    query = (
        f"{', '.join(people[:2])} and {people[2]} hold one book each: {text}. First, {swaps[0]}. Then, {swaps[1]}. "
        f"Finally, {swaps[2]}. At the end, which book has {asked}?\n{options}"
    )
    return query, letter, "choice"


def deduction(rng: Random) -> Made:
    books = rng.sample(BOOKS, 4)  # left to right
    clues = [f"The {a} is to the left of the {b}." for a, b in itertools.pairwise(books)]
    rng.shuffle(clues)
    place = rng.randrange(4)
    name = ("leftmost", "second from the left", "second from the right", "rightmost")[place]
    shown = rng.sample(books, 4)
    options, letter = list_options(rng, f"The {books[place]}", [f"The {b}" for b in books if b != books[place]])
    query = (
        f"Four books stand on a shelf: the {', the '.join(shown)}. {' '.join(clues)} Which is the {name}?\n{options}"
    )
    return query, letter, "choice"


def arithmetic(rng: Random) -> Made:
    a, b, c, d, e, f = (rng.randrange(-9, 10) for _ in range(6))
    text = f"(({a} + {b} * {c}) * ({d} - {e} + {f}))"
    return f"Calculate: {text} =", str((a + b * c) * (d - e + f)), "numeric"


def coloured(rng: Random) -> Made:
    count = rng.randrange(4, 6)
    objects, colours = rng.sample(OBJECTS, count), rng.sample(COLOURS, count)
    row = ", ".join(f"a {c} {o}" for c, o in zip(colours, objects, strict=True))
    place = rng.randrange(1, count)
    wrong = [c for c in colours if c != colours[place]][:3]
    options, letter = list_options(rng, colours[place], wrong)
    query = (
        f"On the desk, you see things in a row, from left to right: {row}. What colour is the thing directly to the "
        f"right of the {objects[place - 1]}?\n{options}"
    )
    return query, letter, "choice"


def schedule(rng: Random) -> Made:
    name, hours = rng.choice(NAMES), sorted(rng.sample(range(7, 22), 5))
    free = rng.randrange(4)
    spans = list(itertools.pairwise(hours))
    told = [f"from {a}:00 to {b}:00 {name} was {TIMES[i]}" for i, (a, b) in enumerate(spans) if i != free]
    right = f"{spans[free][0]}:00 to {spans[free][1]}:00"
    options, letter = list_options(rng, right, [f"{a}:00 to {b}:00" for a, b in spans if (a, b) != spans[free]])
    query = (
        f"{name} woke up at {hours[0]}:00 and went to a museum that day. We know that {'; '.join(told)}. The museum "
        f"closed at {hours[-1]}:00. Between what times could {name} have gone to the museum?\n{options}"
    )
    return query, letter, "choice"


def adjectives(rng: Random) -> Made:
    places = sorted(rng.sample(range(len(ADJECTIVES)), 4))
    right = [rng.choice(ADJECTIVES[i]) for i in places]
    noun = rng.choice(OBJECTS)
    wrong = rng.sample(right, 4)
    while wrong == right:
        wrong = rng.sample(right, 4)
    options, letter = list_options(rng, f"{' '.join(right)} {noun}", [f"{' '.join(wrong)} {noun}"])
    return f"Which phrase has the usual order of adjectives?\n{options}", letter, "choice"


def calendar(rng: Random) -> Made:
    today = date(1990, 1, 1) + timedelta(days=rng.randrange(12000))
    said, shift = rng.choice((("tomorrow", 1), ("yesterday", -1), ("one week from today", 7), ("10 days ago", -10)))
    right = today + timedelta(days=shift)
    wrong = sorted({right + timedelta(days=d) for d in rng.sample((-31, -10, -2, 2, 7, 30, 365), 3)})
    options, letter = list_options(rng, f"{right:%m/%d/%Y}", [f"{day:%m/%d/%Y}" for day in wrong])
    asked = f"the date {said}" if said != "10 days ago" else "the date 10 days ago"
    return f"Today is {today:%B} {today.day}, {today.year}. What is {asked} in MM/DD/YYYY?\n{options}", letter, "choice"


def alphabet(rng: Random) -> Made:
    words = rng.sample(WORDS, rng.randrange(5, 8))
    place = rng.randrange(1, len(words))
    name = {1: "second", 2: "third", 3: "fourth", 4: "fifth", 5: "sixth", 6: "seventh"}[place]
    query = f"These words are sorted alphabetically: {', '.join(words)}. Which word is then the {name}?"
    return query, sorted(words)[place], "contains"


HALVES: dict[str, tuple[Callable[[Random], Made], ...]] = {
    "choose": (boolean, counting, shuffled, arithmetic, schedule, calendar),
    "test": (navigate, lies, deduction, coloured, adjectives, alphabet),
}


def read_arc(file: Path, parity: int, first: int, count: int) -> list[Made]:
    """Return questions of ARC challenge at even (0) or odd (1) places."""
    made = []
    for line in gzip.decompress(file.read_bytes()).decode().splitlines()[parity::2][first : first + count]:
        row = json.loads(line)
        options = "\n".join(
            f"({label}) {text}" for label, text in zip(row["choices"]["label"], row["choices"]["text"], strict=True)
        )
        made.append((f"{row['question']}\nOptions:\n{options}", row["answerKey"], "choice"))
    return made


def read_mmlu(file: Path, rng: Random, count: int) -> list[Made]:
    """Return recorded questions whose reference is one option's text."""
    made = []
    for line in rng.sample(gzip.decompress(file.read_bytes()).decode().splitlines(), count):
        row = json.loads(line)
        letters = [option[0] for option in row["query"].splitlines() if option[3:] == row["reference"]]
        if len(letters) == 1:
            made.append((row["query"], letters[0], "choice"))
    return made


def read_recorded_arc(file: Path, rng: Random, count: int) -> list[Made]:
    """Return ARC's test questions out of RouterBench's prompts, the examples before them left out.

    Their records name no reference: it is the letter that counted as right, and a question that none of the eleven
    models had right is left out.
    """
    made = []
    for line in gzip.decompress(file.read_bytes()).decode().splitlines():
        row = json.loads(line)
        right = {row["responses"][model][2] for model, score in row["scores"].items() if score == 1.0}
        asked = strip_solved_examples(row["query"]).strip().split("\nPrint only")[0]
        question, *options = re.split(r"\n(?=[A-E]\) )", asked)
        if ".test." in row["id"] and len(right) == 1 and len(options) > 2:
            lines = "\n".join(f"({option}" for option in options)
            made.append((f"{question}\nOptions:\n{lines}", right.pop(), "choice"))
    return rng.sample(made, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=sorted(HALVES), default="test")
    parser.add_argument("--each", type=int, default=15, help="questions of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arc", type=Path, help="arc_challenge_val.jsonl.gz")
    parser.add_argument("--arc-questions", type=int, default=40)
    parser.add_argument("--arc-first", type=int, default=0, help="leave out as many of ARC's")
    parser.add_argument("--arc-records", type=Path, help="RouterBench's arc_challenge.train.jsonl.gz")
    parser.add_argument("--arc-records-questions", type=int, default=200)
    parser.add_argument("--mmlu", type=Path, help="mmlu_redux.jsonl.gz")
    parser.add_argument("--mmlu-questions", type=int, default=100)
    options = parser.parse_args()
    rng = Random(f"{options.half} {options.seed}")
    made: list[tuple[str, Made]] = []
    for make in HALVES[options.half]:
        seen: dict[str, Made] = {}
        while len(seen) < options.each:
            one = make(rng)
            seen.setdefault(one[0], one)
        made += [(make.__name__, one) for one in seen.values()]
    if options.arc:
        parity = int(options.half == "test")
        made += [("arc", one) for one in read_arc(options.arc, parity, options.arc_first, options.arc_questions)]
    if options.arc_records:
        made += [("arc", one) for one in read_recorded_arc(options.arc_records, rng, options.arc_records_questions)]
    if options.mmlu:
        made += [("mmlu", one) for one in read_mmlu(options.mmlu, rng, options.mmlu_questions)]
    rng.shuffle(made)
    for i, (task, (query, reference, grader)) in enumerate(made):
        row = {
            "id": f"{task}-{options.seed}-{i}",
            "task": task,
            "query": query,
            "reference": reference,
            "grader": grader,
        }
        print(json.dumps(row))


if __name__ == "__main__":
    main()
