"""Short questions of sixteen kinds with their references, for training and testing the embedded pool's scorer.

    python benchmarks/short_questions.py --each 40 --seed 0 > short.jsonl
    routemoa collect short.jsonl --out short.records.jsonl.gz

Every question is made here from small lists and random numbers, so its licence is this project's (Apache-2.0). No
question occurs twice; where a kind's lists are short, it gives fewer than `--each`. Kinds are the records' tasks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import date, timedelta
from random import Random

CAPITALS = (
    "France:Paris Japan:Tokyo Italy:Rome Spain:Madrid Egypt:Cairo Kenya:Nairobi Peru:Lima Cuba:Havana Norway:Oslo "
    "Sweden:Stockholm Finland:Helsinki Poland:Warsaw Austria:Vienna Hungary:Budapest Greece:Athens Portugal:Lisbon "
    "Ireland:Dublin Iceland:Reykjavik Denmark:Copenhagen Russia:Moscow China:Beijing Nepal:Kathmandu "
    "Thailand:Bangkok Vietnam:Hanoi Indonesia:Jakarta Philippines:Manila Australia:Canberra Canada:Ottawa "
    "Chile:Santiago Ecuador:Quito Uruguay:Montevideo "
    "Morocco:Rabat Tunisia:Tunis Ghana:Accra Senegal:Dakar Uganda:Kampala Zambia:Lusaka Iran:Tehran Iraq:Baghdad "
    "Turkey:Ankara Mongolia:Ulaanbaatar Latvia:Riga Estonia:Tallinn Croatia:Zagreb"
)
OPPOSITES = (
    "hot:cold big:small early:late full:empty rich:poor wet:dry fast:slow hard:soft up:down left:right open:closed "
    "young:old strong:weak light:dark loud:quiet thick:thin high:low near:far true:false first:last deep:shallow "
    "happy:sad clean:dirty long:short heavy:light sharp:blunt begin:end buy:sell win:lose push:pull arrive:depart "
    "accept:reject ancient:modern brave:cowardly expand:contract increase:decrease victory:defeat maximum:minimum "
    "asleep:awake narrow:wide smooth:rough guilty:innocent"
)
PLURALS = (
    "child:children mouse:mice foot:feet tooth:teeth goose:geese man:men woman:women person:people knife:knives "
    "wolf:wolves leaf:leaves city:cities baby:babies box:boxes bus:buses church:churches hero:heroes potato:potatoes "
    "crisis:crises analysis:analyses criterion:criteria cactus:cacti ox:oxen sheep:sheep fish:fish deer:deer "
    "party:parties lady:ladies watch:watches dish:dishes thief:thieves shelf:shelves life:lives wife:wives loaf:loaves"
)
FRENCH = (
    "house:maison dog:chien cat:chat water:eau bread:pain book:livre tree:arbre sun:soleil moon:lune milk:lait "
    "car:voiture friend:ami night:nuit day:jour king:roi queen:reine street:rue table:table door:porte "
    "hand:main fire:feu snow:neige rain:pluie bird:oiseau horse:cheval fish:poisson "
    "apple:pomme cheese:fromage wine:vin red:rouge green:vert black:noir white:blanc seven:sept eight:huit"
)
GROUPS = {
    "fruit": "apple pear plum banana cherry mango peach grape lemon orange",
    "animal": "dog horse lion tiger rabbit sheep whale camel goat bear",
    "colour": "red green blue yellow purple brown pink black white grey",
    "tool": "hammer saw drill wrench chisel pliers screwdriver axe spanner file",
    "vehicle": "car bus train bicycle lorry tram scooter van ship plane",
    "metal": "iron copper gold silver zinc lead tin nickel aluminium platinum",
}
SENTENCES = {
    "positive": (
        "I loved every minute of the {0}.|The {0} was wonderful, I will come back.|What a great {0}, thank you!|"
        "The {0} made my day.|Best {0} I have ever had.|I am so pleased with the {0}.|A brilliant {0} in every way."
    ),
    "negative": (
        "I hated every minute of the {0}.|The {0} was awful, never again.|What a terrible {0}, I want my money back.|"
        "The {0} ruined my day.|Worst {0} I have ever had.|I am so disappointed with the {0}.|A boring {0} throughout."
    ),
}
THINGS = "film meal hotel book concert trip phone game lesson museum"
WORDS = (
    "banana letter window garden pepper bottle summer kitten button pillow rabbit carrot ladder hammer mirror planet "
    "silver ticket basket camera dinner engine finger guitar island jacket monkey needle orange pencil"
)
ROMAN = ((100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))
UNITS = (
    ("kilometres", "metres", 1000), ("hours", "minutes", 60), ("minutes", "seconds", 60), ("days", "hours", 24),
    ("weeks", "days", 7), ("kilograms", "grams", 1000), ("metres", "centimetres", 100), ("litres", "millilitres", 1000),
    ("dozens", "pieces", 12), ("years", "months", 12),
)  # fmt: skip
NAMES = "Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas"
GOODS = "apples pens books coins stamps marbles eggs tickets cards shells"
WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Made = tuple[str, str, str]  # query, reference, grader
NUMBER, WORD = "Answer with the number only.", "Answer with one word only."


def pair(rng: Random, pairs: str) -> tuple[str, str]:
    """One of 'a:b c:d'."""
    a, _, b = rng.choice(pairs.split()).partition(":")
    return a, b


def addition(rng: Random) -> Made:
    a, b = rng.randrange(10, 999), rng.randrange(10, 999)
    return f"What is {a} + {b}? {NUMBER}", str(a + b), "numeric"


def product(rng: Random) -> Made:
    a, b = rng.randrange(3, 40), rng.randrange(3, 30)
    return f"What is {a} times {b}? {NUMBER}", str(a * b), "numeric"


def story(rng: Random) -> Made:
    (a, b), thing = rng.sample(NAMES.split(), 2), rng.choice(GOODS.split())
    x, y, z = rng.randrange(12, 60), rng.randrange(2, 10), rng.randrange(2, 30)
    query = f"{a} has {x} {thing}, gives {y} to {b} and buys {z} more. How many {thing} does {a} have now? {NUMBER}"
    return query, str(x - y + z), "numeric"


def capital(rng: Random) -> Made:
    country, city = pair(rng, CAPITALS)
    return f"What is the capital of {country}? {WORD}", city, "contains"


def opposite(rng: Random) -> Made:
    a, b = pair(rng, OPPOSITES)
    if rng.random() < 0.5:
        a, b = b, a
    return f'What is the opposite of "{a}"? {WORD}', b, "contains"


def plural(rng: Random) -> Made:
    a, b = pair(rng, PLURALS)
    return f'What is the plural of "{a}"? {WORD}', b, "contains"


def french(rng: Random) -> Made:
    a, b = pair(rng, FRENCH)
    return f'Translate the English word "{a}" into French. {WORD}', b, "contains"


def sorting(rng: Random) -> Made:
    numbers = rng.sample(range(1, 99), rng.randrange(4, 7))
    query = f"Sort these numbers from smallest to largest: {', '.join(map(str, numbers))}. Answer with the list only."
    return query, ", ".join(map(str, sorted(numbers))), "contains"


def sequence(rng: Random) -> Made:
    start, step = rng.randrange(1, 20), rng.randrange(2, 12)
    grow = rng.random() < 0.4
    terms = [start * 2**i if grow else start + step * i for i in range(6)]
    query = f"What is the next number in the sequence {', '.join(map(str, terms[:5]))}? {NUMBER}"
    return query, str(terms[5]), "numeric"


def units(rng: Random) -> Made:
    big, small, factor = rng.choice(UNITS)
    n = rng.randrange(2, 40)
    return f"How many {small} are {n} {big}? {NUMBER}", str(n * factor), "numeric"


def python(rng: Random) -> Made:
    a, b, word = rng.randrange(2, 20), rng.randrange(2, 9), rng.choice(WORDS.split())
    code, value = rng.choice([
        (f"print({a} * {b} + 1)", str(a * b + 1)),
        (f"print({a} // {b}, {a} % {b})", f"{a // b} {a % b}"),
        (f"print('{word}'[:{b - 1}])", word[: b - 1]),
        (f"print(len('{word}') + {a})", str(len(word) + a)),
        (f"print(sum(range({a})))", str(sum(range(a)))),
        (f"print('{word}'.upper())", word.upper()),
        (f"print([x * {b} for x in range(3)])", str([x * b for x in range(3)])),
        (f"print(sorted([{a}, {b}, {a + b}])[-1])", str(a + b)),
    ])  # fmt: skip
    return f"What does this Python program print? Answer with the output only.\n\n{code}", value, "contains"


def letters(rng: Random) -> Made:
    word = rng.choice(WORDS.split())
    letter = rng.choice(word)
    query = f'How many times does the letter "{letter}" occur in the word "{word}"? {NUMBER}'
    return query, str(word.count(letter)), "numeric"


def odd(rng: Random) -> Made:
    kind, other = rng.sample(list(GROUPS), 2)
    strange = rng.choice(GROUPS[other].split())
    words = [*rng.sample(GROUPS[kind].split(), 3), strange]
    rng.shuffle(words)
    return f"Which word does not belong to the others: {', '.join(words)}? {WORD}", strange, "exact"


def sentiment(rng: Random) -> Made:
    mood = rng.choice(list(SENTENCES))
    sentence = rng.choice(SENTENCES[mood].split("|")).format(rng.choice(THINGS.split()))
    return f'Is this review positive or negative? "{sentence}" {WORD}', mood, "exact"


def weekday(rng: Random) -> Made:
    day, n = date(2026, 1, 5) + timedelta(rng.randrange(7)), rng.randrange(2, 30)
    after = WEEK[(day.weekday() + n) % 7]
    query = f"Today is {WEEK[day.weekday()]}. What day of the week will it be in {n} days? {WORD}"
    return query, after, "exact"


def roman(rng: Random) -> Made:
    n = left = rng.randrange(3, 150)
    out = ""
    for value, sign in ROMAN:
        while left >= value:
            out, left = out + sign, left - value
    return f"Which number is the Roman numeral {out}? {NUMBER}", str(n), "numeric"


KINDS: tuple[Callable[[Random], Made], ...] = (
    addition, product, story, capital, opposite, plural, french, sorting, sequence, units, python, letters, odd,
    sentiment, weekday, roman,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=40, help="questions of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = Random(arguments.seed)
    lines: list[dict[str, str]] = []
    for make in KINDS:
        made: dict[str, Made] = {}
        for _ in range(20 * arguments.each):
            if len(made) < arguments.each:
                one = make(rng)
                made.setdefault(one[0], one)
        for i, (query, reference, grader) in enumerate(made.values()):
            name = make.__name__
            lines.append(
                {
                    "id": f"{name}-{arguments.seed}-{i}",
                    "task": name,
                    "query": query,
                    "reference": reference,
                    "grader": grader,
                }
            )
    rng.shuffle(lines)
    for line in lines:
        print(json.dumps(line))


if __name__ == "__main__":
    main()
