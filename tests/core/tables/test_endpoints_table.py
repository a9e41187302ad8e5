"""The `endpoints` of a pool file: what is read, what is refused, and which of them can be called."""

from __future__ import annotations

from pathlib import Path

import pytest

from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.core.usage import Usage

HEAD = '[[model]]\nname = "m"\n'
REGIONS = f"""{HEAD}model = "big"
api_key_env = "MEMBER_KEY"
input_price = 1
output_price = 2
headers = {{ x-team = "a" }}
[[model.endpoints]]
url = "http://a.example/v1"
region = "eu"
[[model.endpoints]]
url = "http://b.example/v1"
name = "spare"
region = "us"
api_key_env = "OTHER_KEY"
model = "big-2"
priority = 2
weight = 3
input_price = 4
output_price = 5
headers = {{ x-site = "b" }}
"""
KEYS = {"MEMBER_KEY": "one", "OTHER_KEY": "two"}


def read(text: str, env: dict[str, str] | None = None, *, needs_keys: bool = True) -> Pool:
    return parse_pool(text, "pool.toml", Path(), {} if env is None else env, needs_keys=needs_keys)


def test_an_endpoint_has_what_its_member_has_but_for_its_own_keys() -> None:
    (member,) = read(REGIONS, KEYS)
    first, spare = member.places
    assert member.endpoint == first.endpoint == "http://a.example/v1"
    assert (first.place, first.model, first.api_key_env, first.headers) == ("1", "big", "MEMBER_KEY", {"x-team": "a"})
    assert (spare.place, spare.model, spare.api_key_env) == ("spare", "big-2", "OTHER_KEY")
    assert spare.headers == {"x-team": "a", "x-site": "b"}
    assert (first.cost(Usage(1_000_000, 0)), spare.cost(Usage(1_000_000, 0))) == (1.0, 4.0)
    assert member.worst_cost(1_000_000, 0) == 4.0  # wherever it is made
    assert {p.name for p in member.places} == {"m"}
    assert first.places == (first,)


def test_urls_alone_are_endpoints_that_are_all_alike() -> None:
    (member,) = read(f'{HEAD}endpoints = ["http://a.example/v1", "http://b.example/v1"]')
    assert [(p.place, p.endpoint) for p in member.places] == [
        ("1", "http://a.example/v1"),
        ("2", "http://b.example/v1"),
    ]


def test_a_provider_brings_its_own_url_and_key() -> None:
    (member,) = read(f'{HEAD}endpoints = ["groq", "http://b.example/v1"]', {"GROQ_API_KEY": "k"})
    assert member.places[0].endpoint.startswith("https://api.groq.com/")
    assert [p.api_key_env for p in member.places] == ["GROQ_API_KEY", None]


def test_an_endpoint_without_its_key_is_left_out_and_said() -> None:
    pool = read(REGIONS, {"MEMBER_KEY": "one"})
    assert [p.place for p in pool["m"].places] == ["1"]
    assert "endpoint 'spare'" in pool.absent_endpoints["m"]["spare"]
    assert "OTHER_KEY" in pool.absent_endpoints["m"]["spare"]
    assert [p.place for p in read(REGIONS, {"OTHER_KEY": "two"})["m"].places] == ["spare"]
    assert len(read(REGIONS, {}, needs_keys=False)["m"].places) == 2
    with pytest.raises(ConfigError, match=r"endpoint '1': .*MEMBER_KEY"):
        read(REGIONS, {})


@pytest.mark.parametrize(("table", "variable", "far"), [("us", None, "1"), ("us", "eu", "spare"), (None, "us", "1")])
def test_the_region_of_the_process_comes_from_the_environment_else_from_the_file(
    table: str | None, variable: str | None, far: str
) -> None:
    text = REGIONS if table is None else f'{REGIONS}\n[gateway]\nregion = "{table}"\n'
    pool = read(text, KEYS if variable is None else KEYS | {"ROUTEMOA_REGION": variable})
    assert [e.name for e in pool["m"].endpoints if e.is_far] == [far]
    assert pool.fingerprint == read(REGIONS, KEYS).fingerprint  # every replica gives the same one


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ('endpoint = "http://a/v1"\nendpoints = ["http://b/v1"]', "has `endpoint` and `endpoints`"),
        ("endpoints = []", "must be a list of 1 to 100 URLs or tables"),
        ('endpoints = "http://a/v1"', "must be a list of 1 to 100 URLs or tables"),
        ("endpoints = [1]", "endpoints 1: must be a URL, or a table"),
        ('endpoints = ["local"]', "embedded runtime"),
        ('endpoints = ["opena"]', "did you mean 'openai'"),
        ("endpoints = [{ weight = 1 }]", "endpoints 1: missing key 'url'"),
        ('endpoints = [{ url = "http://a/v1", wieght = 1 }]', "did you mean 'weight'"),
        ('endpoints = [{ url = "http://a/v1", weight = 0 }]', "weight = 0.0 is out of range"),
        ('endpoints = [{ url = "http://a/v1", weight = inf }]', "weight = inf is out of range"),
        ('endpoints = [{ url = "http://a/v1", priority = -1 }]', "priority = -1 is out of range"),
        ('endpoints = [{ url = "http://a/v1", is_far = true }]', "unknown key 'is_far'"),
        ('endpoints = [{ url = "http://a/v1", name = "a b" }]', "name: use up to 64 letters"),
        ('endpoints = ["http://a/v1", "http://a/v1/"]', "endpoints 2: is there twice"),
        ('endpoints = [{ url = "http://a", name = "x" }, { url = "http://b", name = "x" }]', "names are unique"),
        ('endpoints = [{ url = "http://a/v1", request_price = 1 }]', "request_price is part of a price"),
        ('endpoints = [{ url = "http://a/v1", headers = { Authorization = "x" } }]', "api_key_env"),
        ('endpoints = [{ url = "http://a/v1", omit = ["messages"] }]', "can neither be left out nor renamed"),
    ],
    ids=range(18),
)
def test_what_is_wrong_is_said_in_one_line(keys: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(HEAD + keys)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
