"""What is learned about judging, and its file: the JSON that `routemoa judge fit` writes, for people to read, too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from routemoa.core.errors import ConfigError
from routemoa.core.files.file_kind import HEAD_BYTES, detect_kind, explain_wrong_file
from routemoa.core.tables.mixture_table import Mixture, parse_mixture, read_tuned_policy
from routemoa.judging.posterior import ErrorCorrelation

__all__ = [
    "Coefficients",
    "JudgeModel",
    "OpenEvidence",
    "PairwiseJudge",
    "Reliability",
    "encode_judge_model",
    "read_judge_model",
    "read_policy",
]


class Coefficients(Struct, frozen=True):
    """Log-odds that an answer is right, per unit of each signal: a conditional logit (McFadden 1974)."""

    constant: float = 0.0
    votes: float = 0.85
    """Multiplies what the votes add to the log-odds of the best prior."""
    verbalized: float = 0.5
    """Of a self-assessment in words, per unit of a score in [0, 1] above what is usual."""
    logprob: float = 2.0
    """The same, of a self-assessment by mean token probability."""
    cross: float = 2.5
    """Of peers' scores, per unit of a score in [0, 1] above what is usual."""
    similarity: float = 1.0
    """Of similarity with the other answers to an open question."""
    informed_vote: float = 0.5
    """The weight, in [0, 1], of the vote of a model that saw the other answers."""
    failed: float = -1.5
    """Added to the log-odds of a model's prior where its code was run and crashes, or misses an example.

    Measured on RouterBench's MBPP (benchmarks/code_behaviour.py): -1.29 on one half of the questions (133 answers that
    hold no Python, do not load or crash), -1.52 on the other (143).
    """
    truncated: float = -1.5
    """Added to the log-odds of a model's prior where its answer breaks off.

    Measured on ZeroEval's MATH level 5 (benchmarks/truncated_answers.py): answers that break off in the middle of a
    sentence and yet state a result, less the complete answers to the same questions of models within ten points. -1.56
    on one half of the questions (88 answers), -1.58 on the other (95).
    """
    option_votes: float = 0.7
    """As `votes`, of a multiple choice, where it is smaller: wrong answers meet on an option more often than elsewhere.

    From a study of recorded answers (+0.1 to +0.3 points on the data sets of choices against 0.85).
    """
    lone_leader: Annotated[float, Meta(ge=0)] = 0.0
    """Added to the log-odds of the best model's answer, where it stands alone against answers that agree.

    Learned, never below 0: where one model leads by far, weaker models share the popular wrong answers of questions
    that it gets right, and their agreement says less than the other coefficients make of it.
    """


class Reliability(Struct, frozen=True):
    """How a model judges."""

    bias: float | None = None
    """Its mean score; None is unknown."""
    weight: float = 1.0
    """How well its scores tell right from wrong, in [0, 1]."""


class OpenEvidence(Struct, frozen=True):
    """What was measured of a policy for open questions against the best model alone."""

    policy: Literal["alone", "synthesize", "select"]
    """The policy that does best: another one than "alone" only where the interval of its gain is above 0."""
    gain: float
    """Wins less losses against the best model alone at equal length, as a share of the questions, less the price of the
    calls."""
    low: float
    """Of the 95 % interval of `gain`."""
    high: float
    questions: int
    judge: str
    """What said which answer is better: the name of a model, "labels", or both."""
    measured: str = ""
    """The policy that `gain` is of, where that is not `policy`: the best one that was tried, and did not pay."""
    models: tuple[str, ...] = ()
    """The models of the pool on which it was measured."""

    def __str__(self) -> str:
        interval = f"[{100 * self.low:+.1f}, {100 * self.high:+.1f}]"
        gained = f"{self.measured or self.policy} gained {100 * self.gain:+.1f} points {interval} after its price"
        return f"{gained}, on {self.questions} questions"


