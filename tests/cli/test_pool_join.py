"""`routemoa pool join`: a live model is added to a scorer, over a real socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from routemoa.cli import cli
from routemoa.core.pool_file.pool import Pool
from routemoa.scoring.trained import load_trained_scorer
from routemoa.testing import FakeEndpoint

EMBEDDED = Pool.embedded().scorer


def routemoa(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in args])


def test_the_embedded_scorer_ships_and_knows_its_pool() -> None:
    assert EMBEDDED is not None
    scorer = load_trained_scorer(EMBEDDED)
    assert all(scorer.knows(m) for m in Pool.embedded())
    scores = scorer.predictor.predict(
        ['How many times does the letter "n" occur in the word "banana"? Answer with the number only.',
         "What is the capital of Norway? Answer with one word only."]
    )  # fmt: skip
    best = [scorer.predictor.models[i] for i in scores.argmax(1)]
    assert best == ["coder-0.5b", "coder-1.5b"]


def test_names_that_cannot_join(tmp_path: Path) -> None:
    assert "no model 'unknown'" in str(routemoa("pool", "join", "unknown").exception)
    assert "knows 'coder-0.5b' already" in str(routemoa("pool", "join", "coder-0.5b").exception)
    file = tmp_path / "pool.toml"
    file.write_text('[[model]]\nname = "mine"\nendpoint = "local"\n')
    assert "no [scorer] path" in str(routemoa("pool", "join", "mine", "--pool", file).exception)


async def test_a_live_model_joins(tmp_path: Path) -> None:
    """It is good at sums and at nothing else."""

    def reply(body: dict[str, Any]) -> str:
        text = body["messages"][-1]["content"]
        numbers = [int(w.strip("?")) for w in text.split() if w.strip("?").isdigit()]
        return str(sum(numbers)) if " + " in text else str(numbers[0] * numbers[1]) if len(numbers) == 2 else "no idea"

    async with FakeEndpoint(reply) as endpoint:
        file = tmp_path / "pool.toml"
        file.write_text(
            f'[[model]]\nname = "mine"\nendpoint = "{endpoint.url}"\ninput_price = 0.0\noutput_price = 0.0\n'
            f'[scorer]\npath = "{EMBEDDED}"\n'
        )
        out = tmp_path / "mine"
        found = await asyncio.to_thread(routemoa, "pool", "join", "mine", "--pool", file, "--out", out)
        assert found.exit_code == 0, found.output
        assert len(endpoint.requests) == 48
        assert "knows mine now" in found.output
        assert 'path = "' in found.output
        again = await asyncio.to_thread(routemoa, "pool", "join", "mine", "--pool", file, "--out", out)
        assert again.exit_code == 0
        assert len(endpoint.requests) == 48, "no answer is paid for twice"
    scorer = load_trained_scorer(out).predictor
    assert scorer.models[-1] == "mine"
    texts = ["What is 311 + 45? Answer with the number only.", 'What is the plural of "ox"? Answer with one word only.']
    scores = scorer.predict(texts)
    sums, plural = scores[:, -1] - scores[:, :-1].mean(axis=1)
    assert sums > plural + 0.15, "beside the others it is better at sums than at words"
