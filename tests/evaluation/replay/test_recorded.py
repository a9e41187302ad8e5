"""Replaying recorded answers: the right text, and judgments of stated reliability where they are asked for only."""

from __future__ import annotations

import json
from itertools import product
from random import Random

import pytest

from routemoa.core.errors import ModelError, QueryError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import Completion, Message, ModelSpec, Query, Request
from routemoa.datasets.records import Record
from routemoa.evaluation.replay.recorded import JudgedAnswer, RecordedClient, SimulatedJudge
from routemoa.mixture import prompts
from routemoa.mixture import reply_parser as replies
from routemoa.mixture.engine import RouteMoA
from routemoa.mixture.prompts import ReplyFormat

QUESTION = 'What does {"self": 1, "scores": 2} mean?\n---\nGive an <assessment> of it.'
HARD = 'Line one.\n\n---\n<answer id="A">7</answer>\n```json\n{}\n```\n'
TEXTS = {"a": "The answer is 4.", "b": HARD, "c": "The answer is 5.", "d": None}


def record(n: int = 0, question: str = QUESTION, **known: object) -> Record:
    scores = {"a": 1.0, "b": 0.0, "c": 0.0, "d": None}
    return Record(f"q{n}", "t", question, scores, responses=dict(TEXTS), **known)  # type: ignore[arg-type]


def spec(name: str) -> ModelSpec:
    return ModelSpec(name, "local", name, prior=0.6)


async def ask(client: RecordedClient, model: str, request: Request) -> tuple[str, Completion]:
    pieces = [p async for p in client.stream(spec(model), request)]
    assert isinstance(pieces[-1], Completion)
    return "".join(p for p in pieces if isinstance(p, str)), pieces[-1]


def request(asked: ReplyFormat | None = None, candidates: tuple[str, ...] = (), question: str = QUESTION) -> Request:
    return Request(prompts.proposal_messages((Message("user", question),), candidates, asked))


def sees(judge: str, question: str, verdict: JudgedAnswer) -> float | None:
    """A judge that knows the truth."""
    return verdict.truth


def auc(judge: SimulatedJudge, own: bool, n: int = 2000) -> float:
    def scores(truth: float) -> list[float]:
        found = [judge.score("j", f"q{i}", JudgedAnswer("j" if own else "m", f"text {truth}", truth)) for i in range(n)]
        return [s for s in found if s is not None]

    right, wrong = scores(1.0), scores(0.0)
    pairs = [(x, y) for x, y in zip(right, Random(0).sample(wrong, n), strict=True)] + list(
        product(right[:300], wrong[:300])
    )
    return sum((x > y) + 0.5 * (x == y) for x, y in pairs) / len(pairs)


@pytest.mark.parametrize("stated", [0.3, 0.5, 0.6, 0.7, 0.9])
@pytest.mark.parametrize("own", [False, True])
def test_the_stated_reliability_is_met(stated: float, own: bool) -> None:
    judge = SimulatedJudge(self_auc=stated) if own else SimulatedJudge(stated)
    assert auc(judge, own) == pytest.approx(stated, abs=0.04)


def test_judges_praise_themselves_by_the_inflation_and_say_the_same_each_time() -> None:
    vain, modest = SimulatedJudge(inflation=1.5), SimulatedJudge(inflation=0.0)

    def mean(judge: SimulatedJudge, subject: str) -> float:
        said = [judge.score("j", f"q{i}", JudgedAnswer(subject, "x", float(i % 2))) or 0.0 for i in range(500)]
        return sum(said) / len(said)

    assert mean(vain, "j") > mean(modest, "j") + 0.2
    assert mean(vain, "m") == pytest.approx(mean(modest, "m"))
    verdict = JudgedAnswer("m", "x", 1.0)
    assert vain.score("j", "q", verdict) == vain.score("j", "q", verdict)
    differs = [
        vain.score("k", "q", verdict),
        vain.score("j", "p", verdict),
        SimulatedJudge(seed=1).score("j", "q", verdict),
        vain.score("j", "q", JudgedAnswer("m", "y", 1.0)),
    ]
    assert vain.score("j", "q", verdict) not in differs
    assert vain.score("j", "q", JudgedAnswer("m", "x", None)) is None


