"""A pool file is read whole or refused with one line that names file, key and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from routemoa.core.errors import ConfigError
from routemoa.core.models.patience import Patience
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import PREFERENCES, Mixture, parse_mixture
from routemoa.core.types import ModelSpec
from routemoa.core.usage import Usage

ONE = '[[model]]\nname = "a"\nendpoint = "http://127.0.0.1:9001/v1"\n'

FULL = """
[[model]]
name = "coder-1.5b"
endpoint = "local"
model = "qwen2.5-coder-1.5b"
api_key_env = "SOME_API_KEY"
input_price = 0.10
output_price = 0.30
context = 32768
latency = 1.5
prior = 0.6
system = "Work step by step."
parameters = { temperature = 0.7 }

[mixture]
layers = 3
top_k = 3
margin = 0.2
stop_confidence = 0.805
self_assessment = "spoken"
aggregator = "best"
fusion = "published-small"
"""


def read(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> Pool:
    file = tmp_path / "pool.toml"
    file.write_text(text)
    return Pool.from_toml(file, env or {})


def test_every_public_key_is_read(tmp_path: Path) -> None:
    pool = read(tmp_path, FULL, {"SOME_API_KEY": "k"})
    spec = pool["coder-1.5b"]
    assert (spec.model, spec.context, spec.prior, spec.system) == (
        "qwen2.5-coder-1.5b",
        32768,
        0.6,
        "Work step by step.",
    )
    assert spec.parameters == {"temperature": 0.7}
    assert spec.cost(Usage(1_000_000, 2_000_000)) == pytest.approx(0.70)
    assert pool.mixture.selection_margin == 0.2
    assert pool.mixture.confidence_threshold == 0.805


def test_patience_of_a_member_goes_before_that_of_the_pool(tmp_path: Path) -> None:
    text = 'patience = { first = 600 }\nomit = ["seed"]\nrename = { max_tokens = "max_completion_tokens" }\n'
    pool = read(tmp_path, ONE + text + "[patience]\nfirst = 30.0\nbetween = 5\n")
    assert pool.patience == Patience(None, 30.0, 5.0, None)
    assert pool.models[0].patience.with_defaults(pool.patience) == Patience(None, 600.0, 5.0, None)
    assert pool.models[0].omit == ("seed",)
    assert pool.models[0].rename == {"max_tokens": "max_completion_tokens"}


def test_what_is_left_out_is_unknown_not_zero(tmp_path: Path) -> None:
    spec = read(tmp_path, ONE)["a"]
    assert spec.model == Pool((ModelSpec("a", "http://x/v1"),))["a"].model == "a"
    assert (spec.input_price, spec.output_price, spec.context, spec.latency, spec.prior) == (None,) * 5
    assert spec.cost(Usage(1, 1)) is None
    assert read(tmp_path, ONE + "input_price = 1\noutput_price = 1")["a"].cost(Usage(1, None)) is None


def test_the_large_pool_has_its_own_published_constants(tmp_path: Path) -> None:
    mixture = read(tmp_path, ONE + '[mixture]\nfusion = "published-large"').mixture
    assert (mixture.selection_margin, mixture.confidence_threshold) == (1.0, 0.76)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ONE + "pric = 1", ["'a'", "pric", "did you mean"]),
        (ONE + "[mixture]\nlayer = 2", ["[mixture]", "layer", "did you mean 'layers'"]),
        (ONE + '[mixture]\ntool_steps = "x"', ["tool_steps", '"leader" or "panel"']),
        (ONE + '[mixture]\nprefer = "x"', ["prefer", '"balanced", "cheap", "fast" or "quality"']),
        (ONE + 'modalities = ["x"]', ["modalities[0]", '"audio", "file", "image" or "text"']),
        ("[modell]\n", ["modell", "did you mean 'model'"]),
        (ONE + ONE, ["[[model]] 2", "name 'a' is taken", "unique"]),
        (ONE + "input_price = -1", ["input_price = -1", "from 0"]),
        (ONE + "output_price = -0.1", ["output_price = -0.1", "from 0"]),
        (ONE + "prior = 1.5", ["prior = 1.5", "from 0 to 1"]),
        (ONE + "latency = nan", ["latency = nan"]),
        (ONE + 'input_price = "free"', ["input_price", "Expected"]),
        (ONE + 'api_key_env = "NOT_SET"', ["api_key_env", "NOT_SET", "export"]),
        (ONE.replace("http:", "ftp:"), ["endpoint", "ftp:", "http://"]),
        ('[[model]]\nendpoint = "local"', ["missing key 'name'"]),
        ('[[model]]\nname = "a"', ["missing key 'endpoint'"]),
        ('[[model]]\nname = "routemoa"\nendpoint = "local"', ["'routemoa'", "choose another"]),
        ("", ["no model", "[[model]]"]),
        ("model = 3", ["no model"]),
        (ONE + "[mixture]\ntop_k = 0", ["top_k = 0", "at least 1"]),
        (ONE + "[mixture]\nstop_confidence = 2", ["stop_confidence = 2"]),
        (ONE + '[mixture]\naggregator = "b"', ["aggregator 'b'"]),
        (ONE + '[mixture]\nfusion = "mine"', ["fusion", "mine"]),
        (ONE + '[mixture]\nprefer = "best"', ["prefer", "best"]),
        (ONE + "[mixture]\ndollars_per_point = 0", ["dollars_per_point = 0", "more than 0"]),
        (ONE + "[mixture]\nseconds_per_point = -1.5", ["seconds_per_point = -1.5", "more than 0"]),
        (ONE + "[mixture]\nseconds_per_point = inf", ["seconds_per_point = inf", "more than 0"]),
        (ONE + "[mixture]\ndollars_per_point = nan", ["dollars_per_point = nan", "more than 0"]),
        (ONE + "[mixture]\ntarget = 1.1", ["target = 1.1", "from 0 to 1"]),
        (ONE + "[mixture]\ntie = -0.1", ["tie = -0.1", "from 0 to 1"]),
        (ONE + "[mixture]\nmax_models = 0", ["max_models = 0", "at least 1"]),
        (ONE + "[mixture]\nlayers = 0", ["layers = 0", "at least 1"]),
        (ONE + "[mixture]\nreference_tokens = 0", ["reference_tokens = 0", "at least 1"]),
        (ONE + '[mixture]\nlater_layers = "never"', ["later_layers", "never"]),
        (ONE + '[mixture]\nreferences = "none"', ["references", "none"]),
        (ONE + "[mixture]\nmax_models = 2.5", ["max_models", "Expected"]),
        ("a = \nb = 1", ["not valid TOML", "line 1"]),
        (f"a = {'[' * 5000}", ["not valid TOML"]),
        (f"a = {'9' * 5000}", ["not valid TOML"]),
        (ONE + "[patience]\nfirst = 0", ["[patience]", "first = 0", "more than 0"]),
        (ONE + "[patience]\ntotal = inf", ["[patience]", "total = inf"]),
        (ONE + "[patience]\nfirst_byte = 5", ["[patience]", "first_byte", "first"]),
        (ONE + "[patience]\nconnect = true", ["[patience]", "connect", "Expected"]),
        (ONE + "patience = { between = -1 }", ["'a'", "patience", "between = -1"]),
        (ONE + "patience = { idle = 1 }", ["'a'", "patience", "idle"]),
        (ONE + "patience = 5", ["'a'", "patience", "Expected"]),
        (ONE + 'omit = "stop"', ["'a'", "omit", "Expected"]),
        (ONE + 'omit = ["messages"]', ["'a'", "messages", "neither be left out"]),
        (ONE + 'rename = { model = "name" }', ["'a'", "'model'", "neither be left out"]),
        (ONE + 'rename = { seed = "messages" }', ["'a'", "'messages'", "neither be left out"]),
        (ONE + 'rename = { system = "robot" }', ["'a'", "'system'", '"user"', '"developer"', '"robot"']),
    ],
)
def test_errors_are_one_line_that_names_file_key_and_fix(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    for word in ["pool.toml", *words]:
        assert word in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ONE + "[contract]\nmax_cost = 1", "pool.toml: unknown key 'contract'; it is called 'limits' now"),
        (ONE + "[mixture]\ncalls = 3", "[mixture]: unknown key 'calls'; it is called 'max_models' now"),
        (
            ONE + "[mixture]\nstop_above = 0.9",
            "[mixture]: unknown key 'stop_above'; it is called 'stop_confidence' now",
        ),
        (ONE + '[mixture]\nlater = "fresh"', "[mixture]: unknown key 'later'; it is called 'later_layers' now"),
        (ONE + '[mixture]\nfusion = "learned"', "[mixture]: fusion: 'learned' is called 'adaptive' now"),
        (
            ONE + "written_price = 1",
            "[[model]] 1 'a': unknown key 'written_price'; it is called 'cache_write_price' now",
        ),
        (ONE + "structured = true", "[[model]] 1 'a': unknown key 'structured'; it is called 'json_schema' now"),
    ],
)
def test_a_key_of_an_earlier_version_gets_its_new_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert str(caught.value).endswith(message)
    assert "\n" not in str(caught.value)


def test_a_policy_file_of_an_earlier_version_gets_the_new_names() -> None:
    for text in ('fusion = "learned"', '[mixture]\nfusion = "learned"'):
        with pytest.raises(ConfigError) as caught:
            parse_mixture(text, "policy.toml")
        assert str(caught.value) == "policy.toml: [mixture]: fusion: 'learned' is called 'adaptive' now"
    with pytest.raises(ConfigError, match="unknown key 'calls'; it is called 'max_models' now"):
        parse_mixture("calls = 3", "policy.toml")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.toml: cannot be read: No such file"):
        Pool.from_toml(tmp_path / "nowhere.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match="not UTF-8"):
        Pool.from_toml(tmp_path / "latin.toml")


def test_the_default_is_the_option_then_the_variable_then_the_embedded_pool(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(ONE)
    assert [m.name for m in Pool.default(str(file), {})] == ["a"]
    assert [m.name for m in Pool.default(None, {"ROUTEMOA_POOL": str(file)})] == ["a"]
    embedded = Pool.default(None, {})
    assert len(embedded) == 3
    assert all(m.local for m in embedded)
    assert embedded.mixture.self_assessment == "logprob"


def test_every_key_of_the_grown_panel_is_read(tmp_path: Path) -> None:
    (tmp_path / "judge.json").write_text("{}")
    keys = """[mixture]