class PairwiseJudge(Struct, frozen=True):
    """How well a model tells the better one of two answers, asked in both orders."""

    accuracy: float | None = None
    """How often it is right where both orders agree; None is unknown, and then its word counts."""
    length: float = 0.0
    """What it adds to the log-odds of an answer for each e-fold of its length, which is no merit of the answer."""
    difficulty_sd: Annotated[float, Meta(ge=0, le=10)] = 2.5
    """How far open questions differ in difficulty for all models alike, in log-odds.

    Measured on AlpacaEval 2 (benchmarks/open_answers.py): where one system's answers are better than another's, they
    are so by a share of all differences whose log-odds are 1.65 to 1.9 times those of the mean scores; 2.5 gives 1.78.
    """
    model: str = ""
    """The model that was measured, and of which the figures are; empty is any."""
    accuracy_low: float | None = None
    """Of the 95 % interval of `accuracy`."""
    accuracy_high: float | None = None
    consistency: float | None = None
    """How often both orders agree."""
    pairs: int = 0
    """How many pairs it was measured on."""

    def of_model(self, name: str) -> PairwiseJudge:
        """Return what is known of a model as judge: nothing where the figures are another model's."""
        return self if self.model in ("", name) else PairwiseJudge(difficulty_sd=self.difficulty_sd)


class JudgeModel(Struct, frozen=True):
    """All that is learned about judging. The defaults are for a pool of which nothing is known yet."""

    coefficients: Coefficients = Coefficients()
    correlation: ErrorCorrelation = ErrorCorrelation()
    peer_judges: dict[str, Reliability] = {}
    """Models as judges of other models' answers."""
    self_judges: dict[str, Reliability] = {}
    """Models as judges of their own answers."""
    pairwise_judge: PairwiseJudge = PairwiseJudge()
    """The model that compares open answers, as `routemoa judge calibrate` found it."""
    open_evidence: OpenEvidence | None = None
    """What `routemoa judge calibrate` found about open questions; None before."""
    fitted: dict[str, float | int | str] = {}
    """The data it was fitted on and its figures there; for people to read."""
    models: tuple[str, ...] = ()
    """The models whose answers it was fitted on; empty in files of earlier versions."""
    questions: str = ""
    """Hashes of the queries it was fitted on (`datasets.training_overlap`); empty in files of earlier versions."""


RENAMED_FIELDS: dict[str, dict[str, str]] = {
    "": {"judges": "peer_judges", "selves": "self_judges"},
    "coefficients": {"spoken": "verbalized", "likeness": "similarity", "copied": "informed_vote"},
    "correlation": {
        "spread": "difficulty_sd",
        "scatter": "error_concentration",
        "kinship": "pairwise_error_correlation",
    },
}
"""Fields of files written before November 26, 2026 -> their names now, by the object that holds them."""


def read_judge_model(path: str | Path) -> JudgeModel:
    """Read a judge model; files of earlier versions are read, too. Raises ConfigError."""
    data = b""
    try:
        data = Path(path).read_bytes()
        plain = _upgrade(msgspec.json.decode(data))
        if isinstance(plain, dict) and not plain.keys() & set(JudgeModel.__struct_fields__):
            raise msgspec.ValidationError("it has none of its keys")
        return msgspec.convert(plain, JudgeModel)
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}; make one with  routemoa judge fit") from e
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as e:
        found = detect_kind(data[:HEAD_BYTES], str(path))
        if found.kind != "judge model" and "a judge model" not in found.description:
            raise ConfigError(f"{path}: {explain_wrong_file(found, 'judge model', str(path))}") from e
        raise ConfigError(f"{path}: not a judge model that  routemoa judge fit  wrote: {e}") from e


def read_policy(path: str | None) -> tuple[Mixture, JudgeModel]:
    """Read a TOML file with a [mixture] table, and the files that it names; the defaults without a file.

    Raises:
        ConfigError: one of them cannot be read.
    """
    if path is None:
        return Mixture(), JudgeModel()
    try:
        mixture = parse_mixture(Path(path).read_text("utf-8-sig"), path)
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read; --policy takes a TOML file with a [mixture] table") from e
    directory = Path(path).absolute().parent
    mixture = read_tuned_policy(mixture, directory, None, f"{path}: [mixture]")
    return mixture, read_judge_model(directory / mixture.judge) if mixture.judge else JudgeModel()


def encode_judge_model(judge_model: JudgeModel) -> bytes:
    """Return the judge model as the text of its file."""
    return msgspec.json.format(msgspec.json.encode(judge_model), indent=2) + b"\n"


def _upgrade(plain: Any, place: str = "") -> Any:
    """Rename the fields of earlier versions."""
    if not isinstance(plain, dict):
        return plain
    names = RENAMED_FIELDS.get(place, {})
    return {
        names.get(key, key): _upgrade(value, key) if not place and key in RENAMED_FIELDS else value
        for key, value in plain.items()
    }