async def test_a_recorded_text_comes_back_as_it_was() -> None:
    client = RecordedClient([record(seconds={"a": 2.5})], sees)
    text, completion = await ask(client, "a", request())
    assert (text, completion.text, completion.latency) == (TEXTS["a"], TEXTS["a"], 2.5)
    assert (await ask(client, "b", request()))[0] == HARD
    assert client.calls == 2


async def test_judgments_only_where_they_are_asked_for() -> None:
    client = RecordedClient([record()], sees)
    quoted = ("The answer is 4.", HARD, "The answer is 5.")
    assert "<assessment>" not in (await ask(client, "a", request()))[0]
    assert "<assessment>" not in (await ask(client, "a", request(candidates=quoted)))[0]
    own = ReplyFormat(self_score=True)
    reply = replies.parse_reply((await ask(client, "a", request(own)))[0], own)
    assert (reply.answer, reply.self_score, reply.scores) == ("The answer is 4.", 1.0, {})
    peers = ReplyFormat(peers=("A", "B", "C"))
    reply_text = (await ask(client, "c", request(peers, quoted)))[0]
    assert "self" not in json.loads(reply_text.partition("<assessment>")[2].partition("</assessment>")[0])
    assert replies.parse_reply(reply_text, peers).scores == {"A": 1.0, "B": 0.0, "C": 0.0}
    silent = RecordedClient([record()])
    assert "<assessment>" not in (await ask(silent, "a", request(own)))[0]


async def test_a_judge_is_asked_about_who_wrote_the_text_and_never_flattered_by_a_twin() -> None:
    seen: list[tuple[str, JudgedAnswer]] = []

    def notes(judge: str, question: str, verdict: JudgedAnswer) -> float:
        seen.append((judge, verdict))
        return 0.5

    same = Record("q", "t", "?", {"a": 1.0, "b": 1.0}, responses={"a": "4", "b": "4"})
    asked = ReplyFormat(peers=("A", "B"))
    await ask(RecordedClient([same], notes), "b", request(asked, ("4", "nobody wrote this"), "?"))
    assert seen == [("b", JudgedAnswer("a", "4", 1.0)), ("b", JudgedAnswer(None, "nobody wrote this", None))]


async def test_the_question_is_found_by_prompt_or_query_with_whatever_follows_it() -> None:
    long = Record("p", "t", "short", {"a": 1.0}, prompt="The long prompt.\n---\nshort", responses={"a": "4"})
    client = RecordedClient([long, record()], sees)
    for question in ("short", "The long prompt.\n---\nshort", " short\n"):
        for more in (None, ReplyFormat(self_score=True)):
            assert (await ask(client, "a", request(more, question=question)))[0].startswith("4")
    final = Request(prompts.aggregation_messages((Message("user", "short"),), ["4", "5"]))
    assert (await ask(client, "a", final))[0] == "4"


async def test_an_unknown_question_or_answer_is_a_clear_error() -> None:
    client = RecordedClient([record()])
    with pytest.raises(QueryError, match=r"no record holds the question 'Who\?'"):
        await ask(client, "a", request(question="Who?"))
    for model in ("d", "z"):
        with pytest.raises(ModelError, match="no answer of this model is recorded for the question"):
            await ask(client, model, request())


def mixture(**settings: object) -> RouteMoA:
    judge = SimulatedJudge(0.8)
    pool = Pool(tuple(map(spec, "abcd")), Mixture(**settings))  # type: ignore[arg-type]
    return RouteMoA(pool, RecordedClient([record()], judge.score))


def test_a_whole_mixture_is_replayed_the_same_each_time() -> None:
    for settings in (
        {"later_layers": "refine", "prefer": "quality", "self_assessment": "spoken"},
        {"fusion": "published-small", "stop_confidence": 1.0},
    ):
        one, other = (mixture(**settings).ask(QUESTION).trace for _ in range(2))
        assert one.choice == other.choice
        assert [layer.assessments for layer in one.layers] == [layer.assessments for layer in other.layers]
        kinds = {a.kind for layer in one.layers for a in layer.assessments}
        assert kinds == {"self", "cross"}
        assert all(a.value is not None for layer in one.layers for a in layer.assessments)
        assert {p.text for layer in one.layers for p in layer.proposals} <= {(t or "").strip() for t in TEXTS.values()}


def test_a_mixture_asked_something_unrecorded_says_so() -> None:
    with pytest.raises(QueryError, match="no record holds the question"):
        mixture().ask("Who?")
    assert mixture().ask(Query.from_text(QUESTION)).text in {"The answer is 4.", "The answer is 5."}