prefer = "fast"
dollars_per_point = 0.001
seconds_per_point = 2
target = 0.95
max_models = 5
later_layers = "refine"
references = "all"
reference_tokens = 1000
tie = 0.03
judge = "judge.json"
"""
    pool = read(tmp_path, ONE + keys)
    m = pool.mixture
    assert (m.prefer, m.dollars_per_point, m.seconds_per_point, m.max_models) == ("fast", 0.001, 2.0, 5)
    assert (m.later_layers, m.references, m.reference_tokens) == ("refine", "all", 1000)
    assert (m.preference.target, m.preference.tie, m.preference.latency_first) == (0.95, 0.03, True)
    assert pool.judge == tmp_path / "judge.json"


def test_what_is_left_out_follows_from_fusion_and_preference() -> None:
    learned, small = Mixture(), Mixture(fusion="published-small")
    assert (learned.published, learned.max_layers, learned.max_layer_models, learned.confidence_threshold) == (
        False,
        9,
        2,
        0.99,
    )
    assert (small.published, small.max_layers, small.max_layer_models, small.confidence_threshold) == (
        True,
        3,
        3,
        0.805,
    )
    assert learned.preference == PREFERENCES["balanced"]
    assert small.preference.tie == 0.0
    assert Mixture(fusion="published-small", tie=0.1).preference.tie == 0.1
    worth = [PREFERENCES[p].min_risk_reduction for p in ("quality", "balanced", "cheap")]
    assert worth == sorted(worth)


def test_a_policy_file_is_a_mixture_table_a_pool_or_bare_keys() -> None:
    for text in ('fusion = "published-large"', '[mixture]\nfusion = "published-large"',
                 ONE + '[mixture]\nfusion = "published-large"'):  # fmt: skip
        assert parse_mixture(text, "policy.toml") == Mixture(fusion="published-large")
    assert parse_mixture("", "policy.toml") == parse_mixture(ONE, "pool.toml") == Mixture()
    with pytest.raises(ConfigError, match="a tuned policy; name it in another file"):
        parse_mixture("[policy]\nquestions = 200", "policy.toml")
    assert parse_mixture('aggregator = "whoever"', "policy.toml").aggregator == "whoever"  # its pool is not known here


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fusion = \nlayers = 2", ["not valid TOML", "line 1"]),
        ('fusoin = "adaptive"', ["unknown key 'fusoin'", "did you mean 'fusion'"]),
        ("[mixture]\nmax_modls = 3", ["unknown key 'max_modls'", "did you mean 'max_models'"]),
        ("mixture = 3", ["must be a table"]),
        ("max_models = 0", ["max_models = 0", "at least 1"]),
        ("dollars_per_point = 0.0", ["dollars_per_point", "more than 0"]),
    ],
)
def test_errors_in_a_policy_file(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_mixture(text, "policy.toml")
    for word in ["policy.toml", *words]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path, ends: str) -> None:
    text = '[[model]]\nname = "a"\nendpoint = "http://127.0.0.1:9/v1"\n'.replace("\n", ends)
    (tmp_path / "pool.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert Pool.from_toml(tmp_path / "pool.toml").models[0].name == "a"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "latin-1"])
def test_another_encoding_is_one_line(tmp_path: Path, encoding: str) -> None:
    text = '[[model]]\nname = "é"\nendpoint = "http://127.0.0.1:9/v1"\n'
    (tmp_path / "pool.toml").write_bytes(text.encode(encoding))
    with pytest.raises(ConfigError, match=r"pool\.toml: .*UTF-8") as caught:
        Pool.from_toml(tmp_path / "pool.toml")
    assert "\n" not in str(caught.value)


KEYED = """
[[model]]
name = "a"
endpoint = "https://a.example/v1"
api_key_env = "A_KEY"
[[model]]
name = "b"
endpoint = "groq"
[mixture]
aggregator = "b"
"""


def test_a_member_without_its_key_is_left_out_as_long_as_one_is_left(tmp_path: Path) -> None:
    whole = read(tmp_path, KEYED, {"A_KEY": "k", "GROQ_API_KEY": "k"})
    assert ([m.name for m in whole], whole.absent, whole.mixture.aggregator) == (["a", "b"], {}, "b")
    whole.require_keys()
    pool = read(tmp_path, KEYED, {"A_KEY": "k"})
    assert ([m.name for m in pool], pool.mixture.aggregator) == (["a"], "best")
    assert list(pool.absent) == ["b"]
    assert "[[model]] 2 'b': endpoint 'groq' needs a key: export GROQ_API_KEY=..." in pool.absent["b"].why
    with pytest.raises(ConfigError, match="GROQ_API_KEY"):
        pool.require_keys()
    with pytest.raises(ConfigError, match=r"'a': api_key_env: environment variable A_KEY is not set"):
        read(tmp_path, KEYED)
    looked_at = Pool.from_toml(tmp_path / "pool.toml", {}, needs_keys=False)
    assert [m.name for m in looked_at] == list(looked_at.absent) == ["a", "b"]
